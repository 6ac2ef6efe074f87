"""The guard refuses what would leak, and nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from small_faces import CLASSES, face_row, face_table, noise

from augment.core.errors import InputError
from augment.faces.duplicates import find_duplicates
from augment.faces.images import decode_image, encode_png
from augment.faces.leakage import LeakageError, check_leakage, duplicates_across
from augment.faces.splits import FOLD_SCHEMA, FoldSettings, assign_folds
from augment.faces.table import face_schema, faces_from_rows
from augment.rig import preset, render

pytestmark = pytest.mark.slow


def folds_of(splits: dict[str, str], fold: int = 0) -> pa.Table:
    rows = [{"face_id": face_id, "fold": fold, "split": split} for face_id, split in splits.items()]
    return pa.Table.from_pylist(rows, schema=FOLD_SCHEMA)


def picture(pixels: np.ndarray) -> dict:
    return {"bytes": encode_png(pixels), "path": None}


def synthetic_row(number: int, source_id: str | None, **values) -> dict:
    row = face_row(1000 + number) | {"synthetic": True, "translator": "warp", "seed": 0, "fold": 0}
    return row | {"face_id": f"new/{number}", "source_id": source_id} | values


def synthetic_table(*rows: dict) -> pa.Table:
    return faces_from_rows(rows, face_schema(CLASSES))


FACES = face_table([face_row(n, subject=f"s{n // 2}", split=("train", "validation", "test")[n // 2]) for n in range(6)])
SPLITS = {f"made/{n}": ("train", "validation", "test")[n // 2] for n in range(6)}
FOLDS = folds_of(SPLITS)


def test_a_clean_fold_passes_and_says_what_was_checked() -> None:
    made = synthetic_table(synthetic_row(0, "made/0"), synthetic_row(1, "made/1"))
    report = check_leakage(FACES, FOLDS, fold=0, synthetic=made, pictures=True)
    assert report.model_dump(mode="json") == {
        "fold": 0,
        "faces": 6,
        "subjects": 3,
        "synthetic_faces": 2,
        "pictures_checked": True,
        "duplicates": [],
        "synthetic_near_held_out": 0,
    }
    assert not check_leakage(FACES, FOLDS, fold=0).pictures_checked


def test_a_subject_on_both_sides() -> None:
    with pytest.raises(LeakageError, match="subject s1: lies in test and validation"):
        check_leakage(FACES, folds_of(SPLITS | {"made/3": "test"}), fold=0)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (synthetic_row(0, "made/2"), "its source made/2 is a validation face"),
        (synthetic_row(0, "made/5"), "its source made/5 is a test face"),
        (synthetic_row(0, None), "names no source face"),
        (synthetic_row(0, "other/1"), "its source other/1 is no face of the fold"),
        (synthetic_row(0, "made/0", fold=1), "belongs to fold 1, not 0"),
        (synthetic_row(0, "made/0", face_id="made/4"), "has the id of a real face"),
    ],
)
def test_synthetic_rows_that_leak(row: dict, why: str) -> None:
    good = synthetic_row(9, "made/1")
    for made in (synthetic_table(good, row), iter(synthetic_table(good, row).to_batches())):
        with pytest.raises(LeakageError, match=why) as caught:
            check_leakage(FACES, FOLDS, fold=0, synthetic=made)
        assert len(caught.value.problems) == 1


def test_all_leaks_are_listed() -> None:
    made = synthetic_table(*(synthetic_row(n, "made/5") for n in range(40)))
    with pytest.raises(LeakageError) as caught:
        check_leakage(FACES, folds_of(SPLITS | {"made/3": "test"}), fold=0, synthetic=made)
    assert len(caught.value.problems) == 41


def test_a_fold_of_other_faces() -> None:
    with pytest.raises(LeakageError, match="1 faces are in no split, such as made/0"):
        check_leakage(FACES, FOLDS.slice(1), fold=0)
    with pytest.raises(LeakageError, match="1 faces of the fold are gone, such as made/0"):
        check_leakage(FACES.slice(1), FOLDS, fold=0)
    with pytest.raises(LeakageError, match="unknown splits dev"):
        check_leakage(FACES, folds_of(SPLITS | {"made/0": "dev", "made/1": "dev"}), fold=0)
    with pytest.raises(InputError, match="there is no fold 3"):
        check_leakage(FACES, FOLDS, fold=3)


def copies(first_split: str | None, second_split: str | None) -> pa.Table:
    shared = picture(noise(70, 32))
    rows = [face_row(0, split=first_split, image=shared), face_row(1, split=second_split, image=shared)]
    return face_table([*rows, face_row(2, split="train")])


@pytest.mark.parametrize("own", [(None, None), ("train", "train"), ("train", None)])
def test_near_duplicates_that_our_splits_part_are_refused(own: tuple) -> None:
    folds = folds_of({"made/0": "train", "made/1": "test", "made/2": "train"})
    with pytest.raises(LeakageError, match=r"face made/1 .test.: is the same picture as made/0 .train."):
        check_leakage(copies(*own), folds, fold=0, pictures=True)
    check_leakage(copies(*own), folds, fold=0)  # the cheap form does not look


def test_near_duplicates_that_the_source_itself_parts_are_counted() -> None:
    faces = copies("train", "test")
    folds = assign_folds(faces.slice(0, 3), FoldSettings(validation_share=0.5), 0)
    report = check_leakage(faces, folds, fold=0, pictures=True)
    (entry,) = report.duplicates
    assert entry.second == "test" and (entry.exact, entry.near) == (1, 1)
    assert report == check_leakage(faces, folds, fold=0, pictures=True, duplicates=find_duplicates(faces))
    with pytest.raises(LeakageError, match="same picture"):
        check_leakage(faces, folds, fold=0, pictures=True, allowed_duplicates="none")


def test_near_duplicates_within_a_split_are_nobody_s_business() -> None:
    folds = folds_of({"made/0": "train", "made/1": "train", "made/2": "test"})
    assert check_leakage(copies(None, None), folds, fold=0, pictures=True).duplicates == ()


def test_synthetic_copies_of_held_out_pictures() -> None:
    test_picture = FACES.column("image").to_pylist()[5]
    made = synthetic_table(synthetic_row(0, "made/0", image=test_picture), synthetic_row(1, "made/1"))
    with pytest.raises(LeakageError, match=r"new/0: is the same picture as made/5 \(test\)"):
        check_leakage(FACES, FOLDS, fold=0, synthetic=made, pictures=True)
    # A train face copied is what many translators do with the face's own class.
    copied = synthetic_table(synthetic_row(0, "made/0", image=FACES.column("image").to_pylist()[0]))
    check_leakage(FACES, FOLDS, fold=0, synthetic=copied, pictures=True)


def test_a_synthetic_copy_is_excused_where_the_source_face_has_that_near_duplicate() -> None:
    faces = copies("train", "test")
    folds = folds_of({"made/0": "train", "made/1": "test", "made/2": "train"})
    shared = faces.column("image").to_pylist()[0]
    report = check_leakage(
        faces, folds, fold=0, pictures=True, synthetic=synthetic_table(synthetic_row(0, "made/0", image=shared))
    )
    assert report.synthetic_near_held_out == 1
    with pytest.raises(LeakageError, match="same picture as made/1"):
        check_leakage(
            faces, folds, fold=0, pictures=True, synthetic=synthetic_table(synthetic_row(0, "made/2", image=shared))
        )


def moved(pixels: np.ndarray, kind: str) -> np.ndarray:
    """What a test picture becomes when somebody hides it."""
    picture, edge = Image.fromarray(pixels), len(pixels)
    changed = {
        "as it is": lambda: picture,
        "shifted": lambda: picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, 2, 0, 1, -1)),
        "mirrored": lambda: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "cropped": lambda: picture.crop((1, 1, edge - 1, edge - 1)).resize(picture.size, Image.Resampling.BICUBIC),
        "turned": lambda: picture.rotate(2, Image.Resampling.BICUBIC),
    }
    return np.asarray(changed[kind]())


@pytest.fixture(scope="module")
def drawn() -> pa.Table:
    """Embedded faces of 48 px: three people train, one validates, two test."""
    faces = preset("rare", seed=3, subjects=3, neutral_subjects=3, validation_subjects=1, test_subjects=2).specs
    images = render(faces, size=48, channels=1, seed=3).images
    rows = [
        face_row(number, subject=spec.subject_name, split=spec.split, image=picture(pixels[:, :, 0]))
        for number, (spec, pixels) in enumerate(zip(faces, images, strict=True))
    ]
    return face_table(rows)


def of_split(faces: pa.Table, split: str) -> list[dict]:
    return [row for row in faces.to_pylist() if row["split"] == split]


@pytest.mark.parametrize("kind", ["as it is", "shifted", "mirrored", "cropped", "turned"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_held_out_picture_among_the_synthetic_ones_is_refused_however_it_is_hidden(
    drawn: pa.Table, kind: str, split: str
) -> None:
    folds = folds_of(dict(zip(drawn.column("face_id").to_pylist(), drawn.column("split").to_pylist(), strict=True)))
    source, hidden = of_split(drawn, "train")[0], of_split(drawn, split)[1]
    pixels = moved(decode_image(hidden["image"]["bytes"]), kind)
    row = synthetic_row(0, source["face_id"], image=picture(pixels))
    with pytest.raises(LeakageError, match=rf"new/0: is the same picture as {hidden['face_id']} \({split}\)"):
        check_leakage(drawn, folds, fold=0, synthetic=synthetic_table(row), pictures="synthetic")
    # The control: training faces, treated likewise, resemble no held-out face.
    rows = [
        synthetic_row(number, face["face_id"], image=picture(moved(decode_image(face["image"]["bytes"]), kind)))
        for number, face in enumerate(of_split(drawn, "train"))
    ]
    report = check_leakage(drawn, folds, fold=0, synthetic=synthetic_table(*rows), pictures="synthetic")
    assert report.pictures_checked and report.synthetic_near_held_out == 0


def test_comparing_synthetic_pictures_leaves_real_ones_alone() -> None:
    folds = folds_of({"made/0": "train", "made/1": "test", "made/2": "train"})
    made = synthetic_table(synthetic_row(0, "made/2"))
    report = check_leakage(copies(None, None), folds, fold=0, synthetic=made, pictures="synthetic")
    assert report.duplicates == ()
    with pytest.raises(LeakageError, match="same picture"):
        check_leakage(copies(None, None), folds, fold=0, synthetic=made, pictures=True)


def test_comparing_pictures_says_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 360,000 faces it takes longer than a classifier's training."""
    monkeypatch.setattr("augment.core.progress.FIRST_LINE_SECONDS", 0.0)
    made = synthetic_table(synthetic_row(0, "made/0"), synthetic_row(1, "made/1"))
    check_leakage(FACES, FOLDS, fold=0, synthetic=made, pictures="synthetic")
    assert "fingerprints of fold 0: 0 of 2 synthetic faces" in capsys.readouterr().err
    check_leakage(FACES, FOLDS, fold=0, synthetic=made)
    assert not capsys.readouterr().err  # ids alone are looked at in no time


@pytest.mark.parametrize("spelling", ["S01", "s01", "S01 ", "\uff33\uff10\uff11"])
def test_one_person_in_two_spellings_lies_in_two_splits(spelling: str) -> None:
    faces = face_table([face_row(0, subject="s01"), face_row(1, subject=spelling), face_row(2, subject="s02")])
    with pytest.raises(LeakageError, match=r"subject s01.*lies in test and train"):
        check_leakage(faces, folds_of({"made/0": "train", "made/1": "test", "made/2": "train"}), fold=0)
    assert check_leakage(faces, folds_of(dict.fromkeys(("made/0", "made/1", "made/2"), "train")), fold=0).subjects == 2


def test_counting_across_splits() -> None:
    table = pa.table({"face_id": list("abcde"), "exact_group": [0, 0, 0, None, None], "near_group": [0, 0, 0, 0, 0]})
    splits = {"a": "train", "b": "test", "c": "test", "d": "test", "e": None}
    (entry,) = duplicates_across(table, splits)
    assert (entry.first, entry.second, entry.exact, entry.near) == ("train", "test", 2, 3)
    assert entry.examples[0] == ("a", "b")
