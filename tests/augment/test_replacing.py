"""What is replaced is the old one or the new one, whole, whatever happens; nobody else's files are touched."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from augment.core import replacing
from augment.core.errors import InputError
from augment.core.replacing import folder_in_place, recover, replace_file, replace_folder
from augment.core.seals import SEAL, is_sealed, seal_folder

pytestmark = pytest.mark.slow

DEAD = 2**22 + 1  # more than any process number of Linux
OTHER_DISK = Path("/dev/shm")
STEPS = {
    "open",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "shutil.copyfile",
    "shutil.copytree",
    "shutil.rmtree",
}


def fill(folder: Path, text: str) -> Path:
    for name in ("a", "b/c", "b/d"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text * 3000)
    return folder


def content(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != SEAL]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def all_of(text: str) -> dict[str, str]:
    return dict.fromkeys(("a", "b/c", "b/d"), text * 3000)


@pytest.fixture(params=["one file system", "two file systems"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where results go: beside the scratch, or a link to another disk, as users with a small one have it."""
    place = tmp_path / "artifacts"
    if request.param == "one file system":
        place.mkdir()
        yield place
        return
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    real = OTHER_DISK / f"s2l-test-{os.getpid()}"
    real.mkdir()
    place.symlink_to(real)
    yield place
    shutil.rmtree(real)


def run_and_kill(act: Callable[[], None], step: int) -> bool:
    """Does something in a process that ends, as by a kill, before its step-th change; False: it came through."""
    child = os.fork()
    if not child:
        left = step

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in STEPS:
                if not left:
                    os._exit(9)
                left -= 1

        try:
            sys.addaudithook(count)
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9), code
    return code == 9


def test_a_kill_at_every_step_leaves_the_old_folder_or_the_new(artifacts: Path, tmp_path: Path) -> None:
    out, built = artifacts / "faces", tmp_path / "built"
    step, seen = 0, set()
    while True:
        shutil.rmtree(out, ignore_errors=True)
        shutil.rmtree(built, ignore_errors=True)
        seal_folder(fill(out, "old"))
        fill(built, "new")
        killed = run_and_kill(lambda: replace_folder(built, out), step)
        recover(out)  # as the next run does
        assert content(out) in (all_of("old"), all_of("new")) and is_sealed(out), step
        seen.add(content(out)["a"][:3])
        assert [path.name for path in artifacts.iterdir()] == ["faces"], step
        replace_folder(fill(built, "new"), out)
        assert content(out) == all_of("new") and not built.exists()
        if not killed:
            break
        step += 1
    assert step > 20 and seen == {"old", "new"}


def test_a_kill_at_every_step_leaves_the_old_file_or_the_new(artifacts: Path, tmp_path: Path) -> None:
    out, built, step = artifacts / "folds.parquet", tmp_path / "built", 0
    while True:
        out.write_text("old" * 3000)
        built.write_text("new" * 3000)
        killed = run_and_kill(lambda: replace_file(built, out), step)
        assert out.read_text() in ("old" * 3000, "new" * 3000)
        built.write_text("new" * 3000)
        replace_file(built, out)
        assert out.read_text() == "new" * 3000 and list(artifacts.iterdir()) == [out]
        if not killed:
            break
        step += 1
    assert step > 1


def test_the_harness_would_see_a_half(tmp_path: Path) -> None:
    """A negative control: what stood here before, deletion and then a copy, leaves halves."""

    def delete_and_copy() -> None:
        shutil.rmtree(tmp_path / "out")
        shutil.copytree(tmp_path / "built", tmp_path / "out")

    fill(tmp_path / "built", "new")
    halves = 0
    for step in range(12):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        fill(tmp_path / "out", "old")
        run_and_kill(delete_and_copy, step)
        halves += content(tmp_path / "out") not in (all_of("old"), all_of("new"))
    assert halves


def test_a_link_to_another_disk_stays_a_link(artifacts: Path, tmp_path: Path) -> None:
    was = artifacts.is_symlink()
    replace_folder(fill(tmp_path / "built", "new"), artifacts / "faces")
    assert artifacts.is_symlink() is was and content(artifacts / "faces") == all_of("new")


def test_a_full_disk_in_the_middle_of_the_copy_leaves_the_old_whole(artifacts: Path, tmp_path: Path) -> None:
    out, built = artifacts / "faces", fill(tmp_path / "built", "new")
    seal_folder(fill(out, "old"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, hard))
    try:
        if artifacts.is_symlink():
            with pytest.raises(OSError) as caught:
                replace_folder(built, out)
            assert caught.value.errno == errno.EFBIG
        else:
            replace_folder(built, out)  # nothing is copied, so nothing is full
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(out) == all_of("old" if artifacts.is_symlink() else "new") and is_sealed(out)
    assert [path.name for path in artifacts.iterdir()] == ["faces"]


def test_mounts_that_refuse_a_rename_though_the_device_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace, refusals = Path.replace, []

    def refuse_once(path: Path, target: Path) -> Path:
        if path.name == "built" and not refusals:
            refusals.append(path)
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(path, target)

    seal_folder(fill(tmp_path / "out", "old"))
    monkeypatch.setattr(Path, "replace", refuse_once)
    replace_folder(fill(tmp_path / "built", "new"), tmp_path / "out")
    assert refusals and content(tmp_path / "out") == all_of("new")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_when_the_new_cannot_take_its_place_the_old_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    seal_folder(fill(tmp_path / "out", "old"))
    monkeypatch.setattr(replacing, "_rename_here", fail)
    with pytest.raises(OSError, match="No space"):
        replace_folder(fill(tmp_path / "built", "new"), tmp_path / "out")
    assert content(tmp_path / "out") == all_of("old")


def test_leftovers_of_dead_runs_go_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    living = tmp_path / f".report.{os.getppid()}.part"
    for folder in (tmp_path / f".report.{DEAD}.part", tmp_path / f".report.{DEAD}.old", living):
        fill(folder, "half")
    others = [tmp_path / f".other.{DEAD}.part", tmp_path / ".report.part", tmp_path / f"report.{DEAD}.part"]
    for path in others:
        path.write_text("not the report's")
    seal_folder(fill(tmp_path / "report", "old"))
    with folder_in_place(tmp_path / "report") as built:
        fill(built, "new")
    assert set(tmp_path.iterdir()) == {tmp_path / "report", living, *others}


@pytest.mark.parametrize("make", ["files", "hidden file", "link"])
def test_a_folder_that_the_tool_did_not_write_is_refused_and_untouched(tmp_path: Path, make: str) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    if make == "files":
        fill(mine, "mine")
    elif make == "hidden file":
        (mine / ".notes").write_text("mine")
    else:
        (mine / "elsewhere").symlink_to(tmp_path)
    before = sorted(mine.rglob("*"))
    with pytest.raises(InputError, match=r"mine: holds files, and no \.s2l"):
        replace_folder(fill(tmp_path / "built", "new"), mine)
    with pytest.raises(InputError, match="not touched"), folder_in_place(mine):
        raise AssertionError("hours of work would come before the refusal")
    assert sorted(mine.rglob("*")) == before


def test_own_files_in_a_folder_of_the_tool_are_not_lost(tmp_path: Path) -> None:
    seal_folder(fill(tmp_path / "out", "old"))
    (tmp_path / "out" / "b" / "my notes.md").write_text("mine")
    with pytest.raises(InputError, match=r"did not write: b/my notes\.md"):
        replace_folder(fill(tmp_path / "built", "new"), tmp_path / "out")
    (tmp_path / "out" / "b" / "my notes.md").unlink()
    (tmp_path / "out" / ".DS_Store").write_text("a file manager's")
    replace_folder(tmp_path / "built", tmp_path / "out")
    assert content(tmp_path / "out") == all_of("new")


def test_an_absent_and_an_empty_folder_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty", "deep/er"):
        replace_folder(fill(tmp_path / "built", "new"), tmp_path / name)
        assert content(tmp_path / name) == all_of("new")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="is a file"):
        replace_folder(fill(tmp_path / "built", "new"), tmp_path / "file")
    with pytest.raises(InputError, match="is a folder"):
        replace_file(tmp_path / "file", tmp_path / "empty")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_build_leaves_the_old_and_no_scratch(tmp_path: Path) -> None:
    seal_folder(fill(tmp_path / "out", "old"))
    with pytest.raises(RuntimeError), folder_in_place(tmp_path / "out") as built:
        fill(built, "half")
        raise RuntimeError
    assert content(tmp_path / "out") == all_of("old") and [p.name for p in tmp_path.iterdir()] == ["out"]
