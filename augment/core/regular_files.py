"""Files of users, opened only where they are files: a named pipe would wait for ever, a device would never end."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 2**29  # half a gigabyte: more than the largest picture that is decoded takes in any of its formats
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NotARegularFileError(OSError):
    """What stands at a path is no file, is larger than may be read at once, or can't be named; `strerror` says it."""


def require_regular_file(path: Path) -> os.stat_result:
    """Looks before a library that takes a path opens it; links are followed.

    Args:
        path: The file.

    Returns:
        What the system says of it.

    Raises:
        NotARegularFileError: It is a pipe, a socket, a device or a folder, or no system has such a name.
        OSError: It is absent, or can't be looked at.
    """
    try:
        found = Path(path).stat()
    except ValueError as error:  # a zero byte in the name
        raise _refusal(path, "has a name that no file can have") from error
    _require_regular(found.st_mode, path)
    return found


def open_regular_file(path: Path) -> BinaryIO:
    """Opens a file for reading, in bytes; never waits for a pipe's other end.

    Args:
        path: The file; links are followed.

    Raises:
        NotARegularFileError: It is a pipe, a socket, a device or a folder, or no system has such a name.
        OSError: It is absent, or can't be opened.
    """
    # Opened first and looked at then: what is looked at can't be swapped for a pipe in between.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        handle = os.open(path, flags)
    except ValueError as error:
        raise _refusal(path, "has a name that no file can have") from error
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.EOPNOTSUPP):
            raise _refusal(path, "is a socket or a device, and no file") from error
        raise
    try:
        _require_regular(os.fstat(handle).st_mode, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular_file(path: Path, *, most_bytes: int = MOST_BYTES) -> bytes:
    """Reads a file whole.

    Args:
        path: The file; links are followed.
        most_bytes: Larger files are refused before anything is read.

    Raises:
        NotARegularFileError: It is no file (`open_regular_file`), or is larger.
        OSError: It is absent, or can't be read.
    """
    with open_regular_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most_bytes + 1) if size <= most_bytes else b""
        if size > most_bytes or len(data) > most_bytes:
            raise _refusal(path, f"is larger than {most_bytes / 2**20:,.0f} MB, which no such file is")
    return data


def read_regular_text(
    path: Path, *, encoding: str = "utf-8", errors: str = "strict", most_bytes: int = MOST_BYTES
) -> str:
    """Reads a text whole, its ends of lines as `\\n`.

    Args:
        path: The file; links are followed.
        encoding: Of the text.
        errors: What becomes of bytes that are none of it, as `bytes.decode` has it.
        most_bytes: Larger files are refused before anything is read.

    Raises:
        NotARegularFileError: It is no file, or is larger.
        OSError: It is absent, or can't be read.
        UnicodeDecodeError: With `strict`, for bytes that are none of the encoding.
    """
    data = read_regular_file(path, most_bytes=most_bytes)
    return io.TextIOWrapper(io.BytesIO(data), encoding=encoding, errors=errors).read()


def _require_regular(mode: int, path: Path) -> None:
    if not stat.S_ISREG(mode):
        kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "something else")
        raise _refusal(path, f"is {kind}, and no file")


def _refusal(path: Path, why: str) -> NotARegularFileError:
    return NotARegularFileError(errno.EINVAL, why, str(path))
