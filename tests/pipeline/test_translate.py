from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from small_faces import write_picture

import augment.translators as registry
from augment.core.errors import InputError
from augment.faces.images import decode_image, encode_png, fit_image, png_text
from augment.faces.synthetic_mark import TRANSLATED_MARK
from augment.faces.tensors import FaceTensors, to_unit_range
from augment.rig import preset, render
from augment.translators import create_translator, load_translator, save_translator, translator_header
from augment.translators.base import CannotTranslateError, Requirement, Translator, TranslatorSettings
from augment.translators.warp import WarpTranslator
from pipeline.cli import main
from pipeline.photos.photographs import PhotographReader
from pipeline.photos.translate import TranslateSettings, translate_pictures

pytestmark = pytest.mark.slow

CLASSES = ("angry", "happy", "neutral")
SIZE = 32
TINY = {"width": 4, "downs": 2, "residual_blocks": 1}


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Three faces, uint8 [3, 64, 64, 3]."""
    return render(preset("rare", seed=0).specs[:3], size=64, channels=3, seed=0).images


@pytest.fixture
def photos(tmp_path: Path, drawn: np.ndarray) -> Path:
    """A folder with a colour JPEG that is not square, a grey PNG, a WebP in a folder below, and a text."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    wide = np.pad(drawn[0], ((0, 0), (8, 24), (0, 0)), mode="edge")
    Image.fromarray(wide).save(folder / "anna.jpg", quality=95)
    Image.fromarray(drawn[1]).convert("L").save(folder / "bert.png")
    Image.fromarray(drawn[2]).save(folder / "more" / "cleo.webp")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".DS_Store").write_bytes(b"\0")
    return folder


def make_weights(path: Path, name: str = "stargan", channels: int = 1, **settings: object) -> Path:
    translator = create_translator(
        name, num_classes=3, channels=channels, size=SIZE, settings={**TINY, **settings}, seed=1
    )
    with torch.no_grad():
        for parameter in translator.parameters():
            parameter.mul_(3)  # fresh weights hardly hear the class
    save_translator(translator, path, class_names=CLASSES)
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return make_weights(tmp_path / "weights.safetensors")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["translate", *map(str, arguments), "--device", "cpu"])


def said(result: Result) -> str:
    """What the command said, on one line however it was broken."""
    return " ".join(result.output.split())


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_picture_gets_its_translation_beside_it(photos: Path, weights: Path) -> None:
    result = run(photos / "anna.jpg", "--to", "happy", "--weights", weights)
    assert result.exit_code == 0, result.output
    output = photos / "anna.happy.png"
    assert f"{photos / 'anna.jpg'}: 96x64 colour -> central 64x64 -> 32x32 grey: anna.happy.png" in said(result)
    assert decode_image(output.read_bytes()).shape == (SIZE, SIZE)
    assert [name for name in names_in(photos) if ".happy" in name] == ["anna.happy.png"]


def test_the_output_is_what_the_translator_makes_of_the_fitted_picture(photos: Path, weights: Path) -> None:
    assert run(photos / "anna.jpg", "--to", "angry", "--weights", weights).exit_code == 0
    translator = load_translator(weights)
    pixels = fit_image(decode_image((photos / "anna.jpg").read_bytes()), SIZE, 1)
    images = to_unit_range(torch.from_numpy(pixels.copy())[None].permute(0, 3, 1, 2))
    made = translator.generator(images, torch.tensor([[1.0, 0.0, 0.0]]))  # type: ignore[operator]
    expected = ((made + 1) * 127.5).round().clamp(0, 255)[0, 0].detach().numpy()
    found = decode_image((photos / "anna.angry.png").read_bytes())
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found.astype(int) - pixels[:, :, 0]).max() > 1


def test_what_is_no_file_of_the_folder_is_named_and_not_opened(photos: Path, weights: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "elsewhere" / "eve.png", 5)
    (photos / "more").mkdir(exist_ok=True)
    os.mkfifo(photos / "more" / "pipe.png")
    (photos / "out.png").symlink_to(tmp_path / "elsewhere" / "eve.png")
    (photos / "outside").symlink_to(tmp_path / "elsewhere")
    result = run(photos, "--to", "all", "--weights", weights, "--recursive", "--out", tmp_path / "made")
    assert result.exit_code == 1 and not (tmp_path / "made").exists()
    for name, why in (("more/pipe.png", "is a named pipe"), ("out.png", "leads outside"), ("outside", "leads outside")):
        assert f"{photos / name}: is" in said(result) and why in said(result)


def test_folders_and_all_classes(photos: Path, weights: Path) -> None:
    result = run(photos, "--to", "all", "--weights", weights, "--out", photos.parent / "made")
    assert result.exit_code == 0, result.output
    assert names_in(photos.parent / "made") == [f"{stem}.{name}.png" for stem in ("anna", "bert") for name in CLASSES]
    assert f"skipped, not pictures by their names: {photos / 'notes.txt'}" in said(result)
    assert "DS_Store" not in result.output
    assert "64x64 grey -> 32x32 grey" in said(result)
    # Once more, with the folders below; what was made before is the same to the byte.
    before = {path.name: path.read_bytes() for path in (photos.parent / "made").iterdir()}
    again = run(
        photos, "--to", "all", "--weights", weights, "--out", photos.parent / "again", "--recursive", "--seed", 0
    )
    assert again.exit_code == 0, again.output
    made = names_in(photos.parent / "again")
    assert made == sorted([*before, *(f"more/cleo.{name}.png" for name in CLASSES)])
    for name, data in before.items():
        difference = decode_image(data).astype(int) - decode_image((photos.parent / "again" / name).read_bytes())
        assert np.abs(difference).max() <= 1, name  # a third face in the batch may turn a rounding


def test_the_same_seed_gives_the_same_bytes(photos: Path, weights: Path) -> None:
    for out in ("one", "two"):
        assert run(photos, "--to", "happy", "--weights", weights, "--out", photos.parent / out).exit_code == 0
    one, two = photos.parent / "one", photos.parent / "two"
    assert names_in(one) == names_in(two) == ["anna.happy.png", "bert.happy.png"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names_in(one))


def test_outputs_are_never_translated_again(photos: Path, weights: Path, tmp_path: Path) -> None:
    assert run(photos, "--to", "happy", "--weights", weights).exit_code == 0
    renamed = photos / "holiday.png"
    (photos / "anna.happy.png").rename(renamed)  # no name tells it, but the text in the file
    (photos / "bert.Neutral.png").write_bytes((photos / "bert.png").read_bytes())  # a name, and no text
    assert png_text(renamed.read_bytes(), TRANSLATED_MARK) is not None
    result = run(photos, "--to", "angry", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert {name for name in names_in(photos) if "angry" in name} == {"anna.angry.png", "bert.angry.png"}
    for name in ("bert.Neutral.png", "bert.happy.png", "holiday.png"):
        assert (
            f"{photos / name}"
            in said(result).split("outputs of an earlier translation by name or mark:")[1].split(" skipped")[0]
        )
    only = run(renamed, "--to", "angry", "--weights", weights)
    assert only.exit_code == 1 and "contains no picture to translate" in only.output


def test_a_photograph_lying_on_its_side_is_turned_up(tmp_path: Path, drawn: np.ndarray, weights: Path) -> None:
    picture = Image.fromarray(np.pad(drawn[0], ((0, 0), (8, 24), (0, 0)), mode="edge"))
    picture.save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.png", exif=exif)
    assert Image.open(tmp_path / "lying.png").size == (64, 96)
    result = run(tmp_path / "upright.png", tmp_path / "lying.png", "--to", "happy", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path / 'lying.png'}: 96x64 colour -> central 64x64" in said(result)
    upright, lying = (decode_image((tmp_path / f"{name}.happy.png").read_bytes()) for name in ("upright", "lying"))
    assert np.array_equal(upright, lying)


def test_grey_pictures_to_a_colour_translator_and_small_ones_enlarged(tmp_path: Path, drawn: np.ndarray) -> None:
    weights = make_weights(tmp_path / "w.safetensors", channels=3)
    Image.fromarray(drawn[0]).convert("L").resize((20, 20)).save(tmp_path / "small.bmp")
    result = run(tmp_path / "small.bmp", "--to", "happy", "--weights", weights)
    assert "20x20 grey -> 32x32 colour" in said(result)
    assert decode_image((tmp_path / "small.happy.png").read_bytes()).shape == (SIZE, SIZE, 3)


def test_every_bad_file_is_listed_and_nothing_is_written(photos: Path, weights: Path) -> None:
    (photos / "empty.png").write_bytes(b"")
    (photos / "half.jpg").write_bytes((photos / "anna.jpg").read_bytes()[:500])
    before = names_in(photos)
    arguments = (photos, photos / "nobody.png", photos / "notes.txt", "--to", "happy", "--weights", weights)
    result = run(*arguments)
    assert result.exit_code == 1
    assert "4 problems; nothing was written (fix them, or skip them with --keep-going):" in said(result)
    for line in ("nobody.png: does not exist", "empty.png: does not decode", "half.jpg: does not decode", "notes.txt"):
        assert line in said(result)
    assert names_in(photos) == before
    result = run(*arguments, "--keep-going")
    assert result.exit_code == 1
    assert "2 files written; 4 problems:" in said(result) and "half.jpg: does not decode" in said(result)
    assert set(names_in(photos)) - set(before) == {"anna.happy.png", "bert.happy.png"}


def test_a_folder_without_pictures(tmp_path: Path, photos: Path, weights: Path) -> None:
    folder = tmp_path / "none"
    (folder / "below").mkdir(parents=True)
    result = run(folder, "--to", "happy", "--weights", weights)
    assert result.exit_code == 1 and "--recursive includes its subfolders" in said(result)


def test_unknown_classes_name_the_known_ones(photos: Path, weights: Path) -> None:
    result = run(photos, "--to", "hapy", "--to", "bored", "--from", "neutrl", "--weights", weights)
    assert result.exit_code == 1
    known = "known classes: angry, happy, neutral"
    assert f"--to hapy: is not a class of these weights (did you mean happy? {known})" in said(result)
    assert f"--to bored: is not a class of these weights ({known})" in said(result)
    assert "--from neutrl: is not a class of these weights (did you mean neutral?" in said(result)
    result = run(photos, "--weights", weights)
    assert result.exit_code == 1 and "--to: is missing (one or more of angry, happy, neutral, or all)" in said(result)


def test_existing_outputs_are_listed_before_any_work(photos: Path, weights: Path) -> None:
    for stem in ("anna", "bert"):
        (photos / f"{stem}.happy.png").write_bytes(b"mine")
    result = run(photos, "--to", "happy", "--to", "angry", "--weights", weights)
    assert result.exit_code == 1
    for stem in ("anna", "bert"):
        assert f"{photos / f'{stem}.happy.png'}: exists already (--overwrite replaces it)" in said(result)
        assert (photos / f"{stem}.happy.png").read_bytes() == b"mine"
        assert not (photos / f"{stem}.angry.png").exists()
    result = run(photos, "--to", "happy", "--weights", weights, "--overwrite")
    assert result.exit_code == 0, result.output
    assert decode_image((photos / "anna.happy.png").read_bytes()).shape == (SIZE, SIZE)


def test_two_pictures_with_one_output_are_refused(photos: Path, weights: Path) -> None:
    (photos / "anna.bmp").write_bytes((photos / "bert.png").read_bytes())
    result = run(photos, "--to", "happy", "--weights", weights)
    assert result.exit_code == 1
    assert f"anna.bmp: would be written to {photos / 'anna.happy.png'}, and so would {photos / 'anna.jpg'}" in said(
        result
    )
    assert not (photos / "bert.happy.png").exists()
    # The same file named twice is one picture.
    assert run(photos / "bert.png", photos / "bert.png", "--to", "happy", "--weights", weights).exit_code == 0


def test_weights_that_are_none_or_name_no_classes(photos: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x80\x04nonsense")
    result = run(photos, "--to", "happy", "--weights", path)
    assert result.exit_code == 1 and "is no readable weights file" in result.output
    for other in (tmp_path / "absent", tmp_path):
        result = run(photos, "--to", "happy", "--weights", other)
        assert result.exit_code == 1, other
        assert ("is a folder, not a weights file" if other.is_dir() else "is not there") in said(result)
    save_translator(create_translator("stargan", num_classes=3, channels=1, size=SIZE, settings=TINY), path)
    result = run(photos, "--to", "happy", "--weights", path)
    assert result.exit_code == 1 and "names 0 of its 3 classes" in said(result)
    assert not list(photos.glob("*.happy.png"))


def test_a_device_that_is_none(photos: Path, weights: Path) -> None:
    result = CliRunner().invoke(
        main, ["translate", str(photos), "--to", "all", "--weights", str(weights), "--device", "tpu"]
    )
    assert result.exit_code == 1 and "use auto, cpu, cuda" in said(result)


def test_lssl_goes_without_landmarks_and_says_so(photos: Path, tmp_path: Path) -> None:
    with_side = make_weights(tmp_path / "side.safetensors", "lssl")
    result = run(photos, "--to", "happy", "--weights", with_side, "--landmarks", "none")
    assert result.exit_code == 0, result.output
    assert "warning: lssl was trained with landmarks, and those of photographs were not looked for" in said(result)
    without = make_weights(tmp_path / "plain.safetensors", "lssl", side_input=False)
    result = run(photos, "--to", "happy", "--weights", without, "--overwrite")
    assert result.exit_code == 0 and "warning" not in result.output


def test_warp_says_what_it_lacks(photos: Path, tmp_path: Path) -> None:
    faces = render(preset("rare", seed=0).specs[:24], size=SIZE, channels=1, seed=0)
    images = torch.from_numpy(faces.images).permute(0, 3, 1, 2).contiguous()
    translator = create_translator("warp", num_classes=3, channels=1, size=SIZE)
    assert isinstance(translator, WarpTranslator)
    training = FaceTensors(
        images=images,
        labels=torch.arange(24) % 3,
        landmarks=torch.from_numpy(faces.landmarks),
        masks=None,
        face_ids=tuple(map(str, range(24))),
        subjects=(None,) * 24,
        class_names=CLASSES,
    )
    translator.fit(training)
    save_translator(translator, tmp_path / "warp.safetensors", class_names=CLASSES)
    arguments = (photos, "--to", "happy", "--weights", tmp_path / "warp.safetensors", "--landmarks", "none")
    result = run(*arguments)
    assert result.exit_code == 1
    assert "--from: is missing: warp depends on the pictures' own class (one of angry, happy, neutral)" in said(result)
    result = run(*arguments, "--from", "neutral", "--keep-going")
    assert result.exit_code == 1 and "--from" not in said(result)
    assert "warp needs landmarks on every source; 2 have none" in said(result)
    assert f"Not translated: {photos / 'anna.jpg'}, {photos / 'bert.png'}" in said(result)
    assert not list(photos.glob("*.happy.png"))


class Noisy(Translator):
    """The picture at half its contrast, plus ten times its own class, the wanted one, and noise of 0..8."""

    name = "noisy"
    Settings = TranslatorSettings

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        return frozenset({"own_class"})

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        assert bool((faces.labels >= 0).all())
        noise = torch.randint(0, 9, faces.images.shape, generator=generator, dtype=torch.uint8)
        return (faces.images // 2 + 10 * faces.labels[:, None, None, None] + targets[:, None, None, None] + noise).to(
            torch.uint8
        )


class KeepsClass(Noisy):
    name = "frontal view"
    keeps_class = True  # type: ignore[assignment]

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        return frozenset()

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        return 255 - faces.images


class Refuses(Noisy):
    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        return frozenset()

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        raise CannotTranslateError("wants faces in profile.")


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Path]:
    kinds = {"noisy": Noisy, "frontal view": KeepsClass, "refuses": Refuses}
    monkeypatch.setattr(registry, "translator_class", lambda name: kinds[name])
    paths = {}
    for name, kind in kinds.items():
        monkeypatch.setattr(kind, "name", name)
        translator = kind(num_classes=3, channels=1, size=SIZE, settings=TranslatorSettings())
        paths[name] = tmp_path / f"{kind.__name__}.safetensors"
        save_translator(translator, paths[name], class_names=CLASSES)
    return paths


def test_a_missing_class_is_said_before_any_picture_is_read(
    photos: Path, plugged: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights alone tell it, and landmarks are looked for in every picture that is read."""
    monkeypatch.setattr(PhotographReader, "read", lambda *arguments, **options: pytest.fail("a picture was read"))
    result = run(photos, "--to", "merry", "--weights", plugged["noisy"])
    assert result.exit_code == 1, result.output
    assert "--from: is missing: noisy depends on the pictures' own class (one of angry" in said(result)
    assert "--to merry: is not a class of these weights" in said(result)


def test_own_class_and_several_outputs(photos: Path, plugged: dict[str, Path]) -> None:
    assert translator_header(plugged["noisy"])["name"] == "noisy"
    result = run(photos, "--to", "happy", "--weights", plugged["noisy"])
    assert result.exit_code == 1 and "noisy depends on the pictures' own class" in said(result)
    arguments = (photos, "--to", "happy", "--weights", plugged["noisy"], "--from", "neutral")
    result = run(*arguments, "--outputs", 2)
    assert result.exit_code == 0, result.output
    one, two = (decode_image((photos / f"anna.happy-{number}.png").read_bytes()).astype(int) for number in (1, 2))
    assert 0 < np.abs(one - two).max() < 9 and "is deterministic" not in result.output
    source = fit_image(decode_image((photos / "anna.jpg").read_bytes()), SIZE, 1)[:, :, 0].astype(int)
    assert (one - source // 2 - 10 * 2 - 1).min() >= 0 and (one - source // 2 - 10 * 2 - 1).max() <= 8
    # The first of two is the only one of one; another seed gives another.
    out = photos.parent / "out"
    assert run(*arguments, "--out", out).exit_code == 0
    assert np.array_equal(decode_image((out / "anna.happy.png").read_bytes()), one)
    assert run(*arguments, "--out", out, "--seed", 5, "--overwrite").exit_code == 0
    assert not np.array_equal(decode_image((out / "anna.happy.png").read_bytes()), one)
    # Those with a number are known for outputs too.
    assert "anna.happy-1.png" in said(run(*arguments, "--out", out, "--overwrite"))


def test_several_outputs_of_a_deterministic_translator(photos: Path, weights: Path) -> None:
    result = run(photos, "--to", "all", "--outputs", 2, "--weights", weights)
    assert result.exit_code == 0
    assert "note: stargan is deterministic: the 2 outputs of a class are all the same" in said(result)
    assert (photos / "anna.neutral-2.png").is_file()


def test_a_translator_that_keeps_the_class_takes_none(photos: Path, plugged: dict[str, Path]) -> None:
    result = run(photos / "bert.png", "--to", "happy", "--weights", plugged["frontal view"])
    assert result.exit_code == 1 and "--to: frontal view is not conditioned on a class" in said(result)
    result = run(photos / "bert.png", "--weights", plugged["frontal view"])
    assert result.exit_code == 0, result.output
    (output,) = photos.glob("bert.frontal_view_*.png")  # a word that every file system holds, with a hash
    source = fit_image(decode_image((photos / "bert.png").read_bytes()), SIZE, 1)[:, :, 0]
    assert np.array_equal(decode_image(output.read_bytes()), 255 - source)


def test_a_refusal_is_shown_with_the_other_problems(photos: Path, plugged: dict[str, Path]) -> None:
    (photos / "empty.png").write_bytes(b"")
    result = run(photos, "--to", "happy", "--weights", plugged["refuses"], "--keep-going")
    assert result.exit_code == 1
    assert "2 problems; nothing was written:" in said(result)
    assert "empty.png: does not decode" in said(result) and "Refuses.safetensors: wants faces in profile. Not" in said(
        result
    )


def test_a_folder_that_takes_no_file(photos: Path, weights: Path) -> None:
    (photos.parent / "made").write_text("a file where a folder is wanted")
    settings = TranslateSettings(to=("happy",), out=photos.parent / "made", device="cpu")
    with pytest.raises(InputError, match="can't be written"):
        translate_pictures([photos], weights, settings, say=lambda text: None)


def test_more_pictures_than_a_batch(tmp_path: Path, weights: Path) -> None:
    chance = np.random.default_rng(0)
    for number in range(35):
        (tmp_path / f"{number:02d}.png").write_bytes(encode_png(chance.integers(0, 256, (8, 8), np.uint8)))
    settings = TranslateSettings(to=("happy", "angry"), device="cpu")
    written = translate_pictures([tmp_path], weights, settings, say=lambda text: None)
    assert len(written) == len(set(written)) == 70 and all(path.is_file() for path in written)


def test_help_names_it_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom pipeline.cli import main\n"
        "try:\n    main(['translate', '--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'pydantic', 'PIL'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--weights" in done.stdout and "translate" in CliRunner().invoke(main, ["--help"]).output


def test_weights_that_are_not_there_name_those_that_are(
    photos: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lost = run(photos / "anna.jpg", "--to", "happy", "--weights", "weights.pt")
    assert lost.exit_code == 1
    assert "--weights weights.pt: is not there" in said(lost) and "`dvc repro` trains" in said(lost)
    assert "train it again" not in lost.output
    home = Path("artifacts/translators")
    for name in ("warp", "stargan"):
        (home / name / "fold-0").mkdir(parents=True)
        (home / name / "fold-0" / "weights.safetensors").write_bytes(weights.read_bytes())
    lost = run(photos / "anna.jpg", "--to", "happy", "--weights", home / "lssl" / "fold-0" / "weights.safetensors")
    assert f"there are {home}/stargan/fold-0/weights.safetensors, {home}/warp/fold-0/weights" in said(lost)
    folder = run(photos / "anna.jpg", "--to", "happy", "--weights", home / "warp")
    assert "is a folder, not a weights file" in said(folder) and "warp/fold-0/weights" in said(folder)
    assert "stargan" not in said(folder)
    # What is there and damaged is another matter.
    Path("damaged.safetensors").write_bytes(b"nothing")
    assert "is no readable weights file" in said(run(photos / "anna.jpg", "--weights", "damaged.safetensors"))


def test_a_reader_that_goes_away_after_a_line_stops_nothing(photos: Path, weights: Path, tmp_path: Path) -> None:
    """`s2l translate ... | head -1`: every picture is done, whole, and the exit says so."""
    for number in range(70):  # three batches, so that lines are written while work is left
        (photos / f"copy {number}.png").write_bytes((photos / "bert.png").read_bytes())
    arguments = [str(photos), "--to", "all", "--weights", str(weights), "--device", "cpu", "--out", str(tmp_path / "o")]
    command = '"$0" -m pipeline.cli translate "$@" | head -1; echo "exit ${PIPESTATUS[0]}"'
    for silent in (command, command.replace("|", "2>&1 |", 1)):
        done = subprocess.run(
            ["bash", "-c", silent, sys.executable, *arguments, "--overwrite"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
        assert done.stdout.splitlines()[-1] == "exit 0", done.stderr
        assert "rror" not in done.stderr
        made = names_in(tmp_path / "o")
        assert len(made) == 72 * 3 and all(name.endswith(".png") for name in made)
        for name in made:
            assert decode_image((tmp_path / "o" / name).read_bytes()).shape == (SIZE, SIZE)
            (tmp_path / "o" / name).unlink()


def test_quiet_says_how_many_files_there_are_and_warnings(photos: Path, weights: Path) -> None:
    result = run(photos / "anna.jpg", "--to", "happy", "--weights", weights, "--quiet")
    assert result.output == "translate: 1 file written\n"
