"""The work list: the items whose content fails them, each with a reason, the words, the picture and what to do."""

from demure.diagnosis.worklist.assemble import WorkList, worklist
from demure.diagnosis.worklist.csv_file import list_content
from demure.diagnosis.worklist.finding import COLUMNS, KINDS

__all__ = ["COLUMNS", "KINDS", "WorkList", "list_content", "worklist"]
