"""What a file that can't be read is by its first bytes, whatever its name says: for messages alone."""

from __future__ import annotations

import re

OPENING = 512  # bytes that `kind_of` looks at: a tar's mark stands at 257

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"%!PS", "an EPS or PostScript program"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS or PostScript program"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"PK\x05\x06", "an empty ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ\0", "an xz archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (0, b"version https://git-lfs", "a Git LFS pointer in place of the file"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (0, b"8BPS", "a Photoshop picture"),
    (0, b"\xd7\xcd\xc6\x9a", "a WMF drawing"),
    (0, b"\x01\0\0\0\x6c\0\0\0", "an EMF drawing"),
    (0, b"\0\0\x01\0", "an icon (ICO)"),
    (0, b"\0\0\x02\0", "a cursor (CUR)"),
    (0, b"icns", "an icon (ICNS)"),
    (0, b"SIMPLE  =", "a FITS picture"),
    (0, b"GRIB", "a GRIB file"),
    (0, b"BUFR", "a BUFR file"),
    (0, b"qoif", "a QOI picture"),
    (0, b"\x01\xda", "an SGI picture"),
    (0, b"/* XPM */", "an XPM picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftyphev", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypisom", "a video"),
    (4, b"ftypmp4", "a video"),
    (4, b"ftypqt", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
)
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:\?xml|!doctype|!--|html|svg)", re.IGNORECASE)


def kind_of(opening: bytes) -> str | None:
    """What a file is, with its article: `a tar archive`.

    Args:
        opening: Its first bytes, `OPENING` of them where there are so many.

    Returns:
        None where nothing is known of such bytes.
    """
    for offset, signature, kind in _SIGNATURES:
        if opening.startswith(signature, offset):
            return kind
    if _MARKUP.match(opening):
        return "an SVG drawing" if b"<svg" in opening.lower() else "a web page or an XML file"
    return None


def is_archive_kind(kind: str | None) -> bool:
    """Whether a kind of `kind_of` is to be unpacked first."""
    return kind is not None and kind.endswith("archive")
