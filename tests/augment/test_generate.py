import json
import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from small_faces import CLASSES, JudgeBy, noise

import augment.synthesis.generate as synthesis
from augment.core.errors import InputError
from augment.faces.copies import TrainingFaces
from augment.faces.images import decode_image
from augment.faces.table import read_faces, validate_faces
from augment.faces.tensors import FaceTensors
from augment.synthesis.generate import SynthesisReport, SynthesisSettings, identity_shift, synthesize
from augment.translators.base import CannotTranslateError, Translator, TranslatorSettings

pytestmark = pytest.mark.slow


class Brightener(Translator):
    """Adds 10 for each class number and noise of the batch's generator, that depends on a face's place in the batch."""

    name = "brightener"
    Settings = TranslatorSettings

    def __init__(self) -> None:
        super().__init__(num_classes=3, channels=1, size=16, settings=TranslatorSettings())
        self.batches = 0

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        self.batches += 1
        grain = torch.randint(0, 20, faces.images.shape, generator=generator)
        return (faces.images // 2 + 10 * targets[:, None, None, None] + grain).to(torch.uint8)


class Fussy(Brightener):
    """Prefers faces of the first class and refuses the last face."""

    def preferred_sources(self, labels: torch.Tensor, class_names: tuple[str, ...]) -> torch.Tensor:
        return labels == 0

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        return torch.arange(len(faces)) < len(faces) - 1


def _train(count: int = 12) -> FaceTensors:
    return FaceTensors(
        images=torch.from_numpy(np.stack([noise(k) for k in range(count)]))[:, None],
        labels=torch.arange(count) % 3,
        landmarks=None,
        masks=None,
        face_ids=tuple(f"real/{k}" for k in range(count)),
        subjects=tuple(f"person {k // 3}" for k in range(count)),
        class_names=CLASSES,
    )


def _make(out: Path, per_class: int, translator: Translator | None = None, **changes: object) -> SynthesisReport:
    settings = {"per_class": per_class, "block_size": 8, "rows_per_shard": 20}
    settings |= {key: changes.pop(key) for key in list(changes) if key in SynthesisSettings.model_fields}
    arguments = {
        "out": out,
        "seed": 5,
        "fold": 1,
        "translator_name": "brightener",
        "weights_sha256": "ab",
        "configuration_hash": "cd",
        "class_names": CLASSES,
        "licence": "cc0-1.0",
    }
    train = changes.pop("train", _train())
    return synthesize(translator or Brightener(), train, SynthesisSettings(**settings), **(arguments | changes))


def _rows(out: Path) -> dict[str, dict]:
    return {row["face_id"]: row for row in read_faces(out).to_pylist()}


def test_faces_are_balanced_valid_and_carry_their_provenance(tmp_path: Path) -> None:
    report = _make(tmp_path, 45)
    table = read_faces(tmp_path)
    validate_faces(table)
    assert report.faces == {"angry": 45, "happy": 45, "sad": 45}
    assert sorted(path.name for path in (tmp_path / "data").iterdir())[:2] == [
        "train-00000.parquet",
        "train-00001.parquet",
    ]
    row = _rows(tmp_path)["brightener-f1-happy-000007"]
    assert row["synthetic"] is True
    assert (row["translator"], row["weights_sha256"], row["seed"], row["fold"]) == ("brightener", "ab", 5, 1)
    assert (row["label"], row["split"], row["confidence"], row["kept"]) == (1, "train", None, None)
    train = _train()
    source = train.face_ids.index(row["source_id"])
    assert row["subject"] == train.subjects[source]
    assert row["source_label"] == CLASSES[int(train.labels[source])]
    pixels = decode_image(row["image"]["bytes"]).astype(float)
    expected = np.abs(pixels - train.images[source, 0].numpy()).mean() / 255
    assert row["identity_shift"] == pytest.approx(expected, abs=1e-6)
    assert report.identity_shift["happy"] == pytest.approx(
        np.mean([r["identity_shift"] for r in _rows(tmp_path).values() if r["label"] == 1])
    )


def test_a_stream_that_is_not_shuffled_sees_the_classes_in_turn(tmp_path: Path) -> None:
    _make(tmp_path / "large", 30)
    rows = read_faces(tmp_path / "large", columns=["label", "face_id"]).to_pylist()
    assert [row["label"] for row in rows] == [0, 1, 2] * 30
    assert [int(row["face_id"][-6:]) for row in rows] == [number for number in range(30) for _ in CLASSES]
    # So the rows of a smaller set are the first rows of a larger one.
    _make(tmp_path / "small", 13)
    small = read_faces(tmp_path / "small", columns=["label", "face_id"]).to_pylist()
    assert small == rows[: 3 * 13]


@pytest.mark.parametrize("smaller", [1, 8, 29, 40])
def test_smaller_sets_are_the_first_faces_of_larger_ones(tmp_path: Path, smaller: int) -> None:
    _make(tmp_path / "large", 60)
    _make(tmp_path / "small", smaller)
    large, small = _rows(tmp_path / "large"), _rows(tmp_path / "small")
    assert len(small) == 3 * smaller
    for face_id, row in small.items():
        assert row == large[face_id]
        assert int(face_id[-6:]) < smaller


def test_the_shards_size_does_not_matter_but_the_block_size_does(tmp_path: Path) -> None:
    _make(tmp_path / "a", 24)
    _make(tmp_path / "b", 24, rows_per_shard=1000)
    _make(tmp_path / "c", 24, block_size=12)
    rows = [_rows(tmp_path / name) for name in "abc"]
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]


def test_seed_and_fold_change_the_faces(tmp_path: Path) -> None:
    pictures = set()
    for name, changes in (("a", {}), ("b", {"seed": 6}), ("c", {"fold": 2})):
        _make(tmp_path / name, 8, **changes)
        pictures.add(next(iter(_rows(tmp_path / name).values()))["image"]["bytes"])
    assert len(pictures) == 3


def test_sources_take_turns_and_are_of_other_classes(tmp_path: Path) -> None:
    report = _make(tmp_path, 20)
    rows = _rows(tmp_path).values()
    assert all(row["source_label"] != row["label_name"] for row in rows)
    for name in CLASSES:
        uses = Counter(row["source_id"] for row in rows if row["label_name"] == name).values()
        assert len(uses) == 8
        assert max(uses) - min(uses) <= 1
    assert report.sources == 12
    _make(tmp_path / "same", 20, exclude_same_class=False)
    assert any(row["source_label"] == row["label_name"] for row in _rows(tmp_path / "same").values())


def test_preferred_sources_are_preferred(tmp_path: Path) -> None:
    _make(tmp_path / "a", 8, Fussy())
    sources = {(row["label_name"], row["source_label"]) for row in _rows(tmp_path / "a").values()}
    # Preference gives way where it would make a face of a class from that class.
    assert sources == {("happy", "angry"), ("sad", "angry"), ("angry", "happy"), ("angry", "sad")}
    _make(tmp_path / "b", 30, Fussy(), source_selection="any")
    found = {row["source_id"] for row in _rows(tmp_path / "b").values()}
    assert found == set(_train().face_ids) - {"real/11"}


class Lazy(Brightener):
    """Gives back every face of an even number, or its mirror image; of the others it makes what it should."""

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        made = super().translate(faces, targets, generator)
        numbers = [int(face_id.removeprefix("real/")) for face_id in faces.face_ids]
        for row, number in enumerate(numbers):
            if number % 2 == 0:
                made[row] = faces.images[row] if number % 4 else faces.images[row].flip(-1)
        return made


def _copies(out: Path) -> int:
    train = _train().images[:, 0].numpy()
    known = {picture.tobytes() for picture in (*train, *train[:, :, ::-1])}
    return sum(decode_image(row["image"]["bytes"]).tobytes() in known for row in _rows(out).values())


def test_copies_of_training_faces_are_rejected_and_others_take_their_places(tmp_path: Path) -> None:
    report = _make(tmp_path / "a", 45, Lazy())
    assert report.faces == dict.fromkeys(CLASSES, 45) and _copies(tmp_path / "a") == 0
    assert all(found["copy of a training face"] > 10 for found in report.rejected.values())
    assert json.loads((tmp_path / "a" / "report.json").read_text())["rejected"] == report.rejected
    assert _make(tmp_path / "b", 45).rejected == {name: {} for name in CLASSES}
    # Nested all the same, the sources and the shift of what stands there now among the rest.
    _make(tmp_path / "small", 13, Lazy())
    large, small = _rows(tmp_path / "a"), _rows(tmp_path / "small")
    assert len(small) == 39 and all(row == large[face_id] for face_id, row in small.items())
    train = _train()
    for row in large.values():
        source = train.images[train.face_ids.index(row["source_id"]), 0].numpy().astype(float)
        shift = np.abs(decode_image(row["image"]["bytes"]) - source).mean() / 255
        assert row["identity_shift"] == pytest.approx(shift, abs=1e-6)


def test_a_killed_run_with_copies_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    _make(tmp_path / "whole", 45, Lazy())
    _make(tmp_path / "cut", 45, Lazy())
    shard = sorted((tmp_path / "cut" / "data").iterdir())[-1]
    gone = pq.read_metadata(shard).num_rows
    shard.unlink()
    assert 0 < gone < 3 * 45 and _make(tmp_path / "cut", 45, Lazy()).made_now == gone
    for file in [*(tmp_path / "whole" / "data").iterdir(), tmp_path / "whole" / "report.json"]:
        assert file.read_bytes() == (tmp_path / "cut" / file.relative_to(tmp_path / "whole")).read_bytes()


def test_a_translator_that_only_copies_is_refused(tmp_path: Path) -> None:
    class Copier(Brightener):
        def translate(
            self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
        ) -> torch.Tensor:
            return faces.images.clone()

    with pytest.raises(CannotTranslateError, match="Copier copies training faces: of 8 faces of angry, 8 were copies"):
        _make(tmp_path, 20, Copier())


def test_a_copy_of_a_face_other_than_the_source_is_a_copy() -> None:
    images = _train().images
    almost = (images[3].int() + 1).clamp(max=255).to(torch.uint8)
    changed = images[3].clone()
    changed[:, 4:12, 4:12] += 40
    made = torch.stack([images[3], images[5].flip(-1), almost, changed])
    assert TrainingFaces(images).copied_by(made).tolist() == [True, True, True, False]
    assert TrainingFaces(images[:3]).copied_by(made).tolist() == [False] * 4


def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = _make(tmp_path / "whole", 45)
    write, written = synthesis.write_shard, []

    def killed(path: Path, *rest: object) -> Path:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(path)
        return write(path, *rest)

    monkeypatch.setattr(synthesis, "write_shard", killed)
    with pytest.raises(KeyboardInterrupt):
        _make(tmp_path / "out", 45, scratch=tmp_path / "scratch")
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(synthesis, "write_shard", write)
    translator = Brightener()
    resumed = _make(tmp_path / "out", 45, translator, scratch=tmp_path / "scratch")
    # Shards hold a block of 8 of each class: four of them were done, and 13 of 45 faces per class are left.
    assert resumed.made_now == 3 * 13
    assert _rows(tmp_path / "out") == _rows(tmp_path / "whole")
    for file in (tmp_path / "whole" / "data").iterdir():
        assert file.read_bytes() == (tmp_path / "out" / "data" / file.name).read_bytes()
    assert (tmp_path / "out" / "report.json").read_text() == (tmp_path / "whole" / "report.json").read_text()
    timing = ("made_now", "images_per_second")
    assert {k: v for k, v in asdict(whole).items() if k not in timing} == json.loads(
        (tmp_path / "out" / "report.json").read_text()
    )


@dataclass(frozen=True)
class Reload:
    """The translator and its faces, in a worker process; one worker may come to its end at its second shard."""

    ends: bool = False

    def __call__(self, device: str) -> tuple[Translator, FaceTensors]:
        assert device == "cpu"
        if self.ends:
            write, done = synthesis.write_shard, []

            def ending(path: Path, *rest: object) -> Path:
                if done:
                    os.kill(os.getpid(), signal.SIGKILL)
                done.append(path)
                return write(path, *rest)

            synthesis.write_shard = ending
        return Brightener(), _train()


def _same_folders(one: Path, other: Path) -> None:
    for file in sorted((one / "data").iterdir()):
        assert file.read_bytes() == (other / "data" / file.name).read_bytes()
    assert (one / "report.json").read_text() == (other / "report.json").read_text()


@pytest.fixture
def processes_for_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesis, "_WORTH_A_PROCESS", 10)


@pytest.mark.usefixtures("processes_for_few")
def test_processes_make_the_same_shards_and_one_that_is_killed_costs_its_own_alone(tmp_path: Path) -> None:
    """All in one test, for each process imports torch, which takes seconds."""
    with pytest.raises(BrokenProcessPool):
        _make(tmp_path / "out", 45, scratch=tmp_path / "scratch", reload=Reload(ends=True), processes=2)
    made = len(list((tmp_path / "scratch" / "data").glob("*.parquet")))
    assert 1 <= made < 6
    there = sum(pq.read_metadata(path).num_rows for path in (tmp_path / "scratch" / "data").glob("*.parquet"))
    report = _make(tmp_path / "out", 45, scratch=tmp_path / "scratch", reload=Reload(), processes=2)
    assert report.made_now == 135 - there, "what was written whole is not made again"
    _make(tmp_path / "alone", 45)
    _same_folders(tmp_path / "alone", tmp_path / "out")
    _make(tmp_path / "few", 20)
    few, many = _rows(tmp_path / "few"), _rows(tmp_path / "out")
    assert len(few) == 60 and all(many[face] == row for face, row in few.items())


def test_what_is_there_is_not_made_again_unless_something_changed(tmp_path: Path) -> None:
    _make(tmp_path, 45)
    translator = Brightener()
    assert _make(tmp_path, 45, translator).made_now == 0
    assert translator.batches == 0
    assert _make(tmp_path, 45, configuration_hash="other").made_now == 135
    train = _train()
    images = train.images.clone()
    images[0, 0, 0, 0] ^= 1
    assert _make(tmp_path, 45, configuration_hash="other", train=replace(train, images=images)).made_now == 135
    _make(tmp_path, 10, configuration_hash="other")
    assert len(read_faces(tmp_path)) == 30


def test_a_shard_cut_short_is_built_again(tmp_path: Path) -> None:
    _make(tmp_path, 20)
    shard = tmp_path / "data" / "train-00000.parquet"
    good = shard.read_bytes()
    shard.write_bytes(good[:-40])
    assert _make(tmp_path, 20).made_now == 3 * 8
    assert shard.read_bytes() == good


def test_held_out_faces_are_refused_as_sources(tmp_path: Path) -> None:
    train = _train()
    splits = ["train"] * 12
    splits[4] = "test"
    folds = pa.table({"face_id": list(train.face_ids), "fold": [1] * 12, "split": splits})
    with pytest.raises(InputError, match="real/4"):
        _make(tmp_path, 8, folds=folds)
    rest = train.take([k for k in range(12) if k != 4])
    assert _make(tmp_path, 8, folds=folds, train=rest).faces["happy"] == 8


def test_faces_that_nothing_can_be_made_of_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotTranslateError, match="none of the 1 training faces"):
        _make(tmp_path, 8, Fussy(), train=_train(1))
    with pytest.raises(InputError, match="classes"):
        _make(tmp_path, 8, class_names=("a", "b", "c"))
    with pytest.raises(InputError, match="no training faces"):
        _make(tmp_path, 8, train=_train().take(torch.zeros(0, dtype=torch.int64)))


def test_a_translator_that_keeps_its_sources_class_gets_sources_of_the_target(tmp_path: Path) -> None:
    class Keeper(Brightener):
        keeps_class = True  # type: ignore[assignment]

    _make(tmp_path, 8, Keeper())
    rows = read_faces(tmp_path).to_pylist()
    assert {(row["label_name"], row["source_label"]) for row in rows} == {(name, name) for name in CLASSES}

    class Picky(Keeper):
        def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
            return faces.labels != 1

    with pytest.raises(CannotTranslateError, match=f"keeps its sources' class, and no training face of {CLASSES[1]}"):
        _make(tmp_path / "other", 8, Picky())


def test_a_judge_can_speak_at_once(tmp_path: Path) -> None:
    _make(tmp_path, 8, judge=JudgeBy(lambda images: np.tile(np.float32([0.2, 0.3, 0.5]), (len(images), 1))))
    for row in _rows(tmp_path).values():
        assert row["confidence"] == pytest.approx([0.2, 0.3, 0.5][row["label"]])


def test_hugging_face_datasets_reads_it(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    _make(tmp_path / "out", 9)
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    assert len(loaded) == 27
    assert loaded.features["label"].names == list(CLASSES)
    assert loaded[0]["image"].size == (16, 16)


def test_identity_shift_is_the_mean_absolute_difference() -> None:
    sources = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    outputs = torch.tensor([[[[0, 0], [0, 0]]], [[[255, 0], [51, 0]]]], dtype=torch.uint8)
    torch.testing.assert_close(identity_shift(outputs, sources), torch.tensor([0.0, 0.3]))


@pytest.mark.parametrize("bad", [{"per_class": 0}, {"source_selection": "best"}, {"per_clas": 5}, {"block_size": 0}])
def test_settings_are_checked(bad: dict) -> None:
    with pytest.raises(ValidationError):
        SynthesisSettings(**bad)


_MEMORY = """
import sys
from pathlib import Path
import torch
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator, TranslatorSettings

class Noise(Translator):
    name = "noise"
    def translate(self, faces, targets, generator=None):
        return torch.randint(0, 256, faces.images.shape, generator=generator, dtype=torch.uint8)

def peak():  # MiB; getrusage's would begin with what the process that started this one held
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

names = ("a", "b")
train = FaceTensors(torch.zeros(100, 1, 64, 64, dtype=torch.uint8), torch.arange(100) % 2, None, None,
                    tuple(map(str, range(100))), (None,) * 100, names)
translator = Noise(num_classes=2, channels=1, size=64, settings=TranslatorSettings())
peaks = [peak()]
for n in (1000, 5000):
    synthesize(translator, train, SynthesisSettings(per_class=n, rows_per_shard=500), out=Path(sys.argv[1]) / str(n),
               seed=0, fold=0, translator_name="noise", weights_sha256=None, configuration_hash="", class_names=names,
               licence="cc0-1.0")
    peaks.append(peak())
print(*peaks)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures resident memory as Linux reports it")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
@pytest.mark.nightly
def test_memory_does_not_grow_with_the_number_of_faces(tmp_path: Path) -> None:
    """Incompressible pictures: 10,000 of 64 px are 41 MB of PNG, five times the shards of the 2,000 before."""
    run = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    before, small, large = map(float, run.stdout.split())
    written = sum(file.stat().st_size for file in (tmp_path / "5000" / "data").iterdir()) / 2**20
    assert written > 35
    assert large - small < written / 2
    assert large - before < 300
