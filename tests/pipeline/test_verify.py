"""`s2l verify` finds each thing that can be wrong with an exported folder, and nothing in one that is whole."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_faces import write_workspace
from small_faces import noise

from augment.core.errors import InputError
from augment.core.files import sha256_of_file
from augment.core.seals import seal_folder, write_seal
from augment.faces.images import decode_image, encode_png
from augment.faces.synthetic_mark import MARK
from pipeline.publishing.description import read_description
from pipeline.publishing.export import ExportSettings, export_faces
from pipeline.publishing.formats import form_of
from pipeline.publishing.marks import marked_png
from pipeline.publishing.verify import verify_faces

Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    export_faces(write_workspace(folder / "run"), folder / "out", ExportSettings(with_real=True))
    return folder / "out"


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported, tmp_path / "out")
    return tmp_path / "out"


def rewrite(folder: Path, change: Callable[[Rows], None]) -> None:
    """Changes rows and writes them again, with checksums and counts of files that fit: as somebody careful would."""
    description = read_description(folder)
    form = form_of(description.format, description.class_names)
    rows: Rows = {split: list(form.read(folder, files)) for split, files in description.files.items()}
    change(rows)
    for split, found in rows.items():
        form.write(folder, split, found, len(found))
    seal_folder(folder)


def first(rows: Rows, *, synthetic: bool, split: str = "train") -> dict[str, Any]:
    return next(row for row in rows[split] if row["synthetic"] == synthetic)


def picture(seed: int = 77, size: int = 16, channels: int = 1) -> dict[str, Any]:
    return {"bytes": encode_png(noise(seed, size, channels)), "path": None}


def test_a_whole_folder_is_well(copy: Path) -> None:
    rewrite(copy, lambda rows: None)
    assert verify_faces(copy).splits["train"].synthetic


def test_what_the_hub_and_git_put_beside_an_export_is_no_change(copy: Path) -> None:
    """The others are: a file of the same name deeper down, too."""
    for name in (".gitattributes", ".cache/huggingface/download/data/train.metadata", ".git"):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text("x")
    assert verify_faces(copy).format == "parquet"
    (copy / "data" / ".gitattributes").write_text("x")
    (copy / ".gitattributes.parquet").write_text("x")
    with pytest.raises(InputError, match="was added later") as error:
        verify_faces(copy)
    added = {Path(problem.where).relative_to(copy).as_posix() for problem in error.value.problems}
    assert added == {"data/.gitattributes", ".gitattributes.parquet"}


def test_changed_missing_and_added_files_are_named(copy: Path) -> None:
    shard = copy / "data" / "train-00000-of-00001.parquet"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))
    (copy / "README.md").unlink()
    (copy / "data" / "test-00001-of-00002.parquet").write_bytes(b"")
    with pytest.raises(InputError) as found:
        verify_faces(copy)
    wrong = {Path(problem.where).name: problem.why for problem in found.value.problems}
    assert "SHA-256" in wrong[shard.name] and "missing" in wrong["README.md"] and len(wrong) == 3


def _leak_person(rows: Rows) -> None:
    person = rows["test"][0]["subject"]
    first(rows, synthetic=False)["subject"] = person


def _leak_source(rows: Rows) -> None:
    row = first(rows, synthetic=True)
    row["source_id"] = rows["test"][0]["face_id"]
    row["image"] = {"bytes": marked_png(row["image"]["bytes"], row), "path": None}


def _leak_picture(rows: Rows) -> None:
    row = first(rows, synthetic=True)
    row["image"] = {"bytes": marked_png(rows["test"][0]["image"]["bytes"], row), "path": None}


def _hide_test_picture(rows: Rows) -> None:
    """A test picture among the real training faces, under another name and of another person."""
    row = first(rows, synthetic=False)
    other = next(found for found in rows["test"] if found["label"] == row["label"])
    row["image"] = dict(other["image"])


def _swap_labels(rows: Rows) -> None:
    made = [row for row in rows["train"] if row["synthetic"]]
    one = next(row for row in made if row["label"] == 0)
    other = next(row for row in made if row["label"] == 1)
    for name in ("label", "label_name"):
        one[name], other[name] = other[name], one[name]


def _deep_mark(rows: Rows) -> None:
    row = first(rows, synthetic=True)
    text = encode_png(decode_image(row["image"]["bytes"]), {MARK: "[" * 100_000})
    row["image"] = {"bytes": text, "path": None}


def _unmark(rows: Rows) -> None:
    row = first(rows, synthetic=True)
    row["image"] = {"bytes": encode_png(decode_image(row["image"]["bytes"])), "path": None}


def _mark_real(rows: Rows) -> None:
    row = first(rows, synthetic=False)
    row["image"] = {"bytes": marked_png(row["image"]["bytes"], row), "path": None}


def _call_real(rows: Rows) -> None:
    first(rows, synthetic=True)["synthetic"] = False


def _held_out_synthetic(rows: Rows) -> None:
    row = first(rows, synthetic=True)
    rows["train"].remove(row)
    rows["test"].append(row)


def _set(name: str, value: Any, *, synthetic: bool = True) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        first(rows, synthetic=synthetic)[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_leak_person, "lies in test and train"),
        (_leak_source, "is a test face"),
        (_leak_picture, "is the same picture as made/.* \\(test\\)"),
        (_hide_test_picture, "share pictures, such as made/"),
        (_swap_labels, "mark says another label_name"),
        (_deep_mark, "is not marked so"),
        (_set("confidence", float("nan")), r"confidence is nan, not in 0\.\.1"),
        (_set("identity_shift", 17.0), r"identity_shift is 17\.0, not in 0\.\.1"),
        (_held_out_synthetic, "synthetic faces are to train on|are described"),
        (_unmark, "is not marked so"),
        (_mark_real, "is marked as synthetic"),
        (_call_real, "called real"),
        (_set("label", 2), r"label 2 is not|are described"),
        (_set("label", 9), "label 9 is not"),
        (_set("label_name", None), "label_name is null"),
        (_set("split", "test"), "says that it is of the split 'test'"),
        (_set("split", "train ", synthetic=False), "says that it is of the split 'train '"),
        (_set("translator", "nobody"), "is not described"),
        (_set("source_id", None), "lacks source_id"),
        (_set("source", "bogus"), "is synthetic, and of the source 'bogus'"),
        (_set("subject", "person of nowhere"), "and its source face .* of person"),
        (_set("weights_sha256", "0" * 64), "mark says another weights_sha256|weights_sha256 is not that of"),
        (_set("image", picture(size=8)), "8x8x1, not 16x16x1"),
        (_set("image", picture(channels=3)), "16x16x3, not 16x16x1"),
        (_set("image", {"bytes": b"\x89PNG no more", "path": None}), "can't be decoded"),
        (lambda rows: rows["train"].append(rows["train"][0]), "occurs twice"),
        (lambda rows: rows["train"].pop(), "are described"),
    ],
)
def test_what_is_wrong_is_found_though_the_checksums_fit(copy: Path, change: Callable[[Rows], None], said: str) -> None:
    rewrite(copy, change)
    with pytest.raises(InputError, match=said):
        verify_faces(copy)


def _stray_shard(folder: Path) -> None:
    """What `data/train-*.parquet` takes, and the description does not name."""
    shutil.copy(folder / "data" / "test-00000-of-00001.parquet", folder / "data" / "train-00001-of-00002.parquet")


def _swap_card(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("data/test-*", "data/x-*").replace("data/train-*", "data/test-*"))


def _change_terms(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("line: cc0-1.0", "line: mit"))


def _in_card(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / "README.md").read_text()
        assert old in text
        (folder / "README.md").write_text(text.replace(old, new, 1))

    return change


def _in_description(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def changed(folder: Path) -> None:
        values = json.loads((folder / "dataset.json").read_text())
        change(values)
        (folder / "dataset.json").write_text(json.dumps(values))

    return changed


def _other_classes(folder: Path) -> None:
    """In the metadata by which Hugging Face's readers go, and nowhere else."""
    file = folder / "data" / "test-00000-of-00001.parquet"
    table = pq.read_table(file)
    metadata = {**table.schema.metadata, b"huggingface": table.schema.metadata[b"huggingface"].replace(b"sad", b"mad")}
    pq.write_table(table.replace_schema_metadata(metadata), file)


def _half_a_sheet(folder: Path) -> None:
    sheet = folder / "contact-sheet.png"
    sheet.write_bytes(sheet.read_bytes()[: sheet.stat().st_size // 2])


def _lead_out(folder: Path) -> None:
    """The file itself lies beside the folder."""
    file = folder / "data" / "test-00000-of-00001.parquet"
    outside = folder.parent / "outside.parquet"
    shutil.move(file, outside)
    file.symlink_to(outside)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_lead_out, "is a link that leads out of the folder"),
        (_in_card("license: cc0-1.0", "license: mit"), "says another license at its head"),
        (_in_card("| train | real |", "| train | real, all |"), "does not say what dataset.json does"),
        (_in_card("## Columns", "<script>alert(1)</script>\n\n## Columns"), "has no HTML"),
        (_in_description(lambda values: values.update(title="Another")), "says another pretty_name"),
        (_in_description(lambda values: values["provenance"].update(commit="f" * 40)), "does not say what dataset"),
        (
            _in_description(lambda values: values["translators"]["lssl"].update(weights_sha256="0" * 64)),
            "does not say what dataset.json does|weights_sha256 is not that of lssl",
        ),
        (_other_classes, "has not the classes and types of an export in its metadata"),
        (_half_a_sheet, "contact-sheet.png: is no picture"),
        (_stray_shard, "train-00001-of-00002.parquet: is no file that dataset.json names"),
        (_swap_card, "does not name the files of each split"),
        (_change_terms, "does not name the terms"),
        (lambda folder: (folder / "README.md").unlink(), "does not name the files of each split"),
        (lambda folder: (folder / "dataset.schema.json").write_text("{}"), "is not the schema of version 2"),
        (lambda folder: os.mkfifo(folder / "pipe"), "is neither a folder nor a file"),
        (lambda folder: (folder / "link").symlink_to("/etc"), "is neither a folder nor a file"),
        (lambda folder: (folder / "link").symlink_to("nowhere"), "is neither a folder nor a file"),
    ],
)
def test_files_that_mislead_other_readers_are_found(copy: Path, change: Callable[[Path], object], said: str) -> None:
    change(copy)
    (copy / ".s2l").unlink()
    write_seal(
        copy,
        {
            str(path.relative_to(copy)): sha256_of_file(path)
            for path in copy.rglob("*")
            if path.is_file() and not path.is_symlink()
        },
    )
    with pytest.raises(InputError, match=said):
        verify_faces(copy)


def test_pictures_that_the_source_has_twice_are_described_and_no_fault(tmp_path: Path) -> None:
    run = write_workspace(tmp_path / "run", twice=True)
    made = export_faces(run, tmp_path / "out", ExportSettings(with_real=True))
    assert made.shared_pictures == 1 and verify_faces(tmp_path / "out") == made


def test_synthetic_faces_in_test_are_found_without_real_ones_too(exported: Path, tmp_path: Path) -> None:
    export_faces(exported.parent / "run", tmp_path / "out", ExportSettings())
    about = json.loads((tmp_path / "out" / "dataset.json").read_text())
    about["splits"] = {"test": about["splits"]["train"]}
    about["files"] = {"test": about["files"]["train"]}
    (tmp_path / "out" / "dataset.json").write_text(json.dumps(about))
    seal_folder(tmp_path / "out")
    with pytest.raises(InputError, match="in a split that is to test with"):
        verify_faces(tmp_path / "out")


def test_a_picture_in_another_classs_folder_is_found(exported: Path, tmp_path: Path) -> None:
    made = export_faces(exported.parent / "run", tmp_path / "out", ExportSettings(format="imagefolder"))
    metadata = tmp_path / "out" / made.files["train"][0]
    table = pq.read_table(metadata)
    names = table.column("file_name").to_pylist()
    other = names[0].replace(names[0].split("/")[0], "sad" if not names[0].startswith("sad") else "happy")
    (metadata.parent / names[0]).rename(metadata.parent / other)
    changed = table.set_column(0, table.schema.field(0), pa.array([other, *names[1:]]))
    pq.write_table(changed, metadata)
    seal_folder(tmp_path / "out")
    with pytest.raises(InputError, match="and its picture is"):
        verify_faces(tmp_path / "out")


def test_twenty_problems_are_listed_and_the_others_counted(copy: Path) -> None:
    def change(rows: Rows) -> None:
        for row in rows["train"]:
            row["label"] = 9

    rewrite(copy, change)
    with pytest.raises(InputError, match=r"20 problems, and \d+ more") as found:
        verify_faces(copy)
    assert len(found.value.problems) == 20


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": "1"}, "this tool reads '2'"),
        ({"size": 0}, "size"),
        ({"format": "zip"}, "format"),
        ({"unheard": 1}, "unheard"),
        ({"class_names": []}, "class_names"),
        ({"licence": []}, "licence"),
        ({"columns": []}, "columns are not those"),
        ({"splits": {}}, "different splits"),
        ({"files": {"train": ["data/a\0b"]}}, "has a name that there can't be"),
        ({"files": {"train": ["../../secret.parquet"]}}, "leads out of the folder"),
        ({"files": {"train": ["/etc/passwd"]}}, "leads out of the folder"),
        ({"files": {"train": ["C:\\secret"]}}, "leads out of the folder"),
    ],
)
def test_a_description_that_is_none_is_refused(copy: Path, change: dict[str, Any], said: str) -> None:
    path = copy / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    seal_folder(copy)
    with pytest.raises(InputError, match=said):
        verify_faces(copy)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_description_says_what_mends_it(copy: Path, text: str) -> None:
    (copy / "dataset.json").write_text(text)
    seal_folder(copy)
    with pytest.raises(InputError, match="export it again") as caught:
        verify_faces(copy)
    assert "stage" not in str(caught.value) and "update" not in str(caught.value)


def test_a_row_that_can_not_be_read_is_not_missed_too(copy: Path) -> None:
    rewrite(copy, _set("identity_shift", 17.0))
    with pytest.raises(InputError) as caught:
        verify_faces(copy)
    assert len(caught.value.problems) == 1


def _archive(size: int, *, sparse: bool = False) -> bytes:
    """An archive whose first member claims so many bytes."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("0000000.png"))
    data = bytearray(sink.getvalue())
    data[124:136] = b"\x80" + size.to_bytes(11, "big")  # base 256, as GNU writes what octal digits can't say
    if sparse:
        data[156:157] = b"S"
        data[386:410] = b"%011o\0%011o\0" % (0, 0)
        data[483:495] = b"%011o\0" % min(size, 8**11 - 1)
        data[124:136] = b"%011o\0" % 0
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    ("archive", "said"),
    [(_archive(10**15), "bytes, and no face has more|can't be read"), (_archive(10**9, sparse=True), "no plain file")],
)
def test_members_that_claim_more_than_a_face_has_are_refused_by_their_header(
    exported: Path, tmp_path: Path, archive: bytes, said: str
) -> None:
    made = export_faces(exported.parent / "run", tmp_path / "out", ExportSettings(format="webdataset"))
    (tmp_path / "out" / made.files["train"][0]).write_bytes(archive)
    seal_folder(tmp_path / "out")
    with pytest.raises(InputError, match=said):
        verify_faces(tmp_path / "out")


def _leading_out(metadata: Path) -> bytes:
    """A table whose first picture lies outside the folder."""
    table = pq.read_table(metadata)
    names = table.column("file_name").to_pylist()
    names[0] = f"../../../{metadata.parent.name}/{names[0]}"
    sink = pa.BufferOutputStream()
    pq.write_table(table.set_column(0, table.schema.field(0), pa.array(names)), sink)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("format", ["imagefolder", "webdataset"])
def test_other_forms_with_rows_that_are_none(exported: Path, tmp_path: Path, format: str) -> None:
    run = exported.parent / "run"
    made = export_faces(run, tmp_path / "out", ExportSettings(format=format))  # type: ignore[arg-type]
    file = tmp_path / "out" / made.files["train"][0]
    data = file.read_bytes()
    damaged = {
        "imagefolder": [data[:700], (tmp_path / "out" / "contact-sheet.png").read_bytes(), b""],
        "webdataset": [data[:700], data.replace(b"0000000.cls", b"0000000.cla", 1), b"no archive", b""],
    }
    if format == "imagefolder":
        damaged[format].append(_leading_out(file))
    for found in damaged[format]:
        file.write_bytes(found)
        seal_folder(tmp_path / "out")
        with pytest.raises(InputError):
            verify_faces(tmp_path / "out")
