"""A synthetic picture is compared with held-out ones once; whatever changes is compared anew."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from small_faces import face_row
from test_leakage import FACES, FOLDS, SPLITS, copies, folds_of, synthetic_row, synthetic_table

from augment.faces import leakage
from augment.faces.cleared_pictures import ClearedPictures, picture_digest
from augment.faces.leakage import LeakageError, LeakageReport, check_leakage

pytestmark = pytest.mark.slow

MADE = synthetic_table(*(synthetic_row(number, f"made/{number % 2}") for number in range(4)))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many synthetic pictures each check compares."""
    counts: list[int] = []
    near_pairs = leakage.near_pairs

    def counting(made, held):
        counts.append(len(made))
        return near_pairs(made, held)

    monkeypatch.setattr(leakage, "near_pairs", counting)
    return counts


def check(made: pa.Table, cleared: Path | None, folds: pa.Table = FOLDS, fold: int = 0) -> LeakageReport:
    return check_leakage(FACES, folds, fold=fold, synthetic=made, pictures="synthetic", cleared=cleared)


def test_what_was_compared_is_not_compared_again(tmp_path: Path, compared: list[int]) -> None:
    first = check(MADE, tmp_path / "cleared")
    assert first == check(MADE, tmp_path / "cleared") == check(MADE, None)
    check(
        synthetic_table(*MADE.to_pylist()[1:3], synthetic_row(9, "made/0")), tmp_path / "cleared"
    )  # two, and a new one
    assert compared == [4, 0, 4, 1]


def test_a_picture_that_changes_is_compared_under_its_old_name(tmp_path: Path, compared: list[int]) -> None:
    check(MADE, tmp_path)
    test_picture = FACES.column("image").to_pylist()[5]
    changed = synthetic_table(*MADE.to_pylist()[:3], synthetic_row(3, "made/1", image=test_picture))
    for _ in range(2):  # what was refused once is not cleared by it
        with pytest.raises(LeakageError, match=r"new/3: is the same picture as made/5 \(test\)"):
            check(changed, tmp_path)
    assert compared == [4, 1, 1]


def test_other_held_out_faces_are_another_question(tmp_path: Path) -> None:
    """A copy of fold 0's training face leaks where fold 1 tests on that face."""
    copied = synthetic_row(0, "made/0", image=FACES.column("image").to_pylist()[0])
    check(synthetic_table(copied), tmp_path)
    folds = folds_of({name: "test" if split == "train" else "train" for name, split in SPLITS.items()}, fold=1)
    with pytest.raises(LeakageError, match=r"new/0: is the same picture as made/0 \(test\)"):
        check(synthetic_table(copied | {"source_id": "made/5", "fold": 1}), tmp_path, folds, fold=1)


def test_other_code_compares_anew(tmp_path: Path, compared: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    check(MADE, tmp_path)
    monkeypatch.setattr("augment.faces.cleared_pictures.hash_code", lambda modules: "mended")
    check(MADE, tmp_path)
    assert compared == [4, 4]


@pytest.mark.parametrize("damage", ["cut", "flipped", "added", "empty"])
def test_a_damaged_file_clears_nothing(tmp_path: Path, compared: list[int], damage: str) -> None:
    check(MADE, tmp_path)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    flipped = bytes([data[0] ^ 1]) + data[1:]
    file.write_bytes({"cut": data[:-1], "flipped": flipped, "added": bytes(32) + data, "empty": b""}[damage])
    check(MADE, tmp_path)
    assert compared == [4, 4] and file.read_bytes() == data


def test_what_is_excused_is_counted_every_time(tmp_path: Path) -> None:
    faces, folds = copies("train", "test"), folds_of({"made/0": "train", "made/1": "test", "made/2": "train"})
    shared = faces.column("image").to_pylist()[0]
    made = synthetic_table(synthetic_row(0, "made/0", image=shared), synthetic_row(1, "made/2"))
    for _ in range(2):
        report = check_leakage(faces, folds, fold=0, synthetic=made, pictures="synthetic", cleared=tmp_path)
        assert report.synthetic_near_held_out == 1
    # The same picture without that excuse.
    alone = synthetic_table(synthetic_row(0, "made/2", image=shared))
    with pytest.raises(LeakageError, match="same picture as made/1"):
        check_leakage(faces, folds, fold=0, synthetic=alone, pictures="synthetic", cleared=tmp_path)


def test_two_stages_that_end_one_after_the_other_lose_nothing(tmp_path: Path) -> None:
    digests = [picture_digest(face_row(number)["image"]["bytes"]) for number in range(4)]
    first, second = (ClearedPictures(tmp_path, [b"held"]) for _ in range(2))
    first.keep(digests[:1])
    second.keep(digests[1:3])
    found = ClearedPictures(tmp_path, [b"held"])
    assert [digest in found for digest in digests] == [True, True, True, False]
    assert not len(ClearedPictures(tmp_path, [b"others"])) and not len(ClearedPictures(None, [b"held"]))
