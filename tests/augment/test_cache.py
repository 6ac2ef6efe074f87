from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from augment.prepare.cache import ResultCache

COLUMNS = ("value", "name", "data")
ROOT = Path(__file__).parents[2]


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int) -> dict[str, bytes | str | int | float | None]:
    return {"value": number / 3, "name": f"number {number}", "data": bytes([number % 256]) * 3}


def filled(file: Path, count: int = 3) -> ResultCache:
    cache = ResultCache(file, COLUMNS)
    for number in range(count):
        cache.put(key(number), row(number))
    return cache


def test_what_is_put_is_found_now_and_later(tmp_path: Path) -> None:
    file = tmp_path / "new" / "results.sqlite"
    cache = ResultCache(file, COLUMNS)
    assert cache.get(key(0)) is None
    filled(file, 50)
    for other in (cache, ResultCache(file, COLUMNS)):  # one that was open before, one that is opened now
        assert [other.get(key(number)) for number in range(50)] == [row(number) for number in range(50)]
        assert other.get(key(50)) is None
    cache.put(key(1), row(77))
    assert ResultCache(file, COLUMNS).get(key(1)) == row(77)
    cache.close()
    cache.close()
    assert cache.get(key(1)) == row(77)
    cache.close()
    assert [path.name for path in file.parent.iterdir()] == ["results.sqlite"]


def test_values_come_back_as_they_were(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "results.sqlite", ("value",))
    for number, value in enumerate([None, b"", b"\0x", "", "ü\n", 0, -(2**62), 0.1, 1e300, float("inf"), 3.0]):
        cache.put(key(number), {"value": value})
        found = cache.get(key(number))
        assert found == {"value": value} and type(found["value"]) is type(value)
    cache.put(key(99), {"value": float("nan")})
    assert cache.get(key(99)) == {"value": None}


def test_rows_that_were_changed_count_as_unknown(tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"
    filled(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE results SET value = 5.0 WHERE key = ?", (key(0),))
        connection.execute("UPDATE results SET key = ? WHERE key = ?", (key(9), key(1)))
    connection.close()
    cache = ResultCache(file, COLUMNS)
    assert [cache.get(key(number)) for number in (0, 1, 9)] == [None] * 3 and cache.get(key(2)) == row(2)
    cache.put(key(0), row(0))
    assert cache.get(key(0)) == row(0)


@pytest.mark.parametrize("damage", [b"SQLite format 3\0 and no more", b"PAR1 no more" * 1000])
@pytest.mark.parametrize("while_open", [False, True])
def test_a_damaged_file_is_set_aside(tmp_path: Path, damage: bytes, while_open: bool) -> None:
    file = tmp_path / "results.sqlite"
    cache = filled(file)
    file.write_bytes(damage)
    with pytest.warns(UserWarning, match=r"results.sqlite can't be read .* now results.sqlite.damaged, and a new one"):
        cache = cache if while_open else ResultCache(file, COLUMNS)
        assert cache.get(key(1)) is None
    assert (tmp_path / "results.sqlite.damaged").read_bytes() == damage
    cache.put(key(1), row(1))
    assert ResultCache(file, COLUMNS).get(key(1)) == row(1)


def test_a_file_of_other_columns_is_set_aside(tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"
    filled(file).close()
    cache = ResultCache(file, ("other",))
    with pytest.warns(UserWarning, match="other.* a new one is begun"):
        cache.put(key(1), {"other": 1})
    assert cache.get(key(1)) == {"other": 1}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_an_error_of_the_system(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="unable to open"):
        ResultCache(tmp_path / "results.sqlite", COLUMNS)
    tmp_path.chmod(0o700)


def test_a_place_that_is_a_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="unable to open"):
        ResultCache(tmp_path, COLUMNS)
    assert tmp_path.is_dir()


WRITER = """
import sys
sys.path[:0] = [{root!r}, {here!r}]
from test_cache import COLUMNS, ResultCache, key, row
cache = ResultCache(sys.modules["pathlib"].Path({file!r}), COLUMNS)
for number in range({first}, {last}):
    cache.put(key(number), row(number))
    print(number, flush=True)
"""


def writer(file: Path, first: int, last: int) -> subprocess.Popen[str]:
    code = WRITER.format(root=str(ROOT), here=str(Path(__file__).parent), file=str(file), first=first, last=last)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_processes_write_one_file(tmp_path: Path) -> None:
    file = tmp_path / "results.sqlite"
    writers = [writer(file, 0, 300), writer(file, 200, 500)]
    for one in writers:
        one.communicate()
        assert one.returncode == 0
    cache = ResultCache(file, COLUMNS)
    assert [cache.get(key(number)) for number in range(500)] == [row(number) for number in range(500)]


def test_what_a_killed_process_had_put_is_there(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = tmp_path / "results.sqlite"
    killed = writer(file, 0, 10**6)
    assert killed.stdout is not None
    put = [int(killed.stdout.readline()) for _ in range(200)]
    killed.send_signal(signal.SIGKILL)
    put += [int(line) for line in killed.stdout.read().splitlines() if line.isdigit()]
    assert killed.wait() == -signal.SIGKILL
    cache = ResultCache(file, COLUMNS)
    assert [cache.get(key(number)) for number in put[:-1]] == [row(number) for number in put[:-1]]
    assert not recwarn.list
