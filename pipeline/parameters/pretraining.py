"""Settings of another data set that the judge learns from first.

The judge's stage reads them, and no source: whether there is such a source, `pipeline.data_set` and
`pipeline.parameters.whole` say.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from pipeline.core.sections import Section


class PretrainingSettings(Section):
    """Another data set that the judge learns from first, as VGG-Face from RaFD in LSSL's table 3."""

    steps: int = Field(default=0, ge=0, description="Optimizer steps; 0: the judge starts from drawn weights.")
    source: str = Field(default="rig", description="Name of its source; docs/reference/data-sets.md lists them.")
    root: str = Field(
        default="conf/dataset/rig_rafd.yaml",
        description="Its file or folder; for embedded faces the file in conf/ that describes them.",
    )
    classes: list[str] | None = Field(default=None, description="Classes to learn; all by default.")
    licence: str | None = Field(default=None, description="As dataset.licence.")
    settings: dict[str, Any] = Field(default_factory=dict, description="The source's own settings.")
