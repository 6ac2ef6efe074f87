"""The stages of dvc.yaml as a Prefect flow: `pipeline.flow:synthesize_to_learn`, or `s2l flow run`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.flow.flow import synthesize_to_learn

__all__ = ["synthesize_to_learn"]


def __getattr__(name: str) -> Any:
    """Imports the flow when it is first used: Prefect takes seconds, which whoever reads its records need not wait."""
    if name == "synthesize_to_learn":
        from pipeline.flow.flow import synthesize_to_learn

        return synthesize_to_learn
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
