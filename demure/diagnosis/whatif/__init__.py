"""What would change with another picture or text of an item; nothing is trained."""

from demure.diagnosis.whatif.answer import Change, SegmentChange, WhatIf, what_if

__all__ = ["Change", "SegmentChange", "WhatIf", "what_if"]
