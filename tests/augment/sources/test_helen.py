"""Helen, read from a small copy: embedded faces, their masks taken apart into eleven part labels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from embedded import embedded_face
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_faces import file_bytes, noise
from spoiling import Case, assert_refused

from augment.core.errors import Problem
from augment.faces.images import decode_image
from augment.faces.table import MASK_CLASSES, read_faces
from augment.prepare.prepare import prepare_faces
from augment.sources import open_source
from augment.sources.base import RawFace
from augment.sources.helen import LISTS, PARTS, read_points

WIDTH, HEIGHT = 80, 64  # photographs are no squares
FACES = {
    "exemplars.txt": ("100032540_1", "100040721_1", "100466187_1", "10405146_1"),
    "tuning.txt": ("107581643_1", "11635428_1"),
    "testing.txt": ("13602254_1", "296814969_3"),
}
SKIN, LIPS, EYES = (MASK_CLASSES.index(name) for name in ("skin", "lips", "eyes"))


def parts_of(mask: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Eleven probability maps [11, H, W] uint8 of an embedded face: what is skin is parted by the landmarks."""
    rows, columns = np.mgrid[: mask.shape[0], : mask.shape[1]] + 0.5
    points = landmarks * mask.shape[::-1]
    middle = points[27:36, 0].mean()
    brows = rows < points[36:48, 1].mean() - 0.05 * mask.shape[0]
    lips, eyes, skin = mask == LIPS, mask == EYES, mask == SKIN
    mouth = skin & (np.abs(rows - points[60:68, 1].mean()) < 2) & (np.abs(columns - points[48:68, 0].mean()) < 5)
    nose = skin & (np.abs(columns - middle) < 5) & ~brows & (rows < points[33, 1] + 1)
    upper = rows < points[60:68, 1].mean()
    left = columns < middle
    brow = skin & brows & (rows > points[17:27, 1].min() - 1) & (np.abs(columns - middle) > 4)
    hair = (mask == 0) & (rows < points[19, 1]) & (np.abs(columns - middle) < 0.3 * mask.shape[0])
    parts = [
        (mask == 0) & ~hair, skin & ~nose & ~brow & ~mouth, brow & left, brow & ~left, eyes & left, eyes & ~left,
        nose, lips & upper, mouth, lips & ~upper, hair,
    ]  # fmt: skip
    maps = np.stack(parts).astype(np.uint8) * 255
    assert (maps.sum(axis=0, dtype=int) == 255).all()
    return maps


def photograph(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture [64, 80, 3] with the face right of the middle, its landmarks in pixels and its mask."""
    image, landmarks, mask = embedded_face("happy" if number % 2 else "neutral", number, size=HEIGHT)
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    whole = np.zeros((HEIGHT, WIDTH), np.uint8)
    pixels[:, WIDTH - HEIGHT :], whole[:, WIDTH - HEIGHT :] = image, mask
    return pixels, landmarks * HEIGHT + (WIDTH - HEIGHT, 0), whole


def points_text(points: np.ndarray) -> str:
    """A .pts file; its first pixel's middle is (1, 1), ours (0.5, 0.5)."""
    lines = "\n".join(f"{x:.3f} {y:.3f}" for x, y in points + 0.5)
    return f"version: 1\nn_points:  {len(points)}\n{{\n{lines}\n}}\n"


def small_copy(root: Path, *, points: bool = True) -> Path:
    """Eight faces in the exact layout, in the folder that the archive unpacks into."""
    base = root / "SmithCVPR2013_dataset_resized"
    (base / "images").mkdir(parents=True)
    number = 0
    for list_name, faces in FACES.items():
        (base / list_name).write_text("".join(f"{row} , {face}\n" for row, face in enumerate(faces, start=1)))
        for face in faces:
            image, landmarks, mask = photograph(number)
            (base / "images" / f"{face}.jpg").write_bytes(file_bytes(image, "JPEG", quality=95))
            if points and number % 2:
                (base / "images" / f"{face}.pts").write_text(points_text(landmarks))
            (base / "labels" / face).mkdir(parents=True)
            for part, label in enumerate(parts_of(mask, landmarks / (WIDTH, HEIGHT))):
                (base / "labels" / face / f"{face}_lbl{part:02d}.png").write_bytes(file_bytes(label))
            number += 1
    (base / "README.txt").write_text("Part labels.")
    return root


BASE = "SmithCVPR2013_dataset_resized"
FIRST, SECOND = FACES["exemplars.txt"][:2]
LABEL = f"labels/{FIRST}/{FIRST}_lbl07.png"


def changed(change: Callable[[Path], Any]) -> Callable[[Path], Path]:
    """A small copy, changed; `change` gets the folder that holds `images`."""

    def build(root: Path) -> Path:
        change(small_copy(root) / BASE)
        return root

    return build


def rename(old: str, new: str) -> Callable[[Path], Path]:
    return changed(lambda base: (base / old).rename(base / new))


def write(name: str, data: bytes) -> Callable[[Path], Path]:
    return changed(lambda base: (base / name).write_bytes(data))


def delete(*names: str) -> Callable[[Path], Path]:
    return changed(lambda base: [(base / name).unlink() for name in names])


def cut(name: str, share: float) -> Callable[[Path], Path]:
    def change(base: Path) -> None:
        data = (base / name).read_bytes()
        (base / name).write_bytes(data[: int(len(data) * share)])

    return changed(change)


def nothing(root: Path) -> Path:
    return root


def two_copies(root: Path) -> Path:
    small_copy(root)
    (root / BASE).rename(root / "one")
    return small_copy(root)


def archive_only(root: Path) -> Path:
    (root / f"{BASE}.zip").write_bytes(b"PK")
    return root


def without_labels(base: Path) -> None:
    for path in sorted((base / "labels" / FIRST).iterdir()):
        path.unlink()
    (base / "labels" / FIRST).rmdir()


def several_at_once(base: Path) -> None:
    without_labels(base)
    (base / "images" / f"{SECOND}.jpg").unlink()
    (base / "testing.txt").unlink()
    (base / "labels" / FACES["tuning.txt"][0] / f"{FACES['tuning.txt'][0]}_lbl10.png").write_bytes(b"x")


def empty_maps(base: Path) -> None:
    for part in range(1, 11):
        name = f"{FIRST}_lbl{part:02d}.png"
        (base / "labels" / FIRST / name).write_bytes(file_bytes(np.zeros((HEIGHT, WIDTH), np.uint8)))


CASES: dict[str, Case] = {
    "Helen: an empty folder": ("helen", nothing, {}, r"no layout of Helen with part labels .*looked for images/\*.jpg"),
    "Helen: an archive that is not unpacked": ("helen", archive_only, {}, f"{BASE}.zip: is an archive that is not unp"),
    "Helen: two copies": ("helen", two_copies, {}, f"more than one copy: {BASE}, one .name the folder of one"),
    "Helen: no lists": ("helen", delete(*LISTS), {}, "holds none of exemplars.txt, tuning.txt, testing.txt"),
    "Helen: a list missing": (
        "helen",
        delete("testing.txt"),
        {},
        r"(?s)testing.txt: is missing.*images/: holds pictures that no list names: 13602254_1, 296814969_3",
    ),
    "Helen: a folder in another case": (
        "helen",
        rename("images", "Images"),
        {},
        "Images: is written in another case .re",
    ),
    "Helen: a picture in another case": (
        "helen",
        rename(f"images/{FIRST}.jpg", f"images/{FIRST}.JPG"),
        {},
        f"images/{FIRST}.JPG: is written in another case .*rename it to {FIRST}.jpg",
    ),
    "Helen: a label in another case": (
        "helen",
        rename(LABEL, LABEL.replace("lbl", "LBL")),
        {},
        f"{FIRST}_LBL07.png: is written in another case .*rename it to {FIRST}_lbl07.png",
    ),
    "Helen: a line that names no face": (
        "helen",
        changed(lambda base: (base / "tuning.txt").write_text(f"1 ; {FACES['tuning.txt'][0]}\n")),
        {},
        "tuning.txt line 1: names no face: '1 ; 107581643_1'",
    ),
    "Helen: a face in two lists": (
        "helen",
        changed(lambda base: (base / "testing.txt").write_text(f"1 , {FIRST}\n")),
        {},
        f"testing.txt line 1: names {FIRST} again, after .*exemplars.txt line 1",
    ),
    "Helen: pictures missing": (
        "helen",
        delete(f"images/{FIRST}.jpg", f"images/{SECOND}.jpg"),
        {},
        f"exemplars.txt: names faces without a picture in images: {FIRST}, {SECOND}",
    ),
    "Helen: a folder of labels missing": (
        "helen",
        changed(without_labels),
        {},
        f"exemplars.txt: names faces without a folder in labels: {FIRST}",
    ),
    "Helen: a label missing": ("helen", delete(LABEL), {}, f"labels/{FIRST}/: lacks {FIRST}_lbl07.png"),
    "Helen: a label renamed": (
        "helen",
        rename(LABEL, f"labels/{FIRST}/lips.png"),
        {},
        r"(?s)lacks 100032540_1_lbl07.png.*labels/100032540_1/lips.png: is a file that the data set does not have",
    ),
    "Helen: a picture that no list names": (
        "helen",
        write("images/1_1.jpg", file_bytes(noise(0), "JPEG")),
        {},
        "images/: holds pictures that no list names: 1_1",
    ),
    "Helen: a file that is no picture": (
        "helen",
        write("images/notes.doc", b"x"),
        {},
        "images/notes.doc: is a file that",
    ),
    "Helen: a download that has not ended": (
        "helen",
        write(f"images/{FIRST}.jpg.part", b"x"),
        {},
        f"{FIRST}.jpg.part: is an archive or a download that has not ended",
    ),
    "Helen: a picture cut off": (
        "helen",
        cut(f"images/{FIRST}.jpg", 0.6),
        {},
        f"images/{FIRST}.jpg: does not decode: .*truncated",
    ),
    "Helen: labels that are no pictures": (
        "helen",
        changed(lambda base: [(base / LABEL).write_bytes(b"x"), (base / LABEL.replace("07", "02")).write_bytes(b"")]),
        {},
        f"labels/{FIRST}/: {FIRST}_lbl02.png does not decode: the file is empty; {FIRST}_lbl07.png does not decode",
    ),
    "Helen: a label of another size": (
        "helen",
        write(LABEL, file_bytes(np.zeros((9, 12), np.uint8))),
        {},
        f"{FIRST}_lbl07.png is 12 x 9, and the picture is {WIDTH} x {HEIGHT}",
    ),
    "Helen: a label in colour": (
        "helen",
        write(LABEL, file_bytes(np.zeros((HEIGHT, WIDTH, 3), np.uint8))),
        {},
        f"{FIRST}_lbl07.png is {WIDTH} x {HEIGHT} in colour",
    ),
    "Helen: labels without a face": ("helen", changed(empty_maps), {}, "no part of a face has any pixel"),
    "Helen: a file of points cut off": (
        "helen",
        cut(f"images/{SECOND}.pts", 0.5),
        {},
        f"images/{SECOND}.pts: is no file of points, or is cut off",
    ),
    "Helen: 194 points": (
        "helen",
        write(f"images/{FIRST}.pts", points_text(np.full((194, 2), 9.0)).encode()),
        {},
        f"{FIRST}.pts: says 194 points and holds 388 numbers, not 68 points",
    ),
    "Helen: points of the picture in another size": (
        "helen",
        write(f"images/{FIRST}.pts", points_text(photograph(0)[1] * 4).encode()),
        {},
        f"{FIRST}.pts: has .* points outside its picture of {WIDTH} x {HEIGHT} pixels .the points may be those of",
    ),
    "Helen: several problems at once": (
        "helen",
        changed(several_at_once),
        {},
        r"(?s)5 problems.*picture in images.*folder in labels.*lbl10.png does not decode.*is missing.*no list names",
    ),
    "Helen: a limit of no faces": ("helen", small_copy, {"limit": 0}, "limit: .*greater than or equal to 1"),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_ends_with_an_error_that_names_it(tmp_path: Path, case: str) -> None:
    assert_refused(CASES[case], tmp_path)


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    source = open_source("helen", changed(several_at_once)(tmp_path))
    told = [str(item) for item in source.faces() if isinstance(item, Problem)]
    assert len(told) == 5
    for number, words in enumerate(["without a picture in images", "folder in labels", "lbl10.png does not decode"]):
        assert words in told[number]
    assert "testing.txt: is missing" in told[3] and "no list names" in told[4]
    assert sum(isinstance(item, RawFace) for item in source.faces()) == 3


def test_the_small_copy_becomes_faces_with_masks(tmp_path: Path) -> None:
    source = open_source("helen", small_copy(tmp_path / "in"))
    report = prepare_faces(source, tmp_path / "out", image_size=HEIGHT, channels=3)
    assert report.faces == 8 and report.problems == 0 and report.class_names == ("face",)
    assert report.counts == {"face": {"train": 4, "validation": 2, "test": 2}}
    assert report.columns["mask"] == 8 and report.columns["landmarks"] == 4 and report.columns["subject"] == 0
    assert source.further_counts() == {"landmarks": 4}
    row = {row["face_id"]: row for row in read_faces(tmp_path / "out").to_pylist()}["helen/13602254_1"]
    assert row["split"] == "test" and row["image"]["path"] == f"{BASE}/images/13602254_1.jpg"
    # Cropped to the central square: 8 columns go on each side, and the face stood 16 further right.
    mask = decode_image(row["mask"])
    true = photograph(6)[2]
    np.testing.assert_array_equal(mask, true[:, 8:-8])


def test_masks_say_what_the_embedded_face_s_own_says(tmp_path: Path) -> None:
    faces = [face for face in open_source("helen", small_copy(tmp_path)).faces() if isinstance(face, RawFace)]
    for number, face in enumerate(faces):
        image, landmarks, mask = photograph(number)
        assert face.image.shape == image.shape
        np.testing.assert_array_equal(face.mask, mask)
        assert {SKIN, LIPS, EYES} <= set(np.unique(mask))
        if number % 2:
            assert face.landmarks is not None
            np.testing.assert_allclose(face.landmarks * (WIDTH, HEIGHT), landmarks, atol=2e-3)
        else:
            assert face.landmarks is None


def test_soft_labels_go_to_the_area_that_is_most_probable_in_sum(tmp_path: Path) -> None:
    """Upper and lower lip together outweigh the inside of the mouth, though it alone outweighs each of them."""
    base = small_copy(tmp_path) / BASE
    probabilities = {"upper lip": 77, "lower lip": 77, "inner mouth": 101}
    for number, part in enumerate(PARTS):
        label = np.full((HEIGHT, WIDTH), probabilities.get(part, 0), np.uint8)
        label[0] = 255 * (part == "hair")
        (base / "labels" / FIRST / f"{FIRST}_lbl{number:02d}.png").write_bytes(file_bytes(label))
    mask = next(iter(open_source("helen", tmp_path).faces())).mask
    assert (mask[1:] == LIPS).all() and (mask[0] == 0).all()


def test_every_part_lies_in_its_area() -> None:
    assert list(PARTS) == [
        "background", "face skin", "left eyebrow", "right eyebrow", "left eye", "right eye", "nose", "upper lip",
        "inner mouth", "lower lip", "hair",
    ]  # fmt: skip
    assert [part for part, area in PARTS.items() if area == "lips"] == ["upper lip", "lower lip"]
    assert [part for part, area in PARTS.items() if area == "eyes"] == ["left eye", "right eye"]
    assert [part for part, area in PARTS.items() if area == "background"] == ["background", "hair"]


def test_published_counts_and_the_limit(tmp_path: Path) -> None:
    small_copy(tmp_path)
    counts = {count.what: count.count for count in open_source("helen", tmp_path).published}
    assert counts == {"faces": 2330, "split train": 2000, "split validation": 230, "split test": 100}
    limited = open_source("helen", tmp_path, limit=1)
    assert [face.name for face in limited.faces()] == [names[0] for names in FACES.values()]
    assert {count.what: count.count for count in limited.published}["faces"] == 3


def test_missing_says_how_far_the_lists_go(tmp_path: Path) -> None:
    told = [str(problem) for problem in open_source("helen", small_copy(tmp_path)).missing()]
    assert told == [
        f"{BASE}/exemplars.txt: names 4 of the 2000 faces (copy it again)",
        f"{BASE}/tuning.txt: names 2 of the 230 faces (copy it again)",
        f"{BASE}/testing.txt: names 2 of the 100 faces (copy it again)",
    ]


def test_a_name_in_another_case_is_told_once(tmp_path: Path) -> None:
    root = rename(f"images/{FIRST}.jpg", f"images/{FIRST}.JPG")(tmp_path)
    assert len([item for item in open_source("helen", root).faces() if isinstance(item, Problem)]) == 1


def test_lists_may_name_faces_alone(tmp_path: Path) -> None:
    base = small_copy(tmp_path) / BASE
    for list_name, faces in FACES.items():
        (base / list_name).write_text("\r\n".join(faces) + "\r\n\r\n")
    assert len(list(open_source("helen", base).faces())) == 8


def test_hidden_files_are_no_problem(tmp_path: Path) -> None:
    base = small_copy(tmp_path) / BASE
    for name in (".DS_Store", "images/Thumbs.db", "labels/.DS_Store", f"labels/{FIRST}/._x.png"):
        (base / name).write_bytes(b"x")
    assert all(isinstance(item, RawFace) for item in open_source("helen", tmp_path).faces())


@given(
    points=st.lists(st.tuples(st.floats(1, 80), st.floats(1, 64)), min_size=68, max_size=68),
    space=st.sampled_from(["\n", "\r\n", " \n"]),
)
def test_points_are_read_as_written(points: list[tuple[float, float]], space: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "points.pts"
    lines = space.join(f"{x!r} {y!r}" for x, y in points)
    path.write_bytes(f"version: 1{space}n_points: 68{space}{{{space}{lines}{space}}}{space}".encode())
    found = read_points(path, "points.pts", (64, 80))
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, (np.array(points) - 0.5) / (80, 64), rtol=1e-5)


def test_the_first_pixel_of_a_file_of_points_is_one() -> None:
    """(1, 1) is the middle of the first pixel: half a pixel from the picture's corner."""
    file = io.StringIO(points_text(np.full((68, 2), 0.5)))
    assert file.read().splitlines()[3] == "1.000 1.000"


def test_a_picture_and_its_mask_lie_on_each_other(tmp_path: Path) -> None:
    """Lips are redder than skin, in the picture under the mask."""
    face = next(iter(open_source("helen", small_copy(tmp_path)).faces()))
    redness = face.image[..., 0].astype(float) - face.image[..., 1]
    assert redness[face.mask == LIPS].mean() > redness[face.mask == SKIN].mean() + 5
    assert Image.fromarray(face.image).size == (WIDTH, HEIGHT)
