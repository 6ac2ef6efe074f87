"""`s2l export`: what is chosen, the three forms, the card, the terms, and that equal faces make equal files."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from made_up_faces import PER_CLASS, write_workspace
from small_faces import CLASSES, face_row, noise

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from augment.faces.images import decode_image, encode_png
from augment.faces.licences import Licence, LicenceLine, card_values
from augment.faces.shards import CardFacts, write_faces
from augment.faces.splits import read_folds
from augment.faces.table import read_faces
from pipeline.cli import main
from pipeline.core.workspace import Artifacts
from pipeline.publishing import formats
from pipeline.publishing.card import card_text
from pipeline.publishing.columns import COLUMNS, DATA_NAMES, NAMES
from pipeline.publishing.description import Description, SplitCounts, read_description
from pipeline.publishing.export import ExportSettings, export_faces
from pipeline.publishing.formats import form_of
from pipeline.publishing.marks import SOURCE_TYPE, mark_of, marked_png
from pipeline.publishing.permissions import check_permissions
from pipeline.publishing.rows import Part, stream_rows
from pipeline.publishing.verify import verify_faces
from reports.code_version import describe_code

ROOT = Path(__file__).parent.parent.parent
FORMATS = ("parquet", "imagefolder", "webdataset")
KEPT = PER_CLASS - 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_workspace(tmp_path_factory.mktemp("run"))


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    description = read_description(folder)
    form = form_of(description.format, description.class_names)
    found = {split: list(form.read(folder, files)) for split, files in description.files.items()}
    for row in (row for rows in found.values() for row in rows):
        row["image"]["path"] = None  # where it lay, in folders of pictures
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# What is chosen


def test_all_kept_faces_and_the_real_ones_in_their_splits(run: Path, tmp_path: Path) -> None:
    made = export_faces(run, tmp_path / "out", ExportSettings(with_real=True))
    train = made.splits["train"]
    assert train.synthetic == {name: dict.fromkeys(CLASSES, KEPT) for name in ("lssl", "warp")}
    assert set(made.splits) == {"train", "validation", "test"}
    assert sum(sum(counts.real.values()) for counts in made.splits.values()) == 45
    assert not made.splits["test"].synthetic and train.per_class["sad"] == train.real["sad"] + 2 * KEPT
    assert made.translators["lssl"].steps == 5 and made.translators["warp"].steps is None
    rows = rows_of(tmp_path / "out")
    assert {split: len(found) for split, found in rows.items()} == {s: c.rows for s, c in made.splits.items()}
    people = {split: {row["subject"] for row in found} for split, found in rows.items()}
    assert not people["train"] & people["test"] and not people["validation"] & people["test"]


@pytest.mark.parametrize("format", FORMATS)
def test_every_form_has_the_same_rows_and_passes_the_check(run: Path, tmp_path: Path, format: str) -> None:
    export_faces(run, tmp_path / "plain", ExportSettings(with_real=True))
    made = export_faces(run, tmp_path / "out", ExportSettings(with_real=True, format=format))  # type: ignore[arg-type]
    assert rows_of(tmp_path / "out") == rows_of(tmp_path / "plain")
    assert verify_faces(tmp_path / "out") == made
    assert subprocess.run(["sha256sum", "--check", "--quiet", ".s2l"], cwd=tmp_path / "out").returncode == 0
    jsonschema.validate(
        json.loads((tmp_path / "out" / "dataset.json").read_text()),
        json.loads((tmp_path / "out" / "dataset.schema.json").read_text()),
    )


@pytest.mark.parametrize("format", FORMATS)
def test_equal_faces_make_equal_files(run: Path, tmp_path: Path, format: str) -> None:
    for name in ("one", "two"):
        export_faces(run, tmp_path / name, ExportSettings(with_real=True, format=format))  # type: ignore[arg-type]
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_smaller_export_is_part_of_a_larger_one(run: Path, tmp_path: Path) -> None:
    found = {}
    for count in (2, 5):
        export_faces(run, tmp_path / "out", ExportSettings(translators=("warp",), per_class=count))
        found[count] = {row["face_id"] for row in rows_of(tmp_path / "out")["train"]}
        assert len(found[count]) == 3 * count
    assert found[2] < found[5]


def test_more_than_were_kept_is_refused_with_the_number(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"angry {KEPT}, happy {KEPT}, sad {KEPT}.*{KEPT} or fewer"):
        export_faces(run, tmp_path / "out", ExportSettings(per_class=PER_CLASS))
    assert not (tmp_path / "out").exists()


def test_an_unknown_translator_and_a_damaged_run_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no translator of params.yaml.*there are lssl, warp"):
        export_faces(run, tmp_path / "out", ExportSettings(translators=("stargan",)))
    other = write_workspace(tmp_path)
    shard = next((other / "artifacts" / "selected" / "warp.s2l").rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="is not what was written"):
        export_faces(other, tmp_path / "out", ExportSettings())


def test_rows_of_several_parts_are_evenly_mixed(run: Path, tmp_path: Path) -> None:
    export_faces(run, tmp_path / "out", ExportSettings(with_real=True))
    makers = [row["translator"] for row in rows_of(tmp_path / "out")["train"]]
    whole = len(makers)
    for maker in set(makers):
        share = makers.count(maker) / whole
        seen = np.cumsum([found == maker for found in makers])
        assert np.abs(seen - share * np.arange(1, whole + 1)).max() <= 1.5


def test_files_are_cut_where_they_are_full(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "ROWS_PER_FILE", 20)
    for format in ("parquet", "webdataset"):
        made = export_faces(run, tmp_path / format, ExportSettings(format=format))  # type: ignore[arg-type]
        assert len(made.files["train"]) == 3 and made.files["train"][2].split("/")[1].startswith("train-00002-of-00003")
        assert verify_faces(tmp_path / format).splits["train"].rows == 2 * 3 * KEPT


def test_only_real_faces(run: Path, tmp_path: Path) -> None:
    part = Part(run / "artifacts" / "faces", np.ones(45, bool), {"sad": 45})
    assert sum(1 for _ in stream_rows([part], "train")) == 45
    assert {row["synthetic"] for row in stream_rows([part], "train")} == {False}


# The mark


def test_a_marked_picture_has_the_pixels_that_it_had() -> None:
    for channels in (1, 3):
        picture = encode_png(noise(3, channels=channels))
        row = face_row(3, face_id="a", translator="warp", source_id="Köln", seed=3)
        marked = marked_png(picture, row)
        assert np.array_equal(decode_image(marked), decode_image(picture))
        found = mark_of(marked)
        assert found is not None and found["source_id"] == "Köln" and found["synthetic"] is True
        assert SOURCE_TYPE.encode() in marked and mark_of(picture) is None


# The terms


def test_a_sentence_is_refused_by_name_and_the_holders_word_frees_it(tmp_path: Path) -> None:
    line = LicenceLine(data_set="FER2013", line="For research; take images made from it to be bound as the data are.")
    run = write_workspace(tmp_path / "run", Licence(lines=(line,)))
    with pytest.raises(InputError, match=r"synthetic faces of FER2013.*For research; take images") as refused:
        export_faces(run, tmp_path / "out", ExportSettings())
    assert "real faces of FER2013" not in str(refused.value) and not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="real faces of FER2013"):
        export_faces(run, tmp_path / "out", ExportSettings(with_real=True))
    said = {"FER2013": "the holders, by letter, May 2026"}
    made = export_faces(run, tmp_path / "out", ExportSettings(with_real=True, permissions=said))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "FER2013: the holders, by letter, May 2026" in card and "license: other" in card
    assert made.permissions[0].granted == said["FER2013"] and "--permission" in made.provenance.command
    with pytest.raises(InputError, match=r"is no data set of these faces.*there are FER2013"):
        export_faces(run, tmp_path / "out", ExportSettings(permissions={**said, "JAFFE": "me"}))


@pytest.mark.parametrize(
    ("line", "kind", "allowed"),
    [
        ("cc0-1.0", "synthetic faces", True),
        ("cc-by-nc-4.0", "synthetic faces", True),
        ("cc-by-nd-4.0", "real faces", True),
        ("cc-by-nd-4.0", "synthetic faces", False),
        ("my own photographs, all persons agreed", "synthetic faces", False),
    ],
)
def test_which_lines_allow_what(line: str, kind: Any, allowed: bool) -> None:
    licence = Licence(lines=(LicenceLine(data_set="mine", line=line),))
    if allowed:
        assert check_permissions([(kind, licence)])[0].granted == ""
    else:
        with pytest.raises(InputError, match=f'{kind} of mine.*"{line}"'):
            check_permissions([(kind, licence)])
        assert check_permissions([(kind, licence)], {"mine": "everybody"})[0].granted == "everybody"


def test_a_word_of_blanks_is_none() -> None:
    licence = Licence(lines=(LicenceLine(data_set="mine", line="ask us"),))
    with pytest.raises(InputError, match="ask us"):
        check_permissions([("real faces", licence)], {"mine": "  "})


# Classes that are no folders


@pytest.mark.parametrize(
    "names", [("a/b", "c"), ("..", "c"), ("Happy", "happy"), ("", "c"), ("con?", "c"), ("a ", "c")]
)
def test_classes_that_are_no_folders_are_refused_as_folders_alone(names: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="parquet or webdataset"):
        form_of("imagefolder", names)
    assert form_of("webdataset", names) and form_of("parquet", names)


def test_names_and_titles_are_no_markup_in_the_card(run: Path, tmp_path: Path) -> None:
    said = ExportSettings(with_real=True, title="x\n# y | <script>alert(1)</script> [a](b) `c` \u202e")
    made = export_faces(run, tmp_path / "out", said)
    names = ("a|b <b>x</b>", "![p](q)", "`c`")
    text = card_text(
        made.model_copy(
            update={
                "class_names": names,
                "splits": {"test": SplitCounts(rows=3, real=dict.fromkeys(names, 1))},
            }
        )
    )
    body = "\n".join(line for line in text.split("---\n", 2)[2].splitlines() if not line.startswith("- command: `"))
    command = next(line for line in text.splitlines() if line.startswith("- command: `"))  # code, as it was typed
    assert command.count("`") == 2 and "\u202e" not in command
    assert "<script>" not in body and "<b>" not in body and "\u202e" not in body and "\n# y" not in text
    assert (
        r"\<script\>alert(1)\</script\> \[a\](b) \`c\`" in body
        and r"a\|b \<b\>x\</b\>" in body
        and r"\!\[p\](q)" in body
    )
    table = next(line for line in body.splitlines() if line.startswith("| test |"))
    assert len(re.findall(r"(?<!\\)\|", table)) == 3 + 3 + 1
    assert card_values(tmp_path / "out")["pretty_name"] == made.title  # the YAML has it as it is


@pytest.mark.parametrize(
    "place", [".", "..", "artifacts", "artifacts/faces", "artifacts/new", ".ckpt", ".dvc/cache", "mine", "elsewhere"]
)
def test_nothing_of_a_run_or_of_somebody_else_is_replaced(tmp_path: Path, place: str) -> None:
    root = write_workspace(tmp_path / "run")
    (root / "mine").mkdir()
    (root / "mine" / "notes.txt").write_text("mine")
    (root / "elsewhere").mkdir()
    (root / "elsewhere" / "tool.txt").write_text("sealed by the tool, and no export")
    seal_folder(root / "elsewhere")
    before = digests(root)
    with pytest.raises(InputError, match=r"workspace|run's own|not touched"):
        export_faces(root, root / place, ExportSettings())
    assert digests(root) == before


def test_a_link_into_the_run_is_followed_and_refused(tmp_path: Path) -> None:
    root = write_workspace(tmp_path / "run")
    (tmp_path / "link").symlink_to(root / "artifacts" / "faces")
    with pytest.raises(InputError, match="run's own"):
        export_faces(root, tmp_path / "link", ExportSettings())


def test_the_code_is_that_of_the_run_and_not_of_the_export(tmp_path: Path) -> None:
    run = write_workspace(tmp_path / "run")
    made = export_faces(run, tmp_path / "out", ExportSettings()).provenance
    assert (made.commit, made.tree) == ("unknown", "unknown"), "there is no report"
    report = Artifacts(run).report
    report.mkdir(parents=True)
    (report / "metrics.json").write_text(json.dumps({"run": {"commit": "a" * 40, "tree": "changed"}}))
    made = export_faces(run, tmp_path / "out", ExportSettings()).provenance
    assert (made.commit, made.tree) == ("a" * 40, "changed") and made.exported_by == describe_code().commit
    assert f"code {'a' * 40} (tree changed)" in (tmp_path / "out" / "README.md").read_text()
    verify_faces(tmp_path / "out")


def test_a_fold_that_there_is_not(run: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--fold 7.*its folds: 0"):
        export_faces(run, tmp_path / "out", ExportSettings(fold=7))


# What others read


def test_hugging_face_reads_every_form(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for format in FORMATS:
        made = export_faces(run, tmp_path / format, ExportSettings(with_real=True, format=format))  # type: ignore[arg-type]
        found = datasets.load_dataset(str(tmp_path / format))
        assert {split: len(faces) for split, faces in found.items()} == {s: c.rows for s, c in made.splits.items()}
        rows = rows_of(tmp_path / format)["test"]
        key = "png" if format == "webdataset" else "image"
        assert found["test"][0][key].size == (16, 16)
        if format != "webdataset":
            # The order of an image folder is that of its files' names.
            assert sorted(found["test"]["face_id"]) == sorted(row["face_id"] for row in rows)
        if format == "parquet":
            assert found["train"].features["label"].names == list(CLASSES)
            assert found["train"].features["image"] == datasets.Image()


def test_torchvision_reads_the_folders(run: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    export_faces(run, tmp_path / "out", ExportSettings(format="imagefolder"))
    faces = ImageFolder(str(tmp_path / "out" / "train"))
    assert tuple(faces.classes) == CLASSES and len(faces) == 2 * 3 * KEPT


def test_a_class_without_a_face_has_a_folder_in_every_split(tmp_path: Path) -> None:
    """Without it, torchvision would number the others by one less in that split, and nothing would show it."""
    from torchvision.datasets import ImageFolder

    rows = [{**dict.fromkeys(DATA_NAMES), "label": 1, "label_name": CLASSES[1], "image": {"bytes": b"", "path": None}}]
    rows[0]["image"] = {"bytes": encode_png(noise(0)), "path": None}
    form_of("imagefolder", CLASSES).write(tmp_path, "test", rows, 1)
    with pytest.raises(FileNotFoundError):
        ImageFolder(str(tmp_path / "test"))
    assert [label for _, label in ImageFolder(str(tmp_path / "test"), allow_empty=True)] == [1]


def test_a_row_says_its_split_which_is_the_folds(tmp_path: Path) -> None:
    run = write_workspace(tmp_path / "run")
    artifacts = Artifacts(run)
    rows = read_faces(artifacts.faces).to_pylist()
    card = CardFacts("Made faces", "Noise.", "cc0-1.0")
    # The source's own split, which the folds don't follow.
    write_faces([row | {"split": "train"} for row in rows], artifacts.faces, CLASSES, card=card)
    made = export_faces(run, tmp_path / "out", ExportSettings(with_real=True))
    folds = read_folds(artifacts.folds)
    splits = dict(zip(folds.column("face_id").to_pylist(), folds.column("split").to_pylist(), strict=True))
    table = pq.read_table(tmp_path / "out" / "data")  # all files at once, as pandas would
    for row in table.select(["face_id", "split", "synthetic"]).to_pylist():
        assert row["split"] == ("train" if row["synthetic"] else splits[row["face_id"]])
    assert Counter(table.column("split").to_pylist()) == {name: counts.rows for name, counts in made.splits.items()}


# The page, and the commands


def test_the_page_has_the_columns() -> None:
    page = (ROOT / "docs" / "how-to" / "export.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.type} | {'yes' if column.nullable else ''} | {column.meaning} |" in page


def test_parquet_has_the_columns(run: Path, tmp_path: Path) -> None:
    made = export_faces(run, tmp_path / "out", ExportSettings())
    schema = pq.read_schema(tmp_path / "out" / made.files["train"][0])
    assert tuple(schema.names) == NAMES and isinstance(made, Description)


def s2l(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_the_commands(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    out = str(tmp_path / "out")
    assert s2l("export", out, "--with-real", "--per-class", "3", "--translator", "warp").exit_code == 0
    assert s2l("verify", out).exit_code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    result = s2l("verify", out)
    assert result.exit_code == 1 and "was added later" in result.output
    result = s2l("export", out)
    assert result.exit_code == 1 and "notes.txt" in result.output  # nothing of somebody else's is lost
    (tmp_path / "out" / "notes.txt").unlink()
    assert s2l("export", out).exit_code == 0
    assert s2l("export", out, "--permission", "nobody").exit_code == 2
    assert s2l("verify", str(tmp_path / "nothing")).exit_code == 1
    seal_folder(tmp_path)
    assert "is no export" in s2l("verify", str(tmp_path)).output
