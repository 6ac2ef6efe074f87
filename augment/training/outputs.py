"""What a run writes while it trains: log lines and sample sheets.

The log is kept in memory and in checkpoints, the sheets in the scratch folder too: the output folder may be deleted
before a run is resumed, as DVC does.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from augment.core.files import atomic_write_bytes, atomic_write_text

# Log fields that depend on the machine's speed; two runs of one seed agree in all others.
TIMING_FIELDS = ("seconds", "images_per_second")


class RunOutputs:
    """Log and sample sheets of a run.

    Args:
        out: Folder of the results: `log.jsonl`, `samples/step-000500.png`.
        scratch: Folder that keeps a copy of the sheets.

    Attributes:
        log: The log's text so far.
    """

    def __init__(self, out: Path, scratch: Path) -> None:
        self.out = out
        self.scratch = scratch
        self.log = ""

    def write_line(self, values: Mapping[str, Any]) -> None:
        """Adds a line to the log."""
        text = json.dumps(values) + "\n"
        self.log += text
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(text)

    def write_sheet(self, step: int, png: bytes) -> None:
        """Writes the sample sheet of a step."""
        for folder in (self.scratch / "samples", self.out / "samples"):
            atomic_write_bytes(folder / f"step-{step:06d}.png", png)

    def restore(self, step: int) -> None:
        """Brings log and sample sheets to the step from which the run goes on, whatever the output folder holds."""
        atomic_write_text(self.out / "log.jsonl", self.log)
        kept, shown = self.scratch / "samples", self.out / "samples"
        shutil.rmtree(shown, ignore_errors=True)
        for sheet in sorted(kept.glob("step-*.png")):
            if int(sheet.stem.removeprefix("step-")) > step:
                sheet.unlink()
            else:
                atomic_write_bytes(shown / sheet.name, sheet.read_bytes())
