from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from pipeline.cli import main

ROOT = Path(__file__).parent.parent.parent


def test_help_lists_every_stage_of_the_run() -> None:
    help_text = CliRunner().invoke(main, ["--help"]).output
    for stage in (
        "prepare",
        "parsing",
        "judge",
        "train",
        "synthesize",
        "assess",
        "classify",
        "report",
        "profile",
    ):
        assert stage in help_text


def test_help_imports_nothing_heavy() -> None:
    """What makes `s2l --help` answer in under a second: nothing is timed here, since machines differ."""
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'timm', 'pandas', 'pyarrow', 'numpy', 'sklearn', 'dvc', 'prefect', 'pydantic', 'hydra'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_stage_outside_a_project_says_what_is_missing(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert "params.yaml" in result.output and "s2l profile" in result.output
