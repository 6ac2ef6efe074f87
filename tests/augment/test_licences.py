"""No card without a licence, and a data set's terms on every card of what was made from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from small_faces import CLASSES, JudgeBy, face_row, noise, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.licences import Licence, LicenceLine, Terms, as_licence, read_card, says_something
from augment.faces.shards import CardFacts, write_card, write_faces
from augment.faces.table import read_faces
from augment.faces.tensors import face_tensors
from augment.prepare.prepare import prepare_faces
from augment.sources import RawFace, open_source
from augment.sources.terms import licence_of
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.synthesis.selection import SelectionSettings, select
from augment.translators.base import Translator, TranslatorSettings

TERMS = Terms(
    holder="The Institute of Faces",
    ask="https://faces.example/ask",
    use="For research: by those who signed.",
    derived='Images made from it may not be passed on; "shown" they may be, at 100 %.',
    read_at="the licence, section 3",
)


@dataclass
class Licensed:
    """A data set that comes with terms."""

    terms: Terms = TERMS
    title: str = "Face Set 1"
    name: str = "faceset"
    class_names: tuple[str, ...] = CLASSES

    def faces(self) -> Iterator[RawFace | Problem]:
        for number in range(12):
            yield RawFace(f"f{number}", noise(number), CLASSES[number % 3], split="train")


class Silent(Licensed):
    """Says nothing."""

    terms = None  # type: ignore[assignment]

    def __init__(self) -> None: ...


class Inverter(Translator):
    """Makes negatives."""

    name = "inverter"
    Settings = TranslatorSettings

    def __init__(self) -> None:
        super().__init__(num_classes=3, channels=1, size=16, settings=TranslatorSettings())

    def translate(self, faces: Any, targets: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        return 255 - faces.images


def even_judge(images: torch.Tensor) -> np.ndarray:
    return np.full((len(images), 3), 1 / 3)


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """A card's YAML and its text."""
    _, front, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(front), text


def make_all(folder: Path, source: Any, licence: str | None = None) -> list[Path]:
    """Prepared, synthetic and selected faces, as a user's own script makes them."""
    report = prepare_faces(source, folder / "faces", image_size=16, channels=1, licence=licence)
    synthesize(
        Inverter(),
        face_tensors(read_faces(folder / "faces")),
        SynthesisSettings(per_class=2, block_size=2),
        out=folder / "synthetic",
        seed=0,
        fold=0,
        translator_name="inverter",
        weights_sha256=None,
        configuration_hash="x",
        class_names=CLASSES,
        licence=report.licence,
    )
    select(
        folder / "synthetic",
        folder / "selected",
        JudgeBy(even_judge),
        SelectionSettings(threshold=0.2),
        fold=0,
        class_names=CLASSES,
    )
    return [folder / name for name in ("faces", "synthetic", "selected")]


def test_the_terms_stand_whole_on_the_card_of_everything_that_was_made(tmp_path: Path) -> None:
    import datasets

    for folder in make_all(tmp_path, Licensed()):
        front, text = card(folder)
        assert (front["license"], front["license_name"]) == ("other", "face-set-1-terms")
        for part in (TERMS.holder, TERMS.ask, TERMS.use, TERMS.derived, TERMS.read_at, TERMS.licence):
            assert part in text
        licence = read_card(folder)
        assert licence is not None
        assert licence.lines == (LicenceLine(data_set="Face Set 1", line=TERMS.licence, terms=TERMS),)
        assert not licence.is_public_domain
        loaded = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache"))
        assert len(loaded) in (6, 12) and loaded.features["label"].names == list(CLASSES)


def test_what_a_user_says_is_added_and_replaces_nothing(tmp_path: Path) -> None:
    licence = licence_of(Licensed(), "cc0-1.0")
    assert [line.line for line in licence.lines] == [TERMS.licence, "cc0-1.0"]
    assert not licence.is_public_domain and licence.front_matter()["license"] == "other"
    for folder in make_all(tmp_path, Licensed(), "Contract 12: until 2027."):
        _, text = card(folder)
        assert TERMS.derived in text and "Contract 12: until 2027." in text


def folder_of_pictures(root: Path) -> Path:
    for seed, name in enumerate(["happy/1.png", "sad/1.png", "happy/2.png"]):
        write_picture(root / name, seed)
    return root


def test_folders_of_pictures_need_a_line(tmp_path: Path) -> None:
    source = open_source("folder", folder_of_pictures(tmp_path / "in"))
    with pytest.raises(InputError, match=r"licence: the source does not say .*my own photographs, all persons agreed"):
        prepare_faces(source, tmp_path / "out", image_size=16, channels=1)
    assert not (tmp_path / "out").exists()
    prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="my own photographs, all persons agreed")
    front, text = card(tmp_path / "out")
    assert front["license"] == "other" and "Licence: my own photographs, all persons agreed" in text
    prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence="CC-BY-4.0")
    front, _ = card(tmp_path / "out")
    assert front["license"] == "cc-by-4.0" and "license_name" not in front


@pytest.mark.parametrize("line", ["", "  ", "unknown", "Other", "none", "?", "TODO"])
def test_words_that_say_nothing_are_no_licence(tmp_path: Path, line: str) -> None:
    assert not says_something(line)
    source = open_source("folder", folder_of_pictures(tmp_path / "in"))
    with pytest.raises(InputError, match="says nothing of a licence"):
        prepare_faces(source, tmp_path / "out", image_size=16, channels=1, licence=line)
    with pytest.raises(InputError, match="no card is written without one"):
        write_faces([face_row(0)], tmp_path / "out", CLASSES, card=CardFacts("T", "D", line))
    assert not (tmp_path / "out").exists()


def test_the_library_writes_no_card_without_a_licence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="licence: these faces have none"):
        write_faces([face_row(0)], tmp_path / "faces", CLASSES, card=CardFacts("T", "D"))
    with pytest.raises(InputError, match="licence: these faces have none"):
        write_card(tmp_path, title="T", description="D", licence=None, class_names=CLASSES, splits={}, synthetic=True)
    with pytest.raises(InputError, match="the source does not say"):
        licence_of(Silent())
    make_all(tmp_path, Licensed())
    (tmp_path / "synthetic" / "README.md").unlink()
    with pytest.raises(InputError, match="licence: these faces have none"):
        select(
            tmp_path / "synthetic",
            tmp_path / "again",
            JudgeBy(even_judge),
            SelectionSettings(),
            fold=0,
            class_names=CLASSES,
        )
    assert not (tmp_path / "again").exists() and not list(tmp_path.glob("README.md"))


def test_a_table_beside_a_card_stands_under_the_cards_licence(tmp_path: Path) -> None:
    prepare_faces(Licensed(), tmp_path / "first", image_size=16, channels=1)
    for number, root in enumerate(("first/data", "first/data/train-00000.parquet")):
        source = open_source("parquet", tmp_path / root)
        out = tmp_path / f"second-{number}"
        prepare_faces(source, out, image_size=16, channels=1)
        assert read_card(out) == read_card(tmp_path / "first")
    (tmp_path / "first" / "README.md").unlink()
    with pytest.raises(InputError, match="the source does not say"):
        licence_of(open_source("parquet", tmp_path / "first" / "data"))


@pytest.mark.parametrize(
    ("front", "line"),
    [
        ("license: cc-by-4.0", "cc-by-4.0"),
        ("license: other\nlicense_name: faces-of-one-summer", "faces-of-one-summer"),
        ("license: other\nlicense_name: n\nlicense_link: https://x.example/L", "n, https://x.example/L"),
        ("license: [mit, cc0-1.0]", "mit, cc0-1.0"),
        ("license: unknown", None),
        ("license: other", None),
        ("pretty_name: Faces", None),
        ("license: [", None),
        ("just a line", None),
    ],
)
def test_others_cards_are_read(tmp_path: Path, front: str, line: str | None) -> None:
    (tmp_path / "README.md").write_text(f"---\r\n{front}\r\n---\r\n# Faces\r\n", encoding="utf-8")
    found = read_card(tmp_path)
    assert (None if found is None else found.line) == line
    (tmp_path / "README.md").write_text("# Faces\n\nlicense: mit\n", encoding="utf-8")
    assert read_card(tmp_path) is None


def test_several_data_sets_are_all_named(tmp_path: Path) -> None:
    prepare_faces(Licensed(), tmp_path / "a", image_size=16, channels=1)
    other = Licensed(Terms("B", "b.example", "As you like.", "As you like.", "the page"), title="Face Set 2")
    prepare_faces(other, tmp_path / "b", image_size=16, channels=1)
    parts = [{"data_set": name, "source": "parquet", "root": f"{name}/data"} for name in ("a", "b")]
    for folder in make_all(tmp_path / "made", open_source("joint", tmp_path, parts=parts)):
        front, text = card(folder)
        assert front["license_name"] == "a-b-terms"
        assert TERMS.holder in text and "Terms of b, which hold" in text and "As you like." in text
        assert [line["data_set"] for line in front["terms_of_data_sets"]] == ["a", "b"]


def test_faces_are_public_only_where_all_are() -> None:
    public, bound = LicenceLine(data_set="a", line="CC0-1.0"), LicenceLine(data_set="b", line="cc-by-4.0")
    assert Licence(lines=(public,)).is_public_domain
    assert not Licence(lines=(public, bound)).is_public_domain
    assert Licence(lines=(public, public.model_copy(update={"data_set": "b"}))).line == "CC0-1.0"
    assert Licence(lines=(public, bound)).line == "a: CC0-1.0 b: cc-by-4.0"
    assert licence_of(open_source("rig", subjects=1)).is_public_domain


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60),
    st.text("ab -:#'\"\n", max_size=20),
)
def test_every_line_comes_back_from_its_card(tmp_path_factory: pytest.TempPathFactory, line: str, name: str) -> None:
    folder = tmp_path_factory.mktemp("card")
    if not says_something(line):
        with pytest.raises(InputError):
            as_licence(line)
        return
    licence = Licence(lines=(LicenceLine(data_set=name, line=line, terms=TERMS),))
    write_card(folder, title="T", description="D", licence=licence, class_names=CLASSES, splits={}, synthetic=False)
    assert read_card(folder) == licence
