"""trackio: project `demure` in its own folder on this machine (TRACKIO_DIR), for `trackio show`."""

from __future__ import annotations

import os
from collections.abc import Mapping

import trackio

from demure.tracking.protocol import RunInfo


class Trackio:
    """Metrics per epoch; a resumed training goes on in the run of the same name."""

    def begin(self, info: RunInfo) -> None:
        name = info.load_id("trackio")
        self.run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", "demure"),
            name=name or info.name,
            config={**info.facts, **info.recipe},
            resume="allow" if name else "never",
            embed=False,
        )
        info.save_id("trackio", self.run.name)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=number)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        if values:
            self.run.log({f"best/{name}": value for name, value in values.items()})
        self.run.finish()
