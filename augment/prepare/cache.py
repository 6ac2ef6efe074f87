"""Results that took long, kept on disk as they come, so that a killed run does not work them out again."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Value = bytes | str | int | float | None

_BUSY_SECONDS = 60.0  # how long another process may hold the file
# What SQLite says of a file whose content can't be right. All else (no space, no permission) is the system's.
_DAMAGE = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_ERROR,  # such as a missing table or column
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_NOTADB,
}

_SYSTEM = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
}


class ResultCache:
    """Results by key, in a table of an SQLite database; a result is on disk once `put` returns.

    Several processes may use one file. A row has a SHA-256 of its key and values: one that does not fit counts as
    unknown. A file that is no database any more is set aside as `NAME.damaged` with a warning, and a new one is begun.

    Args:
        file: Of this kind of result alone; made where it is missing, with the folders above it.
        columns: Names of a result's values.

    Raises:
        OSError: The file can't be opened.
    """

    def __init__(self, file: Path, columns: Sequence[str]) -> None:
        self.file = file
        self.columns = tuple(columns)
        self._names = ", ".join(f'"{name}"' for name in self.columns)
        self._connection: sqlite3.Connection | None = None
        self._execute("SELECT 1")  # a file that can't be opened is said now

    def get(self, key: bytes) -> Mapping[str, Any] | None:
        """The result of this key; None where it is unknown."""
        rows = self._execute(f"SELECT digest, {self._names} FROM results WHERE key = ?", (key,))
        if not rows:
            return None
        digest, *values = rows[0]
        return dict(zip(self.columns, values, strict=True)) if digest == _digest(key, values) else None

    def put(self, key: bytes, result: Mapping[str, Value]) -> None:
        """Keeps a result, in the place of an older one.

        Args:
            key: What the result depends on, hashed.
            result: A value for each column; NaN is kept as None.

        Raises:
            OSError: The disk is full or can't be written.
        """
        values = [None if result[name] != result[name] else result[name] for name in self.columns]
        marks = ", ".join("?" * (2 + len(values)))
        insert = f"INSERT OR REPLACE INTO results (key, digest, {self._names}) VALUES ({marks})"
        self._execute(insert, (key, _digest(key, values), *values))

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _execute(self, statement: str, values: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """Runs one statement as a transaction; on a file that is damaged, once more on a new one.

        Raises:
            OSError: The system refuses.
        """
        try:
            return self._opened().execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            if not self._is_damage(error):
                raise self._refusal(error) from error
            self._set_aside(str(error))
        try:
            return self._opened().execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            # No thread check: a generator that holds a cache may be closed by another thread than began it.
            connection = sqlite3.connect(
                self.file, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection = connection
            # Damaged text is found by the digest, not by an error of decoding.
            connection.text_factory = lambda data: data.decode("utf-8", errors="replace")
            # Nothing waits for the disk: a killed process loses nothing, and a power cut at worst this cache.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS results (key BLOB PRIMARY KEY, digest BLOB NOT NULL, {self._names})"
            )
        return self._connection

    def _refusal(self, error: sqlite3.DatabaseError) -> OSError:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
        return OSError(_SYSTEM.get(code, errno.EIO), str(error), str(self.file))

    def _is_damage(self, error: sqlite3.DatabaseError) -> bool:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
        if code == sqlite3.SQLITE_IOERR_SHORT_READ or code & 0xFF in _DAMAGE:
            return True
        # A file header that asks for a newer SQLite makes it read-only.
        return (
            code == sqlite3.SQLITE_READONLY and os.access(self.file, os.W_OK) and os.access(self.file.parent, os.W_OK)
        )

    def _set_aside(self, why: str) -> None:
        self.close()
        aside = self.file.with_name(f"{self.file.name}.damaged")
        # The journal first: it must not be played back into the new file.
        self.file.with_name(f"{self.file.name}-journal").unlink(missing_ok=True)
        if self.file.exists():
            self.file.replace(aside)
        warnings.warn(
            f"{self.file} can't be read ({why}); it is now {aside.name}, and a new one is begun", stacklevel=4
        )


def _digest(key: bytes, values: Sequence[Value]) -> bytes:
    digest = hashlib.sha256(key)
    for value in values:
        data = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(f"{type(value).__name__} {len(data)} ".encode() + data)
    return digest.digest()
