"""The choices of a diagnosis by day, month or year."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.preparation.reading.times import EARLIEST

_CALENDAR = 2.5e11  # seconds since 1970: some 8,000 years
_MAX_PERIODS = 40


@dataclass(frozen=True)
class CalendarPeriods:
    """The ``rows`` (R,) of a diagnosis that have a date, and the ``code`` (R,) of the period of each in ``names``."""

    names: list[str]
    rows: np.ndarray
    code: np.ndarray


def assign_periods(reader: DiagnosisReader) -> CalendarPeriods:
    """Return the period of every interaction. Raises ``DemureError`` without timestamps, or if none is a date."""
    times = reader.table_times
    if times is None or not np.isfinite(times).any():
        raise DemureError("the data has no timestamps", where=reader.dataset, remedy="segment by something else")
    valid = np.isfinite(times) & (times >= EARLIEST) & (times < _CALENDAR)
    if not valid.any():
        raise DemureError(
            "the timestamps are no dates from 1990 on", where=reader.dataset, remedy="segment by something else"
        )
    seconds = times[valid].astype("M8[s]")
    names, code = np.unique(seconds.astype("M8[Y]"), return_inverse=True)
    for unit in ("M8[M]", "M8[D]"):  # the finest unit that stays readable
        finer_names, finer_code = np.unique(seconds.astype(unit), return_inverse=True)
        if len(finer_names) > _MAX_PERIODS:
            break
        names, code = finer_names, finer_code
    return CalendarPeriods([str(name) for name in names], np.flatnonzero(valid), code)
