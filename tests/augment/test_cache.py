from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pytest

from augment.prepare.cache import ResultCache
from augment.prepare.prepare import cache as result_cache

SCHEMA = pa.schema([pa.field("value", pa.int64()), pa.field("data", pa.binary())])


def key(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def row(number: int) -> dict[str, object]:
    return {"value": number, "data": bytes([number % 256]) * 3}


def test_what_is_put_is_found_now_and_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_cache, "PIECE_ROWS", 10)
    cache = ResultCache(tmp_path / "new", SCHEMA)
    assert cache.get(key(0)) is None and len(cache) == 0
    for number in range(95):
        cache.put(key(number), row(number))
    assert len(list((tmp_path / "new").glob("*.parquet"))) == 9  # the rest is not written yet
    assert not list((tmp_path / "new").glob(".*"))
    for other in (cache, ResultCache(tmp_path / "new", SCHEMA)):
        for number in [*range(90), 3, 80, 41]:
            found = other.get(key(number))
            assert found is not None and {name: found[name] for name in ("value", "data")} == row(number)
    assert cache.get(key(94)) is not None
    assert ResultCache(tmp_path / "new", SCHEMA).get(key(94)) is None
    cache.flush()
    cache.flush()
    assert len(ResultCache(tmp_path / "new", SCHEMA)) == 95


def test_a_slow_run_writes_by_the_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_cache, "PIECE_SECONDS", -1.0)
    cache = ResultCache(tmp_path, SCHEMA)
    cache.put(key(1), row(1))
    assert len(ResultCache(tmp_path, SCHEMA)) == 1


@pytest.mark.parametrize("damage", [b"", b"PAR1 no more"])
def test_a_damaged_piece_counts_as_unknown(tmp_path: Path, damage: bytes) -> None:
    cache = ResultCache(tmp_path, SCHEMA)
    cache.put(key(1), row(1))
    cache.flush()
    (piece,) = tmp_path.glob("*.parquet")
    whole = piece.read_bytes()
    opened = ResultCache(tmp_path, SCHEMA)
    piece.write_bytes(damage)
    assert opened.get(key(1)) is None and not piece.exists()
    opened.put(key(1), row(1))
    opened.flush()
    assert piece.read_bytes() == whole
    piece.write_bytes(damage)
    assert len(ResultCache(tmp_path, SCHEMA)) == 0 and not piece.exists()
