"""The page on exports: each block that reads one runs as it stands, also in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from made_up_faces import PER_CLASS, write_workspace

from pipeline.publishing.export import ExportSettings, export_faces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")
BLOCKS = {
    title: (packages.split(), code)
    for title, packages, code in re.findall(
        r"^##+ ([^\n]+)\n(?:(?!^#).)*?`pip install ([^`]+)`\n\n```python\n(.*?)```",
        PAGE,
        flags=re.DOTALL | re.MULTILINE,
    )
}
KEPT = PER_CLASS - 1


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export in each form, by the page's names."""
    folder = tmp_path_factory.mktemp("page")
    write_workspace(folder / "run")
    export_faces(folder / "run", folder / "DEST", ExportSettings(with_real=True))
    for format in ("imagefolder", "webdataset"):
        settings = ExportSettings(with_real=True, format=format)  # type: ignore[arg-type]
        export_faces(folder / "run", folder / f"DEST-{format}", settings)
    return folder


def checked(title: str, found: object) -> None:
    """Whether a block found what is there: 42 synthetic faces of three classes, and the real ones."""
    if title in ("pandas", "DuckDB", "Polars"):
        assert len(found) == {"pandas": 6}.get(title, 3)  # type: ignore[arg-type]
    elif title == "pyarrow":
        assert found.num_rows == 42  # type: ignore[attr-defined]
    elif title == "scikit-learn":
        assert 0 <= found <= 1  # type: ignore[operator]
    else:
        assert found


def test_the_page_has_all_readers() -> None:
    assert set(BLOCKS) >= {
        *("pandas", "pyarrow", "DuckDB", "Polars", "Hugging Face datasets", "PyTorch", "WebDataset", "scikit-learn"),
        *("PyTorch, a stream of batches", "torchvision", "The reader"),
    }


@pytest.mark.parametrize("title", BLOCKS)
def test_a_block_runs_as_it_stands(title: str, exports: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(exports)
    values: dict[str, object] = {"__name__": "block"}
    exec(compile(BLOCKS[title][1], title, "exec"), values)
    checked(title, values["found"])


@pytest.mark.nightly
@pytest.mark.parametrize("title", BLOCKS)
def test_a_block_runs_where_nothing_else_is_installed(title: str, exports: Path, tmp_path: Path) -> None:
    packages, code = BLOCKS[title]
    script = tmp_path / "block.py"
    script.write_text(f"if True:\n{re.sub(r'^', '    ', code, flags=re.MULTILINE)}\n    print('found', found)\n")
    wanted = [str(ROOT / "reader") if package == "./reader" else package for package in packages]
    uv = shutil.which("uv")
    assert uv is not None
    words = [
        uv,
        "run",
        "--isolated",
        "--no-project",
        *(f"--with={package}" for package in wanted),
        "python",
        str(script),
    ]
    kept = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(words, cwd=exports, env=kept, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0 and "found" in done.stdout, done.stderr[-2000:]


def test_no_block_imports_this_project() -> None:
    for title, (_, code) in BLOCKS.items():
        assert not re.search(r"\b(augment|pipeline|classifiers|reports)\b", code), title
