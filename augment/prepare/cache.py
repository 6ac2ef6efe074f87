"""Results that took long, kept on disk as they come, so that a killed run does not work them out again."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from augment.core.files import atomic_write_bytes

PIECE_ROWS = 512  # results a file
PIECE_SECONDS = 10.0  # what a killed run loses at most
_PIECES_HELD = 4


class ResultCache:
    """Results by key, in a folder of Parquet pieces; each piece is whole or absent.

    Keys are read at once, results as they are asked for: asked in about the order in which they came, little is held.
    A piece is named by the SHA-256 of its bytes: one whose name does not say what it holds is deleted, and what it held
    counts as unknown.

    Args:
        folder: Of this kind of result alone.
        schema: The results' columns.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder = folder
        self._schema = pa.schema([pa.field("key", pa.binary(32)), *schema])
        self._places: dict[bytes, tuple[Path, int]] = {}
        self._held: OrderedDict[Path, list[dict[str, Any]]] = OrderedDict()
        self._fresh: dict[bytes, dict[str, Any]] = {}
        self._written_at = time.monotonic()
        for piece in sorted(folder.glob("*.parquet")):
            keys = self._read(piece, columns=["key"])
            if keys is not None:
                self._places.update((row["key"], (piece, number)) for number, row in enumerate(keys))

    def __len__(self) -> int:
        return len(self._places) + len(self._fresh)

    def get(self, key: bytes) -> Mapping[str, Any] | None:
        """The result of this key; None where it is unknown."""
        if key in self._fresh:
            return self._fresh[key]
        if key not in self._places:
            return None
        piece, row = self._places[key]
        if piece not in self._held:
            rows = self._read(piece)
            if rows is None:
                self._places = {other: place for other, place in self._places.items() if place[0] != piece}
                return None
            self._held[piece] = rows
            if len(self._held) > _PIECES_HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(piece)
        return self._held[piece][row]

    def put(self, key: bytes, result: Mapping[str, Any]) -> None:
        """Keeps a result; it is on disk after the next piece, which is soon."""
        self._fresh[key] = {"key": key, **result}
        if len(self._fresh) >= PIECE_ROWS or time.monotonic() - self._written_at > PIECE_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Writes what is not on disk yet."""
        self._written_at = time.monotonic()
        if not self._fresh:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(self._fresh.values()), self._schema), sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        piece = self.folder / f"{hashlib.sha256(data).hexdigest()}.parquet"
        atomic_write_bytes(piece, data)
        self._places.update((key, (piece, row)) for row, key in enumerate(self._fresh))
        self._fresh = {}

    def _read(self, piece: Path, columns: list[str] | None = None) -> list[dict[str, Any]] | None:
        """A piece's rows; None, and the piece is gone, where its bytes are not those that its name says."""
        try:
            data = piece.read_bytes()
            if hashlib.sha256(data).hexdigest() == piece.stem:
                return pq.read_table(pa.BufferReader(data), columns=columns).to_pylist()
        except FileNotFoundError:
            return None
        piece.unlink(missing_ok=True)
        return None
