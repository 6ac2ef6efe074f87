"""`s2l data check` through the command itself, on small copies of every data set."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from data_sets import fer_csv, modules_of_tests
from hypothesis import given
from hypothesis import strategies as st
from small_faces import fer_pixels, write_picture

import pipeline.data_check
from augment.core.errors import InputError
from augment.sources import open_source
from augment.sources.listed import ListedSource
from pipeline.cli import main
from pipeline.data_check import override_value, parse_settings, table
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent.parent
SETTINGS = {  # that the small copies need
    "bu3dfe": ["size=32", "yaws=[0.0]", "levels=[4]"],  # models are drawn: quickly
    "mug": ["min_frames=5"],
}


SMALL_COPIES = {name: module.small_copy for name, module in modules_of_tests().items()}


def data_check(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["data", "check", *map(str, arguments)])


def settings_of(name: str) -> list[str]:
    return [word for pair in SETTINGS.get(name, []) for word in ("--set", pair)]


def class_folders(root: Path) -> Path:
    for seed, name in enumerate(["train/happy/S1_a.png", "train/sad/S2_a.png", "test/happy/S1_b.png"]):
        write_picture(root / name, seed)
    return root


def next_profile(output: str) -> dict:
    """The parameters that the suggested command composes, with what it leaves to the user."""
    command = output.split("\nnext")[1].split("\n")[1]
    program, subcommand, *overrides = shlex.split(command)
    assert (program, subcommand) == ("s2l", "profile")
    said = [word.replace("'?'", "mit").replace("dataset=...", "dataset=fer2013") for word in overrides]
    return yaml.safe_load(compose_profile(ROOT, said))


@pytest.mark.parametrize("name", SMALL_COPIES)
def test_a_small_copy_of_every_data_set(tmp_path: Path, name: str) -> None:
    root = SMALL_COPIES[name](tmp_path / "copy")
    done = data_check(name, root, "--json", tmp_path / "found.json", *settings_of(name))
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["faces"] > 0 and not found["problems"] and found["pictures"]["sizes"]
    source = open_source(name, root)
    assert isinstance(source, ListedSource)
    assert source.terms.holder in done.output and source.terms.derived in done.output
    assert any(entry["difference"] < 0 for entry in found["published"]), "a small copy lacks most of the data set"
    assert (f"missing from the complete data set: {len(found['missing'])}:" in done.output) is bool(found["missing"])
    assert all(f"  {entry['where']}: {entry['why']}" in done.output for entry in found["missing"])
    parameters = next_profile(done.output)
    if len(found["class_names"]) == 1:  # no run can be made of it
        assert (parameters["parsing"]["teacher"]["source"], parameters["parsing"]["teacher"]["root"]) == (
            name,
            str(root),
        )
    else:
        assert (parameters["dataset"]["source"], parameters["dataset"]["root"]) == (name, str(root))


@pytest.mark.parametrize("name", SMALL_COPIES)
def test_published_counts_are_counted_under_their_names(tmp_path: Path, name: str) -> None:
    """A name that nothing is ever counted under would always be found to lack all."""
    root = SMALL_COPIES[name](tmp_path / "copy")
    source = open_source(name, root)
    assert isinstance(source, ListedSource)
    words = ("faces", "subjects", "class ", "split ", "pose ", "light ", "intensity ")
    further = source.further_counts()
    unknown = [
        entry.what for entry in source.published if not entry.what.startswith(words) and entry.what not in further
    ]
    kinds = {what.split()[0] for what in further}
    assert not [what for what in unknown if what.split()[0] not in kinds]
    classes = [entry.what for entry in source.published if entry.what.startswith("class ")]
    assert not classes or sorted(classes) == sorted(f"class {label}" for label in source.class_names)


@pytest.mark.parametrize("name", SMALL_COPIES)
def test_a_broken_copy_of_every_data_set(tmp_path: Path, name: str) -> None:
    root = SMALL_COPIES[name](tmp_path / "copy")
    source = open_source(name, root, **parse_settings(SETTINGS.get(name, [])))
    assert isinstance(source, ListedSource)
    broken = [face.path for face in source.listed_faces()][:2]
    for path in broken:
        (root / path).write_bytes(b"")
    done = data_check(name, root, *settings_of(name))
    assert done.exit_code == 1, done.output
    count = len(set(broken))
    assert f"Error: {count} problem{'s' * (count != 1)}" in done.output
    assert all(f"  {path}: " in done.output for path in broken)
    if len(source.class_names) > 1:
        assert next_profile(done.output)["dataset"]["quarantine"] == "quarantine/list.jsonl"


def test_fer2013_is_set_beside_its_published_counts(tmp_path: Path) -> None:
    done = data_check("fer2013", fer_csv(tmp_path / "fer"))
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert ["class", "disgust", "2", "547", "-545"] in [line[:5] for line in lines]
    assert ["split", "train", "7", "28,709", "-28,702"] in [line[:5] for line in lines]
    assert "no subject names" in done.output and "7 test pictures are identical" in done.output
    assert "FER2013 (fer2013):" in done.output and "let nobody pass the data on" in done.output


def test_fer2013s_published_counts_follow_the_settings(tmp_path: Path) -> None:
    root = fer_csv(tmp_path / "fer")

    def counts(**settings: object) -> dict[str, int]:
        return {entry.what: entry.count for entry in open_source("fer2013", root, **settings).published}  # type: ignore[attr-defined]

    both = counts(test_on="both")
    assert both["split test"] == 2 * 3_589 and "split validation" not in both
    assert both["faces"] == sum(count for what, count in both.items() if what.startswith("class ")) == 35_887
    assert counts(limit=100) == {"faces": 300, "split train": 100, "split validation": 100, "split test": 100}


def test_every_problem_is_listed_and_counted(tmp_path: Path) -> None:
    root = fer_csv(tmp_path / "fer", "9,1 2,Training", "3,1 2,Training", f"3,{fer_pixels(1)},Never")
    done = data_check("fer2013", root)
    assert done.exit_code == 1 and "Error: 3 problems" in done.output
    assert all(f"fer2013.csv line {number}: " in done.output for number in (16, 17, 18))


def test_folders_are_told_to_say_their_terms(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "my faces")
    done = data_check("folder", root, "--set", r"subject_pattern=(?P<subject>S\d)_")
    assert done.exit_code == 0, done.output
    assert "2 subjects (1 to 2 faces each, median 1.5)" in done.output
    assert "1 subject in several splits (S1)" in done.output
    assert "terms: unknown; set dataset.licence" in done.output and "dataset.licence='?'" in done.output
    dataset = next_profile(done.output)["dataset"]
    assert (dataset["root"], dataset["settings"]["subject_pattern"]) == (str(root), r"(?P<subject>S\d)_")
    (root / "train" / "sad" / "broken.png").write_bytes(b"x")
    assert data_check("folder", root).exit_code == 1


def test_embedded_faces_have_no_root() -> None:
    done = data_check("rig", "--set", "preset=ferg", "--set", "subjects=2", "--set", "faces_per_class=1")
    assert done.exit_code == 0, done.output
    assert "14 faces, 7 classes, 2 subjects" in done.output and "cc0-1.0" in done.output
    assert next_profile(done.output)["dataset"]["settings"]["faces_per_class"] == 1
    assert data_check("rig", "somewhere").exit_code == 1


def test_several_data_sets_are_counted_one_by_one(tmp_path: Path) -> None:
    fer_csv(tmp_path / "fer")
    for label in ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"):
        write_picture(tmp_path / "photos" / label / "1.png", len(label))
    parts = "[{data_set: web, source: fer2013, root: fer}, {data_set: own, source: folder, root: photos}]"
    done = data_check("joint", tmp_path, "--set", f"parts={parts}", "--json", tmp_path / "found.json")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["by_data_set"] == {"web": 14, "own": 7} and found["classes"]["sad"] == 3
    assert {entry["what"]: entry["found"] for entry in found["published"]}["web: class sad"] == 2
    assert next_profile(done.output)["dataset"]["settings"]["parts"][1]["root"] == "photos"


def test_without_pictures_nothing_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(SMALL_COPIES))
    root = SMALL_COPIES[name](tmp_path / "copy")
    with_pictures = data_check(name, root, "--json", tmp_path / "a.json", *settings_of(name))
    monkeypatch.setattr(ListedSource, "faces", lambda self: pytest.fail("a picture was read"))
    without = data_check(name, root, "--no-pictures", "--json", tmp_path / "b.json", *settings_of(name))
    assert with_pictures.exit_code == without.exit_code == 0, without.output
    read, listed = (json.loads((tmp_path / f"{file}.json").read_text(encoding="utf-8")) for file in "ab")
    assert read.pop("pictures") is not None and listed.pop("pictures") is None
    assert read == listed and "the pictures were not read" in without.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fer2031", "x"], "'fer2031' is no source"),
        (["fer2013"], "root: the source fer2013 needs one"),
        (["fer2013", "nowhere"], "nowhere: does not exist"),
        (["rig", "--set", "preset"], "--set preset: is not key=value"),
        (["rig", "--set", "preset=[", "--set", "=1"], "is not YAML"),
        (["rig", "--set", "seed=1", "--set", "seed=2"], "repeats a key"),
        (["rig", "--set", "seed=many"], "seed: "),
    ],
)
def test_bad_calls_are_refused(arguments: list[str], message: str) -> None:
    done = data_check(*arguments)
    assert done.exit_code == 1 and message in done.output


def test_ended_by_hand_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline.data_check, "take_inventory", interrupted)
    done = data_check("rig")
    assert done.exit_code == 130 and "interrupted" in done.output


def test_settings_are_yaml() -> None:
    assert parse_settings(["a=[1, x]", "b=true", "c=null", "d=x=y", "e='07'", "f="]) == {
        "a": [1, "x"],
        "b": True,
        "c": None,
        "d": "x=y",
        "e": "07",
        "f": None,
    }
    with pytest.raises(InputError) as caught:
        parse_settings(["a", "b=[", "c=1"])
    assert len(caught.value.problems) == 2


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-999, 999)
    | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b_c"]), inner, max_size=2),
    max_leaves=5,
)


@given(VALUES)
def test_settings_come_through_a_profile_as_they_were(value: object) -> None:
    """Hydra's grammar of quotes and backslashes, against its own parser."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    override = OverridesParser.create().parse_override(f"++dataset.settings.key={override_value(value)}")
    assert override.value() == value


def test_tables_are_aligned() -> None:
    text = table([["class", "faces", "where"], ["happy", "1,234", "a page"], ["sad", "7", "b"]])
    assert text.splitlines() == ["  class  faces  where", "  happy  1,234  a page", "  sad        7  b"]
