"""Any picture becomes 8-bit grey or RGB of one size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from small_faces import file_bytes, noise

from augment.faces.images import UndecodableImageError, decode_image, encode_png, fit_image, png_text


@settings(max_examples=30)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]), st.integers(0, 2**32 - 1))
def test_png_gives_the_same_pixels_back(height: int, width: int, channels: int, seed: int) -> None:
    shape = (height, width) if channels == 1 else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    assert np.array_equal(decode_image(encode_png(pixels)), pixels)


def test_sixteen_bit_pictures_are_scaled_by_their_full_range_even_when_dark() -> None:
    deep = np.array([[0, 257 * 100], [65535, 200]], np.uint16)
    assert decode_image(file_bytes(deep)).tolist() == [[0, 100], [255, 1]]
    dark = np.array([[0, 200]], np.uint16)  # 200 of 65535 is black, not 200 of 255
    assert decode_image(file_bytes(dark)).tolist() == [[0, 1]]


def test_the_page_brings_ten_bits_that_would_be_nearly_black_to_eight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "own-faces.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    ten_bits = np.array([[0, 4 * 100, 1023]], np.uint16)
    (tmp_path / "raw" / "happy").mkdir(parents=True)
    (tmp_path / "raw" / "happy" / "1.tif").write_bytes(file_bytes(ten_bits, "TIFF"))
    monkeypatch.chdir(tmp_path)
    exec(block, {})
    assert decode_image((tmp_path / "raw" / "happy" / "1.tif").read_bytes()).max() == 4
    assert decode_image((tmp_path / "my-faces" / "happy" / "1.png").read_bytes()).tolist() == [[0, 100, 255]]


def test_float_pictures_of_unit_range() -> None:
    assert decode_image(file_bytes(np.array([[0.0, 0.5, 1.0]], np.float32), "TIFF")).tolist() == [[0, 128, 255]]


def test_palette_becomes_its_colours() -> None:
    colours = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    palette = Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert decode_image(file_bytes(palette)).tolist() == colours.tolist()


def test_alpha_is_composed_over_mid_grey() -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert decode_image(file_bytes(pixels)).tolist() == [[[10, 20, 30], [128, 128, 128]]]
    grey_alpha = Image.fromarray(np.array([[200, 200]], np.uint8)).convert("LA")
    assert decode_image(file_bytes(grey_alpha)).tolist() == [[[200] * 3, [200] * 3]]


def test_exif_orientation_is_applied() -> None:
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :16] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise: the left half comes to the top
    turned = decode_image(file_bytes(pixels, "JPEG", quality=95, exif=exif))
    assert turned.shape == (32, 16)
    assert turned[:14].min() > 200
    assert turned[18:].max() < 55


def test_one_bit_and_cmyk_pictures() -> None:
    assert decode_image(file_bytes(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1"))).tolist() == [[0, 255]]
    assert decode_image(file_bytes(Image.new("CMYK", (4, 3)), "JPEG")).shape == (3, 4, 3)


@pytest.mark.parametrize("data", [b"", b"hello", file_bytes(noise(1), "JPEG")[:-40], file_bytes(noise(1))[:60]])
def test_undecodable_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(UndecodableImageError):
        decode_image(data)


def test_fit_crops_the_centre_and_keeps_pixels_of_the_right_size() -> None:
    wide = np.zeros((10, 30), np.uint8)
    wide[:, 10:20] = 200
    assert (fit_image(wide, 10, 1) == 200).all()
    square = noise(3)
    assert np.array_equal(fit_image(square, 16, 1)[:, :, 0], square)


def test_fit_changes_channels_by_luma() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 0] = 255
    assert (fit_image(red, 4, 1) == 76).all()  # 0.299 * 255
    assert fit_image(noise(1, 4), 4, 3).shape == (4, 4, 3)


def test_down_scaling_does_not_alias() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    assert np.ptp(fit_image(stripes, 8, 1).astype(int)) < 40
    assert np.ptp(stripes[::8, ::8].astype(int)) == 0 and stripes[0, 0] == 0  # nearest neighbour would show black


def test_text_in_a_png_is_read_back_and_changes_no_pixel() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    data = encode_png(pixels, {"made by": "größer, 表情"})
    assert png_text(data, "made by") == "größer, 表情" and png_text(data, "other") is None
    assert np.array_equal(decode_image(data), pixels)
    assert png_text(encode_png(pixels), "made by") is None
    for other in (b"", b"no picture", data[:20]):
        assert png_text(other, "made by") is None
