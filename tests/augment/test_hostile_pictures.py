"""Picture files that somebody wrote to do harm, or that were damaged: one named error, no program, little memory."""

from __future__ import annotations

import io
import os
import random
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from small_faces import file_bytes, noise

from augment.core.errors import InputError
from augment.faces.images import FORMATS, MOST_PIXELS, UndecodableImageError, decode_image, encode_png, png_text
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source

pytestmark = pytest.mark.slow

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\nshowpage\n%%EOF\n"


def exif(orientation: int = 6) -> Image.Exif:
    """As a camera writes it: an orientation, texts, fractions, and a folder of more of them."""
    data = Image.Exif()
    data[0x0112], data[0x010E], data[0x011A] = orientation, "a face", 72.0
    data.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    return data


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, colour: int = 0, depth: int = 8) -> bytes:
    """A PNG that claims a size, with these chunks after its header."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")


def png_of_one_value(edge: int, colour: int, bytes_a_pixel: int) -> bytes:
    """A PNG of edge x edge equal pixels, which a few hundred kilobytes hold."""
    pack = zlib.compressobj(9)
    row = b"\0" + b"\x55" * (edge * bytes_a_pixel)
    data = b"".join(pack.compress(row) for _ in range(edge)) + pack.flush()
    palette = (chunk(b"PLTE", bytes(range(256)) * 3), chunk(b"tRNS", bytes(256))) if colour == 3 else ()
    return png(edge, edge, *palette, chunk(b"IDAT", data), colour=colour)


# EPS and other formats of no face.


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` first on the PATH that leaves a file behind where it is started."""
    trace = tmp_path / "started"
    for name in ("gs", "gswin64c", "gswin32c", "gswin32"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch {trace}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return trace


def test_an_eps_named_png_starts_no_ghostscript(tmp_path: Path, ghostscript: Path) -> None:
    folder = tmp_path / "in" / "happy"
    folder.mkdir(parents=True)
    (folder / "e.png").write_bytes(EPS)
    with pytest.raises(
        InputError, match=r"happy/e.png: does not decode: it is an EPS or PostScript program; read are PNG"
    ):
        prepare_faces(open_source("folder", folder.parent), tmp_path / "out", image_size=16, channels=1, licence="mit")
    assert not ghostscript.exists()


def test_the_planted_ghostscript_would_have_been_started(ghostscript: Path) -> None:
    """The control: in any format, Pillow starts it."""
    with pytest.raises(OSError), Image.open(io.BytesIO(EPS)) as picture:
        picture.load()
    assert ghostscript.exists()


def test_the_formats_are_a_fixed_list_that_starts_no_program() -> None:
    assert set(FORMATS) == {"PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP", "AVIF"}
    picture = Image.fromarray(noise(1, channels=3))
    for kind in FORMATS:
        assert decode_image(file_bytes(picture, kind)).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (EPS, "an EPS or PostScript program"),
        (b"\xc5\xd0\xd3\xc6" + bytes(30) + EPS, "an EPS or PostScript program"),
        (file_bytes(noise(1, channels=3), "DDS"), "a DDS texture"),
        (file_bytes(noise(1), "PDF"), "a PDF document"),
        (file_bytes(noise(1), "JPEG2000"), "a JPEG 2000 picture"),
        (b"<?xml version='1.0'?><svg></svg>", "an SVG drawing"),
        (b"<!DOCTYPE html><title>404</title>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(30), "a ZIP archive"),
        (b"\0\0\0\x18ftypheic" + bytes(30), "a HEIC picture"),
        (file_bytes(noise(1), "TGA"), "not a picture that is read"),
    ],
)
def test_what_is_no_picture_of_the_list_is_refused_by_its_name(data: bytes, said: str) -> None:
    with pytest.raises(UndecodableImageError, match=f"{said}.*read are PNG, JPEG, BMP"):
        decode_image(data)


# Damage.

SMALL = Image.fromarray(noise(3, 24, channels=3))
SEEDS: dict[str, bytes] = {
    "PNG": file_bytes(SMALL, "PNG", exif=exif()),
    "PNG with a palette": file_bytes(SMALL.convert("P")),
    "JPEG with EXIF": file_bytes(SMALL, "JPEG", exif=exif()),
    "TIFF": file_bytes(SMALL, "TIFF"),
    "TIFF, packed": file_bytes(SMALL, "TIFF", compression="tiff_adobe_deflate"),
    "float TIFF": file_bytes(noise(3, 24).astype(np.float32), "TIFF"),
    "WebP with EXIF": file_bytes(SMALL, "WEBP", exif=exif()),
    "GIF": file_bytes(SMALL.convert("P"), "GIF"),
    "BMP": file_bytes(SMALL, "BMP"),
    "PPM": file_bytes(SMALL, "PPM"),
    "AVIF with EXIF": file_bytes(SMALL, "AVIF", exif=exif()),
}


@pytest.mark.parametrize("name", SEEDS)
def test_flipped_bits_and_cut_ends_lead_to_one_error(name: str) -> None:
    """Only `UndecodableImageError` may come out; half of the flips fall into headers, where decoders trip."""
    data, chance = SEEDS[name], random.Random(name)
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(400):
        spoilt = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            place = chance.randrange(chance.choice((min(len(spoilt), 300), len(spoilt))))
            spoilt[place] ^= 1 << chance.randrange(8)
        if chance.random() < 0.1:
            del spoilt[chance.randrange(len(spoilt)) :]
        try:
            pixels = decode_image(bytes(spoilt))
        except UndecodableImageError as error:
            assert str(error) and "BytesIO" not in str(error)
            outcomes["refused"] += 1
        else:
            assert pixels.dtype == np.uint8 and pixels.ndim in (2, 3)
            outcomes["decoded"] += 1
        png_text(bytes(spoilt), "any")
    assert outcomes["refused"]  # a loop that spoils nothing would prove nothing


def test_damage_in_exif_entries_that_no_pixel_needs_leaves_the_picture_and_its_turn() -> None:
    """One flipped bit in the resolution's type raised TypeError; which side is up is known all the same."""
    data = file_bytes(SMALL, "JPEG", exif=exif(), quality=95)
    upright = decode_image(data)
    place = data.index(b"\x01\x1a\x00\x05", data.index(b"Exif")) + 3  # big-endian: tag 282, type 5 (fraction)
    spoilt = data[:place] + b"\x02" + data[place + 1 :]  # now a text
    with pytest.raises(TypeError), Image.open(io.BytesIO(spoilt)) as opened:
        ImageOps.exif_transpose(opened)  # the control: the way that was gone before
    assert np.array_equal(decode_image(spoilt), upright)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied_as_pillow_does(orientation: int) -> None:
    for kind in ("PNG", "TIFF"):
        data = file_bytes(Image.fromarray(noise(1, 16, channels=3)).crop((0, 0, 16, 9)), kind, exif=exif(orientation))
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            expected = np.asarray(ImageOps.exif_transpose(opened))
        assert np.array_equal(decode_image(data), expected)


def test_pictures_of_many_strips_are_converted_as_small_ones() -> None:
    """Converted a strip at a time, a picture must not show where strips meet, nor be scaled by one of them."""
    chance = np.random.default_rng(0)
    deep = chance.integers(0, 65536, (1200, 1000), np.uint16)
    assert np.array_equal(decode_image(file_bytes(deep)), np.rint(deep / 257).astype(np.uint8))
    bright_at_the_end = np.zeros((1200, 1000), np.float32)
    bright_at_the_end[-1] = 200.0
    assert decode_image(file_bytes(bright_at_the_end, "TIFF"))[-1].tolist() == [200] * 1000
    alpha = chance.integers(0, 256, (1200, 1000, 4), np.uint8)
    backdrop = Image.new("RGBA", (1000, 1200), (128, 128, 128, 255))
    expected = np.asarray(Image.alpha_composite(backdrop, Image.fromarray(alpha)).convert("RGB"))
    assert np.array_equal(decode_image(encode_png(alpha)), expected)
    for pixels in (alpha[:, :, :3], alpha[:, :, 0]):
        assert np.array_equal(decode_image(encode_png(pixels)), pixels)


# Size.

in_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process's memory can't be limited")


def within_memory(megabytes: int, seconds: int, code: str, *arguments: str) -> str:
    """Runs a script in a process that may take so much more memory than its imports, and so long."""
    script = (
        "import resource, sys\nfrom augment.faces.images import UndecodableImageError, decode_image, png_text\n"
        "import numpy as np\ndecode_image(open(sys.argv[1], 'rb').read())\n"  # what decoders load, they load before
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {megabytes} * 2**20,) * 2)\n" + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BOMBS: dict[str, Callable[[], bytes]] = {
    "13,300 x 13,300 PNG": lambda: png(13_300, 13_300, chunk(b"IDAT", zlib.compress(bytes(10**6))), colour=6),
    "two thousand million pixels": lambda: png(2**31 - 1, 2**31 - 1),
    "GIF of 65,535 x 65,535": lambda: b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02\x44\x01\0;",
    "WebP of 16,383 x 16,383": lambda: (
        b"RIFF\x20\0\0\0WEBPVP8L\x14\0\0\0\x2f" + struct.pack("<I", 16_382 | 16_382 << 14) + bytes(16)
    ),
    "PPM of 20,000 x 20,000": lambda: b"P6 20000 20000 255\n" + bytes(100),
    "float TIFF of 9,000 x 9,000": lambda: tiff(9_000, 9_000),
    "TIFF of small pictures in huge tiles": lambda: tiff(8, 8, tile=(13_000, 13_000)),
    "BMP of 30,000 x 30,000": lambda: (
        b"BM" + struct.pack("<IHHIIiiHHIIiiII", 154, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(100)
    ),
}


def tiff(width: int, height: int, tile: tuple[int, int] | None = None) -> bytes:
    """A TIFF of 32-bit floats that claims a size, and holds next to nothing."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, 32), (259, 3, 8), (262, 3, 1), (277, 3, 1), (339, 3, 3)]
    if tile:
        entries += [(322, 4, tile[0]), (323, 4, tile[1]), (324, 4, 8), (325, 4, 20)]
    else:
        entries += [(273, 4, 8), (278, 4, height), (279, 4, 20)]
    folder = struct.pack("<H", len(entries))
    folder += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in sorted(entries))
    return b"II*\0" + struct.pack("<I", 28) + zlib.compress(bytes(4000))[:20].ljust(20, b"\0") + folder + bytes(4)


@in_linux
@pytest.mark.parametrize("name", BOMBS)
def test_size_bombs_are_refused_by_their_header(tmp_path: Path, name: str) -> None:
    (tmp_path / "bomb").write_bytes(BOMBS[name]())
    (tmp_path / "small").write_bytes(encode_png(noise(1)))
    code = (
        "try:\n    decode_image(open(sys.argv[2], 'rb').read())\n"
        "except UndecodableImageError as error:\n    print('refused:', error)\n"
    )
    said = within_memory(64, 10, code, str(tmp_path / "small"), str(tmp_path / "bomb"))
    assert said.startswith("refused: ") and ("pixels" in said or "too large" in said), said


@in_linux
@pytest.mark.parametrize(("what", "colour", "bytes_a_pixel"), [("RGBA", 6, 4), ("palette", 3, 1), ("RGB", 2, 3)])
def test_the_largest_pictures_take_half_a_gigabyte(tmp_path: Path, what: str, colour: int, bytes_a_pixel: int) -> None:
    edge = int(MOST_PIXELS**0.5)
    (tmp_path / "large").write_bytes(png_of_one_value(edge, colour, bytes_a_pixel))
    (tmp_path / "small").write_bytes(encode_png(noise(1)))
    code = "print(decode_image(open(sys.argv[2], 'rb').read()).shape)\n"
    assert within_memory(640, 60, code, str(tmp_path / "small"), str(tmp_path / "large")).strip() == str(
        (edge, edge, 3)
    )


@in_linux
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_bombs_in_the_texts_of_a_png_are_refused(tmp_path: Path, kind: bytes) -> None:
    pack = zlib.compressobj(1)
    packed = b"".join(pack.compress(bytes(2**20)) for _ in range(256)) + pack.flush()  # 256 MB in one
    inside = {b"zTXt": b"s2l translate\0\0", b"iTXt": b"s2l translate\0\x01\0\0\0", b"iCCP": b"profile\0\0"}[kind]
    pixels = chunk(b"IDAT", zlib.compress(b"\0\0"))
    (tmp_path / "bomb").write_bytes(png(1, 1, chunk(kind, inside + packed), pixels))
    (tmp_path / "small").write_bytes(encode_png(noise(1)))
    code = (
        "data = open(sys.argv[2], 'rb').read()\nassert png_text(data, 's2l translate') in (None, '')\n"
        "try:\n    print('decoded', decode_image(data).shape)\n"
        "except UndecodableImageError as error:\n    print(error)\n"
    )
    said = within_memory(128, 10, code, str(tmp_path / "small"), str(tmp_path / "bomb"))
    assert "too large" in said or said.startswith("decoded (1, 1)"), said


@in_linux
def test_the_memory_limit_of_these_tests_bites(tmp_path: Path) -> None:
    """The control: without the check of the size, such a picture would not fit."""
    (tmp_path / "small").write_bytes(encode_png(noise(1)))
    code = "try:\n    np.ones(2**27, np.uint8)\nexcept MemoryError:\n    print('refused')\n"
    assert within_memory(64, 10, code, str(tmp_path / "small")).strip() == "refused"
