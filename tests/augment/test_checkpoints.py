"""Checkpoints: whole or absent, the right run's or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from augment.core.checkpoints import (
    checkpoint_folders,
    clear_leftovers,
    fingerprint_differences,
    newest_checkpoint,
    write_checkpoint,
)
from augment.core.errors import InputError

FINGERPRINT = {"training": {"steps": 10, "betas": (0.5, 0.999)}, "seed": 1}


def write(scratch: Path, step: int, **changes: Any) -> Path:
    content: dict[str, Any] = {
        "tensors": {"weight": torch.full((3,), float(step)), "chance": torch.arange(4, dtype=torch.uint8)},
        "state": {"best": 0.1 + 0.2},
        "fingerprint": FINGERPRINT,
        "log": f"line {step}\n",
    }
    return write_checkpoint(scratch, step, **(content | changes))


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    tied = torch.tensor([1.0, float("-0"), 1e-45])
    folder = write(tmp_path, 7, tensors={"a": tied, "b": tied})
    checkpoint = newest_checkpoint(tmp_path, FINGERPRINT)
    assert checkpoint is not None
    assert (checkpoint.path, checkpoint.step, checkpoint.log) == (folder, 7, "line 7\n")
    assert checkpoint.state == {"best": 0.1 + 0.2}
    for name in ("a", "b"):
        assert checkpoint.tensors[name].numpy().tobytes() == tied.numpy().tobytes()


def test_keeps_the_last_two(tmp_path: Path) -> None:
    for step in (2, 9, 10, 100):
        write(tmp_path, step)
    assert [folder.name for folder in checkpoint_folders(tmp_path)] == ["checkpoint-00000010", "checkpoint-00000100"]


def test_an_empty_scratch_has_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path, FINGERPRINT) is None
    assert newest_checkpoint(tmp_path / "absent", FINGERPRINT) is None


@pytest.mark.parametrize("damage", ["tensors.safetensors", "state.json", "log.jsonl", "header"])
def test_damaged_ones_are_passed_over(tmp_path: Path, damage: str) -> None:
    write(tmp_path, 1)
    newest = write(tmp_path, 2)
    if damage == "header":  # the right length, the wrong content
        file = newest / "tensors.safetensors"
        file.write_bytes(b"\xff" * file.stat().st_size)
    elif damage == "log.jsonl":
        (newest / damage).unlink()
    else:
        (newest / damage).write_bytes((newest / damage).read_bytes()[:-3])
    with pytest.warns(UserWarning, match="damaged"):
        checkpoint = newest_checkpoint(tmp_path, FINGERPRINT)
    assert checkpoint is not None and checkpoint.step == 1
    write(tmp_path, 2)  # takes the damaged one's place
    checkpoint = newest_checkpoint(tmp_path, FINGERPRINT)
    assert checkpoint is not None and checkpoint.step == 2


def test_half_written_ones_are_not_seen_and_cleared(tmp_path: Path) -> None:
    (tmp_path / ".checkpoint-00000005.99.part").mkdir()
    (tmp_path / ".checkpoint-00000001.99.old").mkdir()
    (tmp_path / "samples").mkdir()
    assert newest_checkpoint(tmp_path, FINGERPRINT) is None
    clear_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]


def test_another_run_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, 1)
    other = {"training": {"steps": 20, "betas": (0.5, 0.999)}, "seed": 1, "device": "cuda"}
    with pytest.raises(InputError) as caught:
        newest_checkpoint(tmp_path, other)
    message = str(caught.value)
    assert "training.steps: 10 in the checkpoint, 20 now" in message
    assert "device" in message and "seed" not in message and "betas" not in message
    assert f"delete {tmp_path}" in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.text(max_size=3), JSON)
def test_fingerprints_differ_where_they_differ(fingerprint: dict[str, Any], key: str, value: Any) -> None:
    assert fingerprint_differences(fingerprint, fingerprint) == {}
    changed = fingerprint | {key: value}
    same = key in fingerprint and fingerprint[key] == value
    found = fingerprint_differences(fingerprint, changed)
    assert bool(found) is not same
    assert fingerprint_differences(changed, fingerprint).keys() == found.keys()
