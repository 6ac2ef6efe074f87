"""What `benchmarks.photographs` counts and writes, on a small FER2013 of embedded faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from embedded import embedded_face
from small_faces import fer_pixels

from augment.prepare.landmarks import LandmarkDetector, LandmarkSettings, landmarks_installed
from benchmarks import photographs

pytestmark = pytest.mark.slow

needs_dlib = pytest.mark.skipif(not landmarks_installed(), reason="the extra `landmarks` is not installed")


def pixels(expression: str, subject: int) -> str:
    return " ".join(map(str, embedded_face(expression, subject, size=48, channels=1)[0].ravel()))


@needs_dlib
def test_the_faces_of_fer2013_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(photographs, "CACHE", tmp_path / "cache")
    rows = [(3, pixels("happy", 0), "Training"), (3, pixels("happy", 1), "Training"), (3, fer_pixels(1), "Training")]
    rows += [(4, pixels("sad", 2), "PublicTest"), (3, pixels("happy", 3), "PrivateTest")]
    file = tmp_path / "fer2013.csv"
    file.write_text("emotion,pixels,Usage\n" + "".join(f"{label},{values},{usage}\n" for label, values, usage in rows))
    counts = photographs.count_fer2013(file, workers=1)
    assert [(row["split"], row["class"], row["faces"]) for row in counts] == [
        ("train", "happy", 3),
        ("validation", "sad", 1),
        ("test", "happy", 1),
    ]
    assert [row["hog"] + row["cnn"] for row in counts] == [2, 1, 1] and counts[0]["not_found"] == 1
    lines = photographs.fer2013_lines(counts)
    assert lines[2].startswith("| all | 5 | 4 | 80.0% | ") and lines[2].endswith(" | 0 | 1 |")
    assert [line.split(" | ")[0] for line in lines[3:]] == ["| train", "| validation", "| test", "| happy", "| sad"]


def test_lines_go_between_their_markers() -> None:
    page = "a\n<!-- one -->\nold\n<!-- /one -->\nb\n<!-- two -->\n<!-- /two -->\n"
    once = photographs.between_markers(page, "one", ["| new |"])
    assert once == page.replace("old", "| new |")
    assert photographs.between_markers(once, "one", ["| new |"]) == once
    with pytest.raises(ValueError, match="unpack"):
        photographs.between_markers("no markers", "one", [])


@needs_dlib
def test_a_photograph_shows_its_face_where_it_is_said_to() -> None:
    """The face's middle lies at (0.6, 0.45), and its eyes fall to the right by 20 degrees."""
    picture = photographs.photograph_of(1, "neutral", 0.0, (0.6, 0.45), 0.5, 20.0, 200)
    assert picture.shape == (200, 200, 3)
    found = LandmarkDetector(LandmarkSettings(detector="dlib")).detect(picture)
    assert found is not None and found.landmarks is not None
    assert np.abs(found.landmarks.mean(axis=0) - [0.6, 0.45]).max() < 0.06
    eyes = found.landmarks[36:48].reshape(2, 6, 2).mean(axis=1)
    tilt = np.degrees(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    assert tilt == pytest.approx(20, abs=4)
