"""The source `folder` on what people's folders are like: wrappers, names, links, system files, own splits."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIG_DFL, SIGALRM, alarm, signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_faces import file_bytes, noise, write_picture

from augment.core.errors import InputError, Problem
from augment.faces.frames import holds_several_frames
from augment.faces.images import encode_png
from augment.sources import RawFace, Source, open_source
from augment.sources.base import reading_notes
from augment.sources.class_names import like_names, name_problems, natural_key


def write(root: Path, *names: str) -> Path:
    for name in names:
        write_picture(root / name, sum(map(ord, str(root / name))))
    return root


def read(source: Source) -> tuple[list[RawFace], list[Problem]]:
    found = list(source.faces())
    faces = [item for item in found if isinstance(item, RawFace)]
    return faces, [item for item in found if isinstance(item, Problem)]


def labels(root: Path) -> list[tuple[str | None, str]]:
    faces, problems = read(open_source("folder", root))
    assert not problems
    return sorted({(face.split, face.label_name) for face in faces}, key=str)


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """Ends a walk that does not end: a test that hangs tells nobody why."""

    def too_long(*_: object) -> None:
        raise AssertionError(f"not done within {seconds} s")

    signal(SIGALRM, too_long)
    alarm(seconds)
    try:
        yield
    finally:
        alarm(0)
        signal(SIGALRM, SIG_DFL)


# Names of classes.


@pytest.mark.parametrize("other", ["Happy", "happy ", " happy", "HAPPY", "\N{FULLWIDTH LATIN SMALL LETTER H}appy"])
def test_class_folders_that_read_alike_are_one_problem(tmp_path: Path, other: str) -> None:
    write(tmp_path, "happy/1.png", f"{other}/2.png", "sad/1.png")
    with pytest.raises(
        InputError, match=r"are one class by their names.*write each as 'happy': rename the f"
    ) as caught:
        open_source("folder", tmp_path)
    (problem,) = caught.value.problems
    assert "happy/" in problem.where and f"{other}/" in problem.where and "sad" not in str(problem)


def test_two_forms_of_an_accent_are_one_class(tmp_path: Path) -> None:
    write(tmp_path, "f\N{LATIN SMALL LETTER A WITH GRAVE}/1.png", "fa\N{COMBINING GRAVE ACCENT}/1.png", "fa/1.png")
    with pytest.raises(InputError, match=r"are one class .*'fa\\u0300'") as caught:
        open_source("folder", tmp_path)
    assert len(caught.value.problems) == 1  # `fa` without an accent is another class


def test_a_class_written_differently_in_two_splits_is_not_blamed_on_subjects(tmp_path: Path) -> None:
    write(tmp_path, "train/angry/1.png", "train/sad/1.png", "test/Angry/1.png", "test/sad/1.png")
    with pytest.raises(InputError, match=r"test/Angry/, train/angry/: are one class by their names"):
        open_source("folder", tmp_path)


def test_a_name_with_blanks_around_it_is_refused_alone_too(tmp_path: Path) -> None:
    write(tmp_path, "angry /1.png", "sad/1.png")
    with pytest.raises(InputError, match=r"angry /: 'angry ' has blanks around it \(write 'angry'"):
        open_source("folder", tmp_path)


def test_names_that_differ_otherwise_are_different_classes(tmp_path: Path) -> None:
    write(tmp_path, "very happy/1.png", "happy/1.png", "unhappy/1.png", "happy2/1.png")
    assert open_source("folder", tmp_path).class_names == ("happy", "happy2", "unhappy", "very happy")


def test_class_names_of_the_settings_are_held_to_the_same(tmp_path: Path) -> None:
    write(tmp_path, "Happy/1.png", "sad/1.png")
    _, problems = read(open_source("folder", tmp_path, class_names=("happy", "sad")))
    assert any("rename it to 'happy', as class_names has it" in str(problem) for problem in problems)
    with pytest.raises(InputError, match=r"class_names: .*are one class by their names"):
        open_source("folder", tmp_path, class_names=("Happy", "happy", "sad"))


def test_labels_of_tables_that_read_alike_are_one_problem(tmp_path: Path) -> None:
    columns = {"image": [encode_png(noise(n)) for n in range(3)], "label": ["happy", "Happy", "sad"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(InputError, match=r"column label, column label: are one class .*'Happy', 'happy'"):
        open_source("parquet", tmp_path / "t.parquet")


def test_numbered_classes_are_in_the_order_that_people_count(tmp_path: Path) -> None:
    names = ("0", "1", "2", "10", "11")
    write(tmp_path / "folders", *(f"{name}/1.png" for name in names))
    assert open_source("folder", tmp_path / "folders").class_names == names
    columns = {"image": [encode_png(noise(n)) for n in range(5)], "label": list(reversed(names))}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    assert open_source("parquet", tmp_path / "t.parquet").class_names == names


def test_names_without_numbers_keep_the_order_of_their_letters() -> None:
    names = ["sad", "Zorn", "angry", "happy", "\N{LATIN SMALL LETTER A WITH DIAERESIS}rger", "take"]
    assert sorted(names, key=natural_key) == sorted(names)
    many = ["take 10", "take 9", "take 09", "9" * 5000, "1" * 5000, "take"]
    assert sorted(many, key=natural_key) == ["1" * 5000, "9" * 5000, "take", "take 09", "take 9", "take 10"]
    assert like_names(many) == {} and name_problems({name: [name] for name in many}, str, "") == []


# Where the class folders lie.


@pytest.mark.parametrize(
    ("names", "found", "note"),
    [
        (["my-faces/angry/1.png", "my-faces/happy/1.png"], [(None, "angry"), (None, "happy")], "my-faces/"),
        (["a/b/angry/1.png", "a/b/happy/1.png"], [(None, "angry"), (None, "happy")], "a/b/"),
        (
            ["archive/train/frown/1.png", "archive/test/frown/1.png"],
            [("test", "frown"), ("train", "frown")],
            "archive/",
        ),
        (["train/train/frown/1.png", "test/frown/1.png"], [("test", "frown"), ("train", "frown")], "train/train/"),
        (["train/train/angry/1.png", "train/test/angry/1.png"], [("test", "angry"), ("train", "angry")], "train/"),
        (
            ["train/images/angry/1.png", "train/images/sad/1.png", "test/angry/1.png"],
            [("test", "angry"), ("train", "angry"), ("train", "sad")],
            "train/images/",
        ),
    ],
)
def test_a_wrapper_is_gone_through_and_that_is_said(
    tmp_path: Path, names: list[str], found: list[tuple[str | None, str]], note: str
) -> None:
    write(tmp_path, *names)
    assert labels(tmp_path) == found
    assert any(f"from {note}, the only folder there" in line for line in reading_notes(open_source("folder", tmp_path)))


@pytest.mark.parametrize(
    ("names", "root", "why"),
    [
        (["my-faces/frown/1.png", "my-faces/grin/1.png"], "my-faces", "if those are the classes"),
        (["train/train/a/1.png", "train/test/a/1.png", "test/a/1.png"], "train", "holds folders of splits itself"),
        (["archive/train/a/1.png", "archive/test/a/1.png", "notes/x/1.png"], "archive", "lies beside others"),
        (["2019/angry/1.png", "2019/sad/1.png", "2020/angry/1.png"], "2019", "holds folders of classes"),
    ],
)
def test_a_root_that_can_be_read_in_two_ways_is_refused_with_the_one_to_use(
    tmp_path: Path, names: list[str], root: str, why: str
) -> None:
    write(tmp_path, *names)
    with pytest.raises(InputError, match=why) as caught:
        open_source("folder", tmp_path)
    assert f"use dataset.root={tmp_path / root}" in str(caught.value)


def test_folders_of_people_below_the_classes_are_no_wrapper(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{person}/1.png" for name in ("frown", "grin") for person in ("S1", "S2")))
    assert labels(tmp_path) == [(None, "frown"), (None, "grin")] and not reading_notes(open_source("folder", tmp_path))
    write(tmp_path / "one", "happy/S1/1.png", "happy/S2/1.png")
    assert labels(tmp_path / "one") == [(None, "happy")]  # and no classes S1 and S2


def test_splits_below_the_classes_are_refused_and_not_ignored(tmp_path: Path) -> None:
    write(tmp_path, *(f"{name}/{split}/1.png" for name in ("frown", "grin") for split in ("train", "test")))
    with pytest.raises(
        InputError, match=r"grin/: holds its own folders of splits: test, train .*make grin/test to test"
    ):
        open_source("folder", tmp_path)


def test_a_split_folder_within_another_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "train/a/1.png", "train/b/1.png", "train/test/1.png", "test/a/1.png")
    faces, problems = read(open_source("folder", tmp_path))
    assert {face.label_name for face in faces} == {"a", "b"}
    assert [problem.where for problem in problems] == ["train/test/"]


def test_class_folders_beside_a_test_folder_are_read(tmp_path: Path) -> None:
    write(tmp_path, "test/a/1.png", "test/b/1.png", "a/2.png", "b/2.png", "notes/1.png")
    faces, problems = read(open_source("folder", tmp_path))
    assert Counter((face.split, face.label_name) for face in faces) == {
        (split, name): 1 for split in ("test", None) for name in "ab"
    }
    assert [problem.where for problem in problems] == ["notes"]


# Folders of people above the classes.


def test_folders_of_people_above_the_classes_name_the_people(tmp_path: Path) -> None:
    write(tmp_path, "S1/happy/1.png", "S1/sad/deeper/1.png", "S2/happy/1.png")
    with pytest.raises(
        InputError,
        match=r"S1/: holds folders of classes, happy, sad.* is a person, set dataset\.settings\.subject_folders=true",
    ):
        open_source("folder", tmp_path)
    source = open_source("folder", tmp_path, subject_folders=True)
    faces, problems = read(source)
    assert not problems and source.class_names == ("happy", "sad")
    assert [(face.name, face.label_name, face.subject, face.split) for face in faces] == [
        ("S1/happy/1.png", "happy", "S1", None),
        ("S1/sad/deeper/1.png", "sad", "S1", None),
        ("S2/happy/1.png", "happy", "S2", None),
    ]


def test_people_may_stand_below_the_splits(tmp_path: Path) -> None:
    write(tmp_path, "train/S1/frown/1.png", "train/S2/grin/1.png", "Test/S3/frown/1.png", "notes/S4/frown/1.png")
    faces, problems = read(open_source("folder", tmp_path, subject_folders=True))
    assert {(face.split, face.subject, face.label_name) for face in faces} == {
        ("train", "S1", "frown"),
        ("train", "S2", "grin"),
        ("test", "S3", "frown"),
    }
    assert [problem.where for problem in problems] == ["notes"]


def test_what_lies_beside_the_folders_of_people_is_a_problem(tmp_path: Path) -> None:
    write(tmp_path, "S1/happy/1.png", "S1/2.png", "3.png")
    (tmp_path / "S2").mkdir()
    (tmp_path / "S3" / "sad").mkdir(parents=True)
    _, problems = read(open_source("folder", tmp_path, subject_folders=True))
    assert {problem.where for problem in problems} == {"S1/2.png", "3.png", "S2/", "S3/sad/"}
    write(tmp_path, "S2/Happy/1.png")
    with pytest.raises(InputError, match=r"S2/Happy/, S1/happy/: are one class by their names"):
        open_source("folder", tmp_path, subject_folders=True)


@pytest.mark.parametrize(
    ("names", "people", "note"),
    [
        (
            ["my-faces/S1/happy/1.png", "my-faces/S2/sad/1.png"],
            {(None, "S1", "happy"), (None, "S2", "sad")},
            "my-faces/",
        ),
        (["a/b/S1/frown/1.png", "a/b/S2/frown/1.png"], {(None, "S1", "frown"), (None, "S2", "frown")}, "a/b/"),
        (
            ["arch/train/S1/happy/1.png", "arch/test/S2/happy/1.png"],
            {("train", "S1", "happy"), ("test", "S2", "happy")},
            "arch/",
        ),
        (["Dev/happy/1.png", "Ann/happy/1.png"], {(None, "Dev", "happy"), (None, "Ann", "happy")}, None),  # a person
        (["S1/happy/1.png", "S1/sad/1.png"], {(None, "S1", "happy"), (None, "S1", "sad")}, None),
    ],
)
def test_people_are_found_in_wrappers_and_are_no_splits(
    tmp_path: Path, names: list[str], people: set[tuple[str | None, str, str]], note: str | None
) -> None:
    write(tmp_path, *names)
    source = open_source("folder", tmp_path, subject_folders=True)
    faces, problems = read(source)
    assert not problems and {(face.split, face.subject, face.label_name) for face in faces} == people
    notes = reading_notes(source)
    assert not notes if note is None else any(f"from {note}, the only folder there" in line for line in notes)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["happy/S1/1.png", "sad/S1/1.png"], r"holds folders of classes, happy, sad.*leave subject_folders out"),
        (["S1/train/happy/1.png", "S2/test/sad/1.png"], r"S1/train/: is a folder of a split.*train/S1/<class>"),
        (["S1/one/happy/1.png", "S1/one/sad/1.png", "S2/two/sad/1.png"], r"S1/one/: is where a class should be"),
    ],
)
def test_other_layouts_are_not_taken_for_folders_of_people(tmp_path: Path, names: list[str], why: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(InputError, match=why):
        open_source("folder", tmp_path, subject_folders=True)


def test_class_folders_hold_no_folders_of_people_unless_they_do(tmp_path: Path) -> None:
    write(tmp_path, "frown/1.png", "grin/1.png")
    with pytest.raises(InputError, match="has no folders of people with class folders"):
        open_source("folder", tmp_path, subject_folders=True)
    with pytest.raises(InputError, match="subject_pattern and subject_folders both name the people"):
        open_source("folder", tmp_path, subject_folders=True, subject_pattern=r"(?P<subject>s\d+)")


# What lies in them.


def test_system_files_and_thumbnails_are_ignored_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "happy/1.png", "sad/1.png", "happy/@eaDir/1.png/SYNOPHOTO_THUMB_M.png", "__MACOSX/happy/._1.png")
    write(tmp_path, "sad/.thumbnails/1.png", "sad/thumbnails/1.png", "happy/._1.png", "sad/._1.png")
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "happy" / "Thumbs.db").write_bytes(b"x")
    source = open_source("folder", tmp_path)
    assert labels(tmp_path) == [(None, "happy"), (None, "sad")] and len(source) == 2  # type: ignore[arg-type]
    (note,) = reading_notes(source)
    for name in ("._* 2", "@eaDir 1", "__MACOSX 1", ".DS_Store 1", "Thumbs.db 1", ".thumbnails 1", "thumbnails 1"):
        assert name in note
    list(source.faces())
    assert reading_notes(source) == (note,)  # counted once, however often it is read


def test_links_are_followed_inside_the_root_only(tmp_path: Path) -> None:
    root = write(tmp_path / "root", "happy/1.png", "sad/1.png", "sad/more/2.png")
    outside = write(tmp_path / "outside", "secret.png")
    (root / "happy" / "inside.png").symlink_to("../sad/1.png")
    (root / "happy" / "inside").symlink_to("../sad/more")
    (root / "happy" / "secret.png").symlink_to(outside / "secret.png")
    (root / "happy" / "secrets").symlink_to(outside)
    (root / "happy" / "gone.png").symlink_to("nowhere.png")
    (root / "calm").symlink_to(outside)
    faces, problems = read(open_source("folder", root))
    assert {face.name for face in faces} == {
        *("happy/1.png", "happy/inside.png", "happy/inside/2.png", "sad/1.png", "sad/more/2.png")
    }
    assert {problem.where: problem.why for problem in problems} == {
        "calm": "is a link that leads outside the root",
        "happy/secret.png": "is a link that leads outside the root",
        "happy/secrets": "is a link that leads outside the root",
        "happy/gone.png": "is a link that leads nowhere",
    }


def test_a_root_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    write(tmp_path / "disk", "happy/1.png", "sad/1.png")
    (tmp_path / "faces").symlink_to("disk")
    assert labels(tmp_path / "faces") == [(None, "happy"), (None, "sad")]


def test_loops_of_links_end(tmp_path: Path) -> None:
    write(tmp_path, "happy/1.png", "happy/z/2.png", "sad/1.png")
    (tmp_path / "happy" / "self").symlink_to(".")
    (tmp_path / "happy" / "z" / "up").symlink_to("../../happy")
    (tmp_path / "happy" / "a").symlink_to("z")
    (tmp_path / "happy" / "ring").symlink_to("ring")
    for number in range(12):  # each doubles the ways: 2^12 were they all gone
        folder = tmp_path / "sad" / f"d{number}"
        folder.mkdir()
        for side in "lr":
            (folder / side).symlink_to(f"../d{number + 1}")
    (tmp_path / "sad" / "d12").mkdir()
    with within(20):
        faces, problems = read(open_source("folder", tmp_path))
    assert {face.name for face in faces} == {"happy/1.png", "happy/z/2.png", "sad/1.png"}
    by_where = {problem.where: problem.why for problem in problems}
    assert by_where["happy/self"] == by_where["happy/z/up"] == "is a link to a folder that it lies in"
    assert by_where["happy/a"] == "is a link to a folder whose pictures are taken already"
    assert "happy/ring" in by_where


def test_pipes_and_sockets_are_named_and_never_opened(tmp_path: Path) -> None:
    write(tmp_path, "happy/1.png", "sad/1.png")
    os.mkfifo(tmp_path / "happy" / "pipe.png")
    os.mkfifo(tmp_path / "stray")
    (tmp_path / "sad" / "null.png").symlink_to("../happy/pipe.png")
    with within(20):
        faces, problems = read(open_source("folder", tmp_path))
    assert len(faces) == 2
    assert {problem.where: problem.why for problem in problems} == {
        "happy/pipe.png": "is a named pipe",
        "stray": "is a named pipe",
        "sad/null.png": "is a link to a named pipe",
    }


@pytest.mark.parametrize("place", [b"\xff\xfe", b"happy/\xff", b"happy/\xff.png"])
def test_names_that_are_not_utf8_are_named_problems(tmp_path: Path, place: bytes) -> None:
    write(tmp_path, "happy/1.png", "sad/1.png")
    path = tmp_path / os.fsdecode(place)
    picture = path if path.suffix else path / "1.png"
    picture.parent.mkdir(exist_ok=True)
    shutil.copyfile(tmp_path / "sad" / "1.png", picture)
    source = open_source("folder", tmp_path)
    faces, (problem,) = read(source)
    assert source.class_names == ("happy", "sad") and len(faces) == 2
    assert problem.why == "has a name that is not UTF-8" and "\\udcff" in problem.where
    str(problem).encode()


def test_the_published_sets_read_no_link_that_leads_outside(tmp_path: Path) -> None:
    from data_sets import modules_of_tests

    root = modules_of_tests()["jaffe"].small_copy(tmp_path / "copy")
    before, _ = read(open_source("jaffe", root))
    moved = root / str(before[0].path)
    shutil.move(moved, tmp_path / "elsewhere.tiff")
    moved.symlink_to(tmp_path / "elsewhere.tiff")
    faces, (problem,) = read(open_source("jaffe", root))
    assert len(faces) == len(before) - 1 and problem.why == "is a link that leads outside the root"


# Pictures that hold several.


def several(kind: str) -> bytes:
    pictures = [Image.fromarray(noise(seed)) for seed in range(3)]
    return file_bytes(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize(("kind", "name"), [("GIF", "a.gif"), ("WEBP", "a.webp"), ("PNG", "a.png"), ("TIFF", "a.tif")])
def test_a_picture_of_several_frames_is_a_named_problem_in_every_source(tmp_path: Path, kind: str, name: str) -> None:
    write(tmp_path / "folders", "happy/1.png", "sad/1.png")
    (tmp_path / "folders" / "happy" / name).write_bytes(several(kind))
    columns = {"image": [several(kind)], "label": ["happy"]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    columns = {"image": [several(kind)], "emotion": [3], "usage": ["Training"]}
    pq.write_table(pa.table(columns), tmp_path / "fer2013.parquet")
    write(tmp_path / "kaggle", "train/happy/1.png", "test/happy/1.png")
    (tmp_path / "kaggle" / "train" / "happy" / name).write_bytes(several(kind))
    for source, root in (("folder", "folders"), ("parquet", "t.parquet"), ("fer2013", "fer2013.parquet")):
        _, problems = read(open_source(source, tmp_path / root))
        assert [problem.why.split(",")[0] for problem in problems] in (
            ["holds several frames"],
            ["holds several pages"],
        )
    _, problems = read(open_source("fer2013", tmp_path / "kaggle"))
    assert [problem.where for problem in problems] == [f"train/happy/{name}"]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "JPEG", "BMP"])
def test_a_picture_of_one_frame_holds_one(kind: str) -> None:
    assert not holds_several_frames(file_bytes(noise(0), kind))


def test_previews_beside_a_picture_are_no_frames() -> None:
    """Phones write a second picture behind a JPEG, and cameras a smaller page into a TIFF."""
    pictures = [Image.fromarray(noise(seed, 32, 3)) for seed in range(2)]
    assert not holds_several_frames(file_bytes(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[254] = 1  # NewSubfileType: a version of lower resolution
    small = pictures[0].resize((8, 8))
    small.encoderinfo = {"tiffinfo": tags}
    assert not holds_several_frames(file_bytes(pictures[0], "TIFF", save_all=True, append_images=[small]))
    assert not holds_several_frames(b"GIF89a") and not holds_several_frames(b"")


def test_linked_folders_of_fer2013_are_read_and_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "fer", "train/happy/Training_1.png", "test/happy/PrivateTest_2.png", "train/sad/Training_4.png")
    write(tmp_path / "fer", "train/pool/x.png")
    (tmp_path / "fer" / "test" / "sad").symlink_to("../train/sad")
    (tmp_path / "fer" / "test" / "fear").symlink_to(tmp_path)
    _, problems = read(open_source("fer2013", tmp_path / "fer"))
    whys = {problem.where: problem.why for problem in problems}
    assert whys["test/sad"] == "is a link to a folder whose pictures are taken already"
    assert whys["test/fear"] in ("is a link that leads outside the root", "is a link to a folder that it lies in")


def test_classes_deeper_than_wrappers_are_followed_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c/d/e/f/g/angry/1.png", "a/b/c/d/e/f/g/sad/1.png")
    with pytest.raises(InputError, match=r"holds folders in folders.*use dataset\.root="):
        open_source("folder", tmp_path)
