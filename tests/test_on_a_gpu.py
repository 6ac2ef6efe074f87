"""No machine of ours has a GPU: what would fail on every one is looked for on a pretended one (`pretended_gpu`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FOLDERS = [TESTS.parent, TESTS, TESTS / "augment", TESTS / "augment" / "translators"]

pytestmark = pytest.mark.slow


def test_nothing_mixes_a_gpu_with_the_processor() -> None:
    """Every form of every translator, classifiers and the parsing network; and what mixes them is found."""
    run = subprocess.run(
        [sys.executable, str(TESTS / "on_a_gpu.py")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, FOLDERS))},
        capture_output=True,
        text=True,
        timeout=550,  # before the suite's own, which would leave it running
    )
    assert run.returncode == 0, run.stderr
    found = {case["name"]: case["found"] for case in map(json.loads, run.stdout.splitlines())}
    assert "WrongSideError: aten.add.Tensor of tensors on both sides" in found.pop("control")
    assert {"stargan", "lssl", "appearance_flow", "warp", "classifier", "parsing"} <= set(found)
    assert not any(found.values()), "\n".join(text for text in found.values() if text)
