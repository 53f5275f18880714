"""Render the page as HTML: templates, escaping, and the charting library."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from demure import __version__
from demure.diagnosis.explain import DEVIATION_SENTENCES, DEVIATION_WORDS, SENTENCES
from demure.diagnosis.interests.sentences import PROFILE_ENTRY
from demure.diagnosis.placebo import CANNOT_TELL, CANNOT_TELL_REASON
from demure.diagnosis.reader import NONE, DiagnosisReader
from demure.diagnosis.recommended import describe_scores
from demure.diagnosis.verdict import DECIDED_PERCENT, DRIFT_MIN_CHOICES, DRIFT_P_VALUE, MIN_CHOICES, Verdict
from demure.model.fusion import HISTORY
from demure.report import charts
from demure.report.budget import UserSample
from demure.report.overview import PageContent
from demure.report.payload import pack_text
from demure.storage.names import shown


@functools.cache
def packed_plotly() -> str:
    """Return the charting library, gzipped in base64: 2 MB instead of 4.8."""
    return pack_text(get_plotlyjs())


def render_page(
    reader: DiagnosisReader,
    content: PageContent,
    data: dict[str, Any],
    pictures: dict[str, str],
    sample: UserSample | None = None,
) -> str:
    """Return the HTML of a run.

    ``data``: ``interests`` for the script, and users and items (see ``payload``) unless the page is served;
    ``pictures``: item id -> address of its picture, for the work list; ``sample``: the users of the page, None for a
    page that is served.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("demure.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    verdicts = [verdict.value for verdict in Verdict]
    payload = script_json(
        {
            "served": sample is None,
            "modalities": reader.table.modalities,
            "reliance": reader.reliance_names,
            "verdicts": verdicts,
            "colours": charts.colours(reader.reliance_names),
            "few": MIN_CHOICES,
            "decided_percent": DECIDED_PERCENT,
            "sentences": SENTENCES,
            "deviation_sentences": DEVIATION_SENTENCES,
            "deviation_words": DEVIATION_WORDS,
            "profile_entry": PROFILE_ENTRY,
            "usual_noise": usual_noise(content),
            "history": HISTORY,
            "cannotTell": content.overview.cannot_tell,
            "madeOf": describe_scores(reader.manifest),
            "compared": [] if content.comparison is None else list(content.comparison.paths),
            "charts": {key: chart.figure for key, chart in content.charts.items() if chart.figure is not None},
            **data,
        }
    )
    placebos = reader.placebos.modalities
    page = environment.get_template("page.html.j2").render(
        version=__version__,
        run_name=Path(content.overview.run).name or content.overview.run,
        colours=charts.colours(reader.reliance_names),
        overview=content.overview,
        content=content,
        sample=sample,
        pictures=pictures,
        verdicts=verdicts,
        none_name=NONE,
        noise=Verdict.NOISE.value,
        missing=Verdict.MISSING.value,
        names_pictures=reader.names_pictures,
        min_choices=MIN_CHOICES,
        min_drift_choices=DRIFT_MIN_CHOICES,
        drift_percent=round(100 * DRIFT_P_VALUE),
        cannot_tell=CANNOT_TELL,
        cannot_tell_reason=CANNOT_TELL_REASON.removeprefix(f"{CANNOT_TELL}, "),
        above={
            modality.name: modality.placebo.above()
            for modality in placebos
            if modality.placebo and modality.informative
        },
        # Only JSON without angle brackets and base64 are inserted unescaped.
        plotly=Markup(packed_plotly()),
        data=Markup(payload),
        nonce=hashlib.sha256(payload.encode()).hexdigest()[:24],
    )
    return shown(page)


def usual_noise(content: PageContent) -> dict[str, int]:
    """Return, by modality, the per cent of noise among the choices whose item has it."""
    return {
        row["modality"]: round(100 * row[Verdict.NOISE] / (1 - row[Verdict.MISSING]))
        for row in content.overview.modalities.to_dict("records")
        if row[Verdict.MISSING] < 1
    }


def script_json(value: Any) -> str:
    """Return JSON that cannot end its script element, and that an HTML parser reads as plain text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
