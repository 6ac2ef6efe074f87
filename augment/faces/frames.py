"""Pictures that hold several: animations and files of many pages, of which nobody can say which one shows the face."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from augment.core.errors import Problem

# Formats of several pictures. Not MPO: phones write a preview or a depth map behind their JPEG.
_FORMATS = ("GIF", "PNG", "WEBP", "TIFF", "AVIF")
_TIFF_KIND = 254  # the tag NewSubfileType
_TIFF_SIDE_PICTURES = 0b101  # a smaller version, or a mask, of another page


def holds_several_frames(data: bytes) -> bool:
    """Whether a picture file is an animation, or has several pages.

    A page that a TIFF marks as a smaller version or a mask of another does not count. Of a file that does not decode
    the answer is no: whoever decodes it says so.

    Args:
        data: The file's bytes.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow has to say it says when the picture is decoded
            with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
                if picture.format != "TIFF":
                    return bool(getattr(picture, "is_animated", False))
                return _has_further_page(picture)
    except Exception:  # decoders raise what they like on bytes that are not theirs
        return False


def _has_further_page(picture: Image.Image) -> bool:
    page = 0
    while True:
        page += 1
        try:
            picture.seek(page)
        except EOFError:
            return False
        if not int(picture.tag_v2.get(_TIFF_KIND, 0)) & _TIFF_SIDE_PICTURES:  # type: ignore[attr-defined]
            return True


def frames_problem(data: bytes, where: str) -> Problem | None:
    """The problem of a picture file that holds several pictures; None of any other.

    Args:
        data: The file's bytes.
        where: How the problem names it.
    """
    if not holds_several_frames(data):
        return None
    kind = "pages" if _is_tiff(data) else "frames"
    return Problem(
        where,
        f"holds several {kind}, and a face is one picture",
        f"save the {kind[:-1]} that shows the expression as a file of its own",
    )


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
