"""Which synthetic pictures were compared with held-out ones, and look like none: nobody compares them again.

Every arm that learns from a translator's faces asks whether a validation or test picture is among them, where it
trains on them, and of 360,000 faces the comparison takes longer than the training. What is kept is the SHA-256 of each
picture's encoded bytes, for one set of held-out pictures and one version of the code that compares. So a picture that
was changed or added since, another fold, or mended code is compared as if nothing had been kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from augment.core.code_hash import hash_code
from augment.core.files import atomic_write_bytes

_LENGTH = hashlib.sha256().digest_size


def picture_digest(encoded: bytes) -> bytes:
    """The SHA-256 of a picture as it is encoded."""
    return hashlib.sha256(encoded).digest()


class ClearedPictures:
    """Pictures that look like none of a set of held-out ones.

    In the folder is one file for each such set: 32 bytes a picture, sorted, and the SHA-256 of all of them. A file that
    does not fit counts as empty. Of two processes that write in the same moment one is kept: what the other one had is
    compared again.

    Args:
        folder: Where they are kept; None keeps nothing.
        held_out: Digests of the held-out pictures, in any order.
    """

    def __init__(self, folder: Path | None, held_out: Iterable[bytes]) -> None:
        self._file: Path | None = None
        self._digests: set[bytes] = set()
        if folder is None:
            return
        key = hashlib.sha256(hash_code(["augment.faces.duplicates"]).encode() + b"".join(sorted(held_out)))
        self._file = Path(folder) / f"{key.hexdigest()}.sha256"
        self._digests = self._read()

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def __len__(self) -> int:
        return len(self._digests)

    def keep(self, digests: Iterable[bytes]) -> None:
        """Keeps more pictures, on disk once this returns."""
        if self._file is None or not (more := set(digests) - self._digests):
            return
        self._digests |= more | self._read()
        data = b"".join(sorted(self._digests))
        atomic_write_bytes(self._file, data + hashlib.sha256(data).digest())

    def _read(self) -> set[bytes]:
        try:
            data = b"" if self._file is None else self._file.read_bytes()
        except FileNotFoundError:
            return set()
        digests, seal = data[:-_LENGTH], data[-_LENGTH:]
        if hashlib.sha256(digests).digest() != seal or len(digests) % _LENGTH:
            return set()
        return {digests[start : start + _LENGTH] for start in range(0, len(digests), _LENGTH)}
