"""Pictures in and out: any decodable image to uint8 arrays of one size, and arrays to PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo


class UndecodableImageError(ValueError):
    """The bytes are not an image that can be decoded whole."""


def decode_image(data: bytes) -> np.ndarray:
    """Decodes an image file's bytes to 8-bit grey or RGB.

    EXIF orientation is applied; 16-bit and float pictures are scaled to 8 bits; palettes are expanded; alpha is
    composed over mid-grey (a black or white backdrop would be an edge that no camera made).

    Args:
        data: The bytes of a PNG, JPEG, BMP, TIFF, WebP ... file.

    Returns:
        uint8 [H, W] for grey pictures, [H, W, 3] for colour ones.

    Raises:
        UndecodableImageError: The bytes are empty, truncated, or no known image.
    """
    if not data:
        raise UndecodableImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except Image.DecompressionBombError as error:
        raise UndecodableImageError(f"the picture is too large to decode safely: {error}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise UndecodableImageError(
            re.sub(r" ?<_io.BytesIO object at \w+>", "", str(error)) or "not an image"
        ) from error
    try:
        return _to_grey_or_rgb(picture)
    except ValueError as error:
        raise UndecodableImageError(f"pictures of mode {picture.mode} can't be brought to 8 bits: {error}") from error


def _to_grey_or_rgb(picture: Image.Image) -> np.ndarray:
    if picture.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
        return _to_eight_bits(np.asarray(picture))
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
    if picture.mode in ("PA", "LA") or (picture.mode == "P" and "transparency" in picture.info):
        picture = picture.convert("RGBA")
    if picture.mode == "RGBA":
        backdrop = Image.new("RGBA", picture.size, (128, 128, 128, 255))
        picture = Image.alpha_composite(backdrop, picture).convert("RGB")
    if picture.mode == "1":
        picture = picture.convert("L")
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("RGB")
    return np.asarray(picture)


def _to_eight_bits(pixels: np.ndarray) -> np.ndarray:
    """Scales deep grey pixels to 8 bits.

    16-bit pictures by their full range, however dark they are; 32-bit ones and floats, whose files name no range, by
    what they hold (up to 1, up to 255, or more).
    """
    values = pixels.astype(np.float64)
    if not np.isfinite(values).all():
        raise UndecodableImageError("the picture holds values that are not finite")
    top = values.max(initial=0)
    if pixels.dtype.kind == "f" and top <= 1:
        scale = 255.0
    elif pixels.dtype.itemsize > 2 and top <= 255:
        scale = 1.0
    else:
        scale = 255.0 / 65535.0
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)


def fit_image(pixels: np.ndarray, size: int, channels: int) -> np.ndarray:
    """Brings a picture to `size` x `size` pixels and `channels` channels.

    A picture that is not square is cropped about its centre. Down-scaling is by box-filtered Lanczos (Pillow), so
    that nothing aliases.

    Args:
        pixels: uint8 [H, W] or [H, W, 3].
        size: Edge of the result in pixels.
        channels: 1 (luma, ITU-R 601) or 3.

    Returns:
        uint8 [size, size, channels].
    """
    picture = Image.fromarray(pixels)
    if picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    picture = picture.convert("L" if channels == 1 else "RGB")
    return np.asarray(picture).reshape(size, size, channels)


def encode_png(pixels: np.ndarray, text: Mapping[str, str] | None = None) -> bytes:
    """Encodes uint8 [H, W], [H, W, 1] or [H, W, 3] as PNG (level 1: synthesis is bound by it otherwise).

    Args:
        pixels: The picture.
        text: Text chunks, for example where the picture comes from; `png_text` reads them.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    chunks = PngInfo()
    for key, value in (text or {}).items():
        chunks.add_itxt(key, value)
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=1, pnginfo=chunks)
    return buffer.getvalue()


def png_text(data: bytes, key: str) -> str | None:
    """The text chunk of this key that stands before the pixels; None where there is none, or no PNG."""
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
            value = picture.info.get(key)
    except (Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        return None
    return str(value) if isinstance(value, str) else None


def plain_grey(image: np.ndarray) -> np.ndarray:
    """[H, W, 1] as [H, W]; colour as it is."""
    return image[:, :, 0] if image.shape[2] == 1 else image
