"""Photographs whose landmarks are looked for: translators that want them get them, and it is said what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from embedded import embedded_face
from PIL import Image

from augment.faces.crops import crop_image, crop_landmarks, face_square
from augment.faces.images import decode_image, fit_image, fit_landmarks
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.networks.heatmap import landmark_heatmap
from augment.prepare.landmarks import LandmarkDetector, LandmarkSettings, landmarks_installed
from augment.translators import create_translator, load_translator, save_translator
from augment.translators.warp import WarpTranslator
from pipeline.cli import main
from pipeline.photos import translate

pytestmark = pytest.mark.skipif(not landmarks_installed(), reason="the extra `landmarks` is not installed")

CLASSES = ("angry", "happy", "neutral")
SIZE = 32
TINY = {"width": 4, "downs": 2, "residual_blocks": 1}


def make_weights(path: Path, name: str, **settings: object) -> Path:
    translator = create_translator(name, num_classes=3, channels=1, size=SIZE, settings={**TINY, **settings}, seed=1)
    with torch.no_grad():
        for parameter in translator.parameters():
            parameter.mul_(3)  # fresh weights hardly hear the class, or the side input
    save_translator(translator, path, class_names=CLASSES)
    return path


@pytest.fixture(scope="module")
def warp_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shown = [embedded_face(CLASSES[number % 3], number // 3, size=SIZE, channels=1) for number in range(18)]
    translator = create_translator("warp", num_classes=3, channels=1, size=SIZE)
    assert isinstance(translator, WarpTranslator)
    translator.fit(
        FaceTensors(
            images=torch.from_numpy(np.stack([image for image, _, _ in shown]))[:, None],
            labels=torch.arange(18) % 3,
            landmarks=torch.from_numpy(np.stack([landmarks for _, landmarks, _ in shown])),
            masks=None,
            face_ids=tuple(map(str, range(18))),
            subjects=(None,) * 18,
            class_names=CLASSES,
        )
    )
    path = tmp_path_factory.mktemp("warp") / "warp.safetensors"
    save_translator(translator, path, class_names=CLASSES)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A wide photograph of a tilted face, one of a face from the front, and a landscape of grey noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    face = np.pad(embedded_face("neutral", 2, size=96)[0], ((20, 20), (30, 90), (0, 0)), mode="edge")
    Image.fromarray(face).rotate(12, Image.Resampling.BICUBIC, center=(78, 68)).save(folder / "anna.png")
    Image.fromarray(embedded_face("neutral", 5, size=80)[0]).save(folder / "bert.png")
    noise = np.random.default_rng(0).integers(100, 140, (40, 40), np.uint8)
    Image.fromarray(noise).save(folder / "coast.png")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["translate", *map(str, arguments), "--device", "cpu"])


def said(result: Result) -> str:
    return " ".join(result.output.split())


def found_in(path: Path) -> np.ndarray:
    detection = LandmarkDetector(LandmarkSettings(detector="dlib")).detect(decode_image(path.read_bytes()))
    assert detection is not None
    return detection.landmarks


def lssl_output(weights: Path, pixels: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """What LSSL's generator makes of a picture and its heatmap, towards happy."""
    translator = load_translator(weights)
    images = to_unit_range(torch.from_numpy(pixels.reshape(1, 1, SIZE, SIZE).copy()))
    heat = landmark_heatmap(torch.from_numpy(landmarks)[None], SIZE)
    with torch.no_grad():
        made = translator.generator(torch.cat([images, heat], 1), torch.tensor([[0.0, 1.0, 0.0]]))  # type: ignore[operator]
    return ((made + 1) * 127.5).round().clamp(0, 255)[0, 0].numpy()


def test_lssl_gets_the_landmarks_that_are_found(photos: Path, tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "side.safetensors", "lssl")
    result = run(photos, "--to", "happy", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert f"{photos / 'anna.png'}: 216x136 colour -> face found by HOG -> central 136x136" in said(result)
    assert f"{photos / 'coast.png'}: 40x40 grey -> no face found -> 32x32 grey" in said(result)
    assert f"warning: no reliable landmarks in {photos / 'coast.png'}: lssl was trained with landmarks" in said(result)
    image = decode_image((photos / "anna.png").read_bytes())
    landmarks = fit_landmarks(found_in(photos / "anna.png"), *image.shape[:2])
    expected = lssl_output(weights, fit_image(image, SIZE, 1), landmarks)
    made = decode_image((photos / "anna.happy.png").read_bytes())
    assert np.abs(made - expected).max() <= 1
    blind = lssl_output(weights, fit_image(image, SIZE, 1), np.full((68, 2), np.nan, np.float32))
    assert np.abs(made - blind).max() > 5
    # A face that is not found has the heatmap of unknown landmarks.
    coast = fit_image(decode_image((photos / "coast.png").read_bytes()), SIZE, 1)
    expected = lssl_output(weights, coast, np.full((68, 2), np.nan, np.float32))
    assert np.abs(decode_image((photos / "coast.happy.png").read_bytes()) - expected).max() <= 1


def test_translators_that_want_no_landmarks_are_not_slowed_by_them(photos: Path, tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "stargan.safetensors", "stargan")
    result = run(photos, "--to", "happy", "--weights", weights)
    assert result.exit_code == 0 and "face found" not in result.output and "no face" not in result.output
    result = run(photos, "--to", "happy", "--weights", weights, "--landmarks", "dlib", "--overwrite")
    assert result.exit_code == 0 and "face found by HOG" in result.output and "warning" not in result.output


def test_warp_works_on_photographs_of_a_known_class(photos: Path, warp_weights: Path) -> None:
    arguments = (photos, "--to", "happy", "--from", "neutral", "--weights", warp_weights)
    result = run(*arguments)
    assert result.exit_code == 1 and not list(photos.glob("*.happy.png"))
    assert (
        f"1 problem; nothing was written (fix them, or skip them with --keep-going): {photos / 'coast.png'}: "
        "no face with reliable landmarks was found in it, and warp requires landmarks"
    ) in said(result)
    result = run(*arguments, "--keep-going")
    assert result.exit_code == 1 and "2 files written; 1 problem:" in said(result)
    assert sorted(path.name for path in photos.glob("*.happy.png")) == ["anna.happy.png", "bert.happy.png"]
    bert = decode_image((photos / "bert.happy.png").read_bytes()).astype(float)
    source = fit_image(decode_image((photos / "bert.png").read_bytes()), SIZE, 1)[:, :, 0]
    assert np.abs(bert - source).mean() > 1
    # Without its class none goes, which is said before any picture is read; without a face in any the reason is said.
    result = run(*arguments[:3], "--weights", warp_weights, "--overwrite")
    assert result.exit_code == 1 and "--from: is missing" in said(result) and "coast.png" not in said(result)
    result = run(photos / "coast.png", *arguments[1:])
    assert result.exit_code == 1 and "no face was found in any of these pictures" in said(result)


def test_a_crop_is_turned_by_the_eyes_and_says_so(photos: Path, tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "side.safetensors", "lssl")
    result = run(photos, "--to", "happy", "--weights", weights, "--crop")
    assert result.exit_code == 0, result.output
    image = decode_image((photos / "anna.png").read_bytes())
    landmarks = found_in(photos / "anna.png")
    square = face_square(landmarks, *image.shape[:2])
    assert square is not None and 8 < -np.degrees(square.angle) < 16
    words = f"216x136 colour -> face found by HOG -> its {square.edge:.0f}x{square.edge:.0f} turned by "
    assert words + f"{-np.degrees(square.angle):.0f}° -> 32x32 grey: anna.happy.png" in said(result)
    assert "coast.png: 40x40 grey -> no face found -> 32x32 grey" in said(result)  # left whole
    pixels = fit_image(crop_image(image, square, SIZE), SIZE, 1)
    expected = lssl_output(weights, pixels, crop_landmarks(landmarks, square))
    assert np.abs(decode_image((photos / "anna.happy.png").read_bytes()) - expected).max() <= 1
    result = run(photos, "--to", "happy", "--weights", weights, "--crop", "--landmarks", "none")
    assert result.exit_code == 1 and "--crop: detects the face" in said(result)


def test_simulated_faces_are_fitted_for_translators_that_start_from_them(photos: Path, tmp_path: Path) -> None:
    weights = make_weights(tmp_path / "pose.safetensors", "lssl_pose")
    result = run(photos, "--to", "happy", "--weights", weights, "--keep-going")
    assert result.exit_code == 1 and "2 files written; 1 problem:" in said(result), result.output
    assert "coast.png: no face with reliable landmarks was found in it, and lssl_pose requires landmarks" in said(
        result
    )
    made = [decode_image((photos / f"{stem}.happy.png").read_bytes()) for stem in ("anna", "bert")]
    assert made[0].shape == (SIZE, SIZE) and not np.array_equal(*made)


def test_without_the_extra_it_goes_on_as_before_and_says_what_would_help(
    photos: Path, tmp_path: Path, warp_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(translate, "landmarks_installed", lambda: False)
    weights = make_weights(tmp_path / "side.safetensors", "lssl")
    result = run(photos, "--to", "happy", "--weights", weights)
    assert result.exit_code == 0
    assert "can't be detected here (uv sync --extra landmarks)" in said(result)
    result = run(photos, "--to", "happy", "--from", "neutral", "--weights", warp_weights, "--overwrite")
    assert result.exit_code == 1 and "installs the landmark detector" in said(result)
