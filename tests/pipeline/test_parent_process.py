"""A stage ends with DVC, whatever shell stands between them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from waiting import lives, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent ended")

STAGE = """
import os, pathlib, sys, time
from pipeline.core.parent_process import end_with_caller
if sys.argv[2] == "asks":
    end_with_caller()
place = pathlib.Path(sys.argv[1])
place.with_suffix(".part").write_text(str(os.getpid()))
place.with_suffix(".part").rename(place)
time.sleep(60)
"""
CALLER = "import subprocess, sys; subprocess.run(sys.argv[1:])"


@pytest.mark.parametrize(
    ("shell", "asks", "ends"),
    [
        ([], "asks", True),
        (["sh", "-c", '"$@"; true', "sh"], "asks", True),  # true: the shell waits, as dash always does
        (["sh", "-c", '"$@"; true', "sh"], "does not ask", False),
    ],
)
def test_a_stage_ends_with_what_called_it(tmp_path: Path, shell: list[str], asks: str, ends: bool) -> None:
    place = tmp_path / "process"
    stage = [sys.executable, "-c", STAGE, str(place), asks]
    environment = os.environ | {"DVC_STAGE": "train@warp", "PYTHONPATH": str(Path(__file__).parents[2])}
    caller = subprocess.Popen([sys.executable, "-c", CALLER, *shell, *stage], env=environment)
    wait_for(place.exists)
    process = int(place.read_text(encoding="utf-8"))
    caller.kill()
    caller.wait()
    if ends:
        wait_for(lambda: not lives(process))
    else:
        time.sleep(1.0)
        assert lives(process)
        os.kill(process, signal.SIGKILL)
