"""Only files are opened: a named pipe, a folder, a device or an endless file is named, and nothing waits for it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from small_faces import file_bytes, noise

from augment.core.errors import InputError, Problem
from augment.core.regular_files import (
    NotARegularFileError,
    open_regular_file,
    read_regular_file,
    read_regular_text,
    require_regular_file,
)
from augment.faces.licences import read_card
from augment.parsing.network import load_parsing
from augment.sources import open_source
from augment.sources.affectnet import _load
from augment.sources.ck_plus import read_points as read_ck_points
from augment.sources.folder import read_picture
from augment.sources.helen import read_points as read_helen_points
from augment.translators import load_translator, translator_header
from classifiers.models import ModelSettings, create_classifier, load_classifier

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    """Ends a test that waits for a pipe, which would be for ever."""

    def wakes(*_: object) -> None:
        raise AssertionError("waited for the other end of a pipe")

    before = signal.signal(signal.SIGALRM, wakes)
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def test_a_file_is_read_whole_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfone\r\ntwo")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_regular_file(tmp_path / "link") == b"\xef\xbb\xbfone\r\ntwo"
    assert read_regular_text(tmp_path / "a", encoding="utf-8-sig") == "one\ntwo"
    assert require_regular_file(tmp_path / "a").st_size == 11
    with open_regular_file(tmp_path / "a") as file:
        assert file.read(3) == b"\xef\xbb\xbf"
    assert read_regular_file(tmp_path / "a", most_bytes=11)


def test_a_file_larger_than_may_be_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)  # a hole of a terabyte
    with pytest.raises(NotARegularFileError, match="larger than 512 MB"):
        read_regular_file(tmp_path / "large")


@pytest.mark.parametrize("read", [read_regular_file, read_regular_text, require_regular_file, open_regular_file])
def test_what_is_no_file_is_named(tmp_path: Path, read: Callable[[Path], Any]) -> None:
    pipe(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    address = socket.socket(socket.AF_UNIX)
    address.bind(str(tmp_path / "s"))
    for path, said in [
        (tmp_path / "pipe", "is a named pipe, and no file"),
        (tmp_path / "link", "is a named pipe, and no file"),
        (tmp_path, "is a folder, and no file"),
        (tmp_path / "s", "is a socket"),
        (Path("/dev/zero"), "is a device, and no file"),
        (tmp_path / "a\0b", "a name that no file can have"),
    ]:
        with pytest.raises(NotARegularFileError, match=said):
            read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "absent")
    address.close()


READERS: dict[str, Callable[[Path], object]] = {
    "a picture": lambda path: read_picture(path, "it"),
    "points of Helen": lambda path: read_helen_points(path, "it", (8, 8)),
    "points of CK+": lambda path: read_ck_points(path, "it", 8, 8),
    "an annotation of AffectNet": lambda path: _load(path, "it"),
    "a translator": load_translator,
    "a translator's header": translator_header,
    "a parsing network": load_parsing,
    "a classifier": load_classifier,
    "published weights": lambda path: create_classifier(
        ModelSettings(name="resnet18", weights=path), num_classes=2, channels=3
    ),
    "a data set": lambda path: open_source("fer2013", path),
}


@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_in_a_files_place_is_a_problem_and_no_wait(tmp_path: Path, name: str) -> None:
    path = pipe(tmp_path / "weights.safetensors")
    try:
        said = READERS[name](path)
    except InputError as error:
        said = error
    assert isinstance(said, Problem | InputError)
    assert "named pipe" in str(said) or "neither a file nor a folder" in str(said)


def test_a_named_pipe_in_a_cards_place_says_no_licence(tmp_path: Path) -> None:
    pipe(tmp_path / "README.md")
    assert read_card(tmp_path) is None


def test_a_named_pipe_among_pictures_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "1.png").write_bytes(file_bytes(noise(1)))
    pipe(tmp_path / "happy" / "2.png")
    problem, face = sorted(open_source("folder", tmp_path).faces(), key=lambda found: isinstance(found, Problem))[::-1]
    assert isinstance(problem, Problem) and not isinstance(face, Problem)
    assert (problem.where, problem.why) == ("happy/2.png", "is a named pipe")
