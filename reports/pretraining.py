"""What the page says of a judge that learned from another data set first."""

from __future__ import annotations

from pathlib import Path

from augment.core.json_files import read_json_object


def pretraining_notes(judge: Path) -> tuple[str, ...]:
    """A sentence on the pretraining; nothing where there was none.

    Args:
        judge: The judge stage's output.
    """
    file = Path(judge) / "pretraining" / "judge.json"
    if not file.is_file():
        return ()
    facts = read_json_object(file)
    held_out = facts["held_out"]
    return (
        f"The judge was trained on another data set first: {facts['title']}, {facts['training_faces']:,} faces of "
        f"{len(facts['class_names'])} classes, {facts['steps']:,} steps, after which it recognized "
        f"{100 * held_out['accuracy']:.1f} % of {held_out['count']:,} faces that it had not learned from.",
    )
