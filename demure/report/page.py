"""The page as HTML: templates, escaping, and the one script that is not ours."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from demure import __version__
from demure.diagnosis.drift import LEAST
from demure.diagnosis.placebo import CANNOT_TELL
from demure.diagnosis.reader import VERDICTS, DiagnosisSource
from demure.diagnosis.recommended import made_of
from demure.diagnosis.uncertainty import FEW
from demure.report import charts
from demure.report.overview import Shown
from demure.report.payload import pack_text


@functools.cache
def packed_plotly() -> str:
    """The charting library, gzipped in base64: 2 MB instead of 4.8."""
    return pack_text(get_plotlyjs())


def page(source: DiagnosisSource, seen: Shown, data: dict[str, Any], pictures: dict[str, str]) -> str:
    """The HTML of a run. ``data`` is what the script reads besides the charts: users and items, or, where ``served`` is
    true, only how to ask for them; ``pictures``: item id to what shows it, for the flagged items."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("demure.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    payload = script_json(
        {
            "modalities": source.judged.modalities,
            "reliance": source.reliance_columns,
            "verdicts": VERDICTS,
            "colours": charts.colours(source.reliance_columns),
            "few": FEW,
            "cannotTell": seen.overview.cannot_tell,
            "madeOf": made_of(source.manifest),
            "charts": {key: chart.figure for key, chart in seen.charts.items()},
            **data,
        }
    )
    return environment.get_template("page.html.j2").render(
        version=__version__,
        seen=seen.overview,
        shown=seen,
        people=data,
        pictures=pictures,
        verdicts=VERDICTS,
        least=LEAST,
        cannot_tell=CANNOT_TELL,
        above={one.name: one.placebo.above() for one in source.placebos.modalities if one.placebo and one.explains},
        # The only text that goes in unescaped: JSON without a single angle bracket, and base64.
        plotly=Markup(packed_plotly()),
        data=Markup(payload),
        nonce=hashlib.sha256(payload.encode()).hexdigest()[:24],
    )


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in, nor mean anything to an HTML parser."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
