"""Commands that compute nothing don't wait for the packages that compute: torch and Prefect take seconds to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import json
import sys
from click.testing import CliRunner
from pipeline.cli import main

ended = CliRunner().invoke(main, json.loads(sys.argv[1]))
print(json.dumps([ended.exit_code, ended.output, [name for name in ("torch", "prefect") if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    ("words", "exit_code", "said", "imported"),
    [
        (["experiments"], 0, "lssl_table1: LSSL, Table 1", []),
        (["verify", "nothing"], 1, "nothing: is no folder", []),
        (["flow", "plan", "--workspace", "docs"], 1, "docs: is no clone of the project", []),
        (["check"], 0, "", ["torch"]),  # what a command needs is seen here
    ],
)
def test_a_command_imports_what_it_needs(words: list[str], exit_code: int, said: str, imported: list[str]) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(words)], cwd=root, capture_output=True, text=True, check=True
    )
    code, output, found = json.loads(ended.stdout.splitlines()[-1])
    assert (code, found) == (exit_code, imported), output
    assert said in output
