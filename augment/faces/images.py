"""Pictures in and out: any picture file that face data sets use to uint8 arrays of one size, and arrays to PNG.

Whatever stands in a picture file was written by somebody else. So the formats that are tried are a fixed list (others
would start a program, as EPS does, or are what no face comes in), the size is asked of the header before a pixel is
decoded, and whatever a decoder raises comes out as one error.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from augment.core.file_kinds import OPENING, kind_of

# In the order in which they are tried; each knows its own by its first bytes. None of them starts a program.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP", "AVIF")
FORMAT_NAMES = "PNG, JPEG, BMP, GIF, PPM (PGM, PBM), TIFF, WebP, AVIF"
# A full frame of a camera of 60 megapixels; decoding that takes half a gigabyte at most. Faces are learned at 512 px
# and less, and the largest published face pictures have about 20 megapixels.
MOST_PIXELS = 2**26
_STRIP_PIXELS = 2**20  # pixels that are converted at a time, so that their deeper forms never stand in memory whole
_TILE_WIDTH, _TILE_HEIGHT = 322, 323  # tags of TIFF
# By EXIF's orientation; 1 is upright.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


class UndecodableImageError(ValueError):
    """The bytes are not an image that can be decoded whole."""


def decode_image(data: bytes) -> np.ndarray:
    """Decodes an image file's bytes to 8-bit grey or RGB.

    EXIF orientation is applied; 16-bit and float pictures are scaled to 8 bits; palettes are expanded; alpha is
    composed over mid-grey (a black or white backdrop would be an edge that no camera made).

    Args:
        data: The bytes of a file in one of `FORMATS`, of `MOST_PIXELS` pixels at most: larger ones are refused by
            their header, before anything of them is decoded.

    Returns:
        uint8 [H, W] for grey pictures, [H, W, 3] for colour ones.

    Raises:
        UndecodableImageError: The bytes are empty, truncated, larger than may be, of another format (the message
            names it), or no image.
    """
    if not data:
        raise UndecodableImageError("the file is empty")
    try:
        with warnings.catch_warnings():
            # Pillow warns of what is refused here anyhow, or of details (a damaged EXIF entry) that no pixel needs.
            warnings.simplefilter("ignore")
            return _decode(data)
    except UndecodableImageError:
        raise
    except MemoryError as error:
        raise UndecodableImageError("its decoder asks for more memory than there is") from error
    except Exception as error:
        # Decoders raise whatever their damaged bytes lead them to: TypeError, struct.error, KeyError, RuntimeError ...
        raise UndecodableImageError(_reason(error, data)) from error


def _decode(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
        _check_size(picture)
        picture.load()
        pixels = _to_grey_or_rgb(picture)
        turn = _TURNS.get(_orientation(picture))
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _check_size(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        why = f"has {width} x {height} pixels, and {MOST_PIXELS / 1e6:.0f} million are the most that are decoded"
        raise UndecodableImageError(f"the picture {why}: make it smaller")
    # A tile of a TIFF is decoded whole, and may be far larger than the picture.
    tags = getattr(picture, "tag_v2", {})
    tile_width, tile_height = (tags.get(tag, 0) for tag in (_TILE_WIDTH, _TILE_HEIGHT))
    if tile_width * tile_height > MOST_PIXELS:
        why = f"is cut into tiles of {tile_width} x {tile_height} pixels, which are too large to be decoded"
        raise UndecodableImageError(f"the picture {why}: save it again without tiles")


def _orientation(picture: Image.Image) -> int:
    """How the camera was held, by EXIF; nothing else that stands there is looked at, damaged or not.

    Raises:
        UndecodableImageError: The EXIF data can't be read, so that nobody knows which side is up.
    """
    try:
        found = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception as error:
        raise UndecodableImageError(f"its EXIF data are damaged ({error}): save it again without them") from error
    return found if isinstance(found, int) else 1


def _reason(error: Exception, data: bytes) -> str:
    """Why the bytes do not decode, without Pillow's names for streams; what they are, where they are no picture."""
    if isinstance(error, Image.DecompressionBombError):
        return f"the picture is too large to decode: {error}"
    if isinstance(error, UnidentifiedImageError | KeyError):  # a Pillow that knows no AVIF says so by a KeyError
        kind = kind_of(data[:OPENING])
        what = "not a picture that is read, or damaged at its beginning" if kind is None else f"it is {kind}"
        return f"{what}; read are {FORMAT_NAMES}"
    said = re.sub(r" ?<_io.BytesIO object at \w+>", "", str(error)).strip()
    return said or f"its decoder ended in {type(error).__name__}"


def _to_grey_or_rgb(picture: Image.Image) -> np.ndarray:
    """The pixels as uint8 [H, W] or [H, W, 3], converted a strip at a time."""
    width, height = picture.size
    if picture.mode in ("L", "RGB") and width * height <= _STRIP_PIXELS:
        return np.asarray(picture)
    rows = max(1, _STRIP_PIXELS // max(width, 1))
    boxes = [(0, top, width, min(top + rows, height)) for top in range(0, height, rows)]
    is_deep = picture.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
    scale = _scale(np.asarray(picture.crop(box)) for box in boxes) if is_deep else 1.0
    is_grey = is_deep or picture.mode in ("1", "L")
    pixels = np.zeros((height, width) if is_grey else (height, width, 3), np.uint8)
    for box in boxes:
        strip = picture.crop(box)
        if is_deep:
            pixels[box[1] : box[3]] = np.clip(np.rint(np.asarray(strip).astype(np.float64) * scale), 0, 255)
        else:
            pixels[box[1] : box[3]] = _strip_to_grey_or_rgb(strip)
    return pixels


def _strip_to_grey_or_rgb(picture: Image.Image) -> np.ndarray:
    try:
        if picture.mode in ("La", "RGBa"):
            picture = picture.convert("LA" if picture.mode == "La" else "RGBA")
        if picture.mode in ("PA", "LA") or (picture.mode == "P" and "transparency" in picture.info):
            picture = picture.convert("RGBA")
        if picture.mode == "RGBA":
            backdrop = Image.new("RGBA", picture.size, (128, 128, 128, 255))
            picture = Image.alpha_composite(backdrop, picture)
        return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except ValueError as error:
        raise UndecodableImageError(f"pictures of mode {picture.mode} can't be brought to 8 bits: {error}") from error


def _scale(strips: Iterable[np.ndarray]) -> float:
    """What brings deep grey pixels to 8 bits.

    16-bit pictures by their full range, however dark they are; 32-bit ones and floats, whose files name no range, by
    what they hold (up to 1, up to 255, or more).
    """
    top, kind = 0.0, np.dtype(np.uint16)
    for strip in strips:
        if not np.isfinite(strip).all():
            raise UndecodableImageError("the picture holds values that are not finite")
        top, kind = max(top, float(strip.max(initial=0))), strip.dtype
    if kind.kind == "f" and top <= 1:
        return 255.0
    if kind.itemsize > 2 and top <= 255:
        return 1.0
    return 255.0 / 65535.0


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=("PNG",)) as picture:
                value = picture.info.get(key)
    except Exception:  # as in `decode_image`: damaged bytes lead a decoder to raise whatever it may
        return None
    return str(value) if isinstance(value, str) else None


def plain_grey(image: np.ndarray) -> np.ndarray:
    """[H, W, 1] as [H, W]; colour as it is."""
    return image[:, :, 0] if image.shape[2] == 1 else image


def fit_landmarks(landmarks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Moves landmarks as `fit_image` moves the picture: cropped to its central square.

    Args:
        landmarks: float [68, 2], x y in 0..1 of the whole picture.
        height: Of the whole picture, in pixels.
        width: Of the whole picture, in pixels.

    Returns:
        float32 [68, 2] in units of the square; points in what was cropped away lie outside 0..1.
    """
    extent = np.array([width, height], np.float64)
    side = extent.min()
    return ((landmarks * extent - (extent - side) / 2) / side).astype(np.float32)


def fit_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """Crops a mask to its central square and scales it by nearest neighbour, uint8 [size, size]."""
    height, width = mask.shape
    side = min(height, width)
    centres = (np.arange(size) + 0.5) * side / size
    rows = np.floor((height - side) / 2 + centres).astype(int)
    columns = np.floor((width - side) / 2 + centres).astype(int)
    return np.ascontiguousarray(mask[rows][:, columns]).astype(np.uint8)
