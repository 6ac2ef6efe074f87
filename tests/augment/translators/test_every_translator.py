"""What holds for every translator, whatever its method: each is listed in `FORMS`, and a new one must be."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from every_form import CLASS_NAMES, FORMS, LEARNED, SETTINGS, SIZE, create, faces
from safetensors.torch import load_file
from small_faces import CARD

from augment.core.errors import InputError
from augment.faces.images import encode_png
from augment.faces.shards import write_faces
from augment.faces.splits import write_folds
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.synthesis.selection import SelectionSettings, select
from augment.training.loop import train_translator
from augment.training.outputs import TIMING_FIELDS
from augment.translators import create_translator, load_translator, translator_class, translator_names
from augment.translators.base import CannotTranslateError
from reports.metrics.scores import score_translator
from reports.settings import ScoreSettings

pytestmark = pytest.mark.slow

ANY_SIZE = {"warp", "simgan"}  # methods whose pictures may have any size


def train(form: str, folder: Path, translator: Any = None, **changes: Any) -> Any:
    translator = create(form) if translator is None else translator
    train_translator(
        translator,
        faces(),
        None,
        SETTINGS.model_copy(update=changes),
        out=folder / "out",
        scratch=folder / "scratch",
        seed=3,
    )
    return translator


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every form's undisturbed run, with a checkpoint at the end alone."""
    folders = {}
    for form in FORMS:
        folders[form] = tmp_path_factory.mktemp("run")
        train(form, folders[form], checkpoint_every=6)
    return folders


def test_every_translator_of_ours_is_here() -> None:
    assert {method for method, _ in FORMS.values()} == {
        name for name in translator_names() if translator_class(name).__module__.startswith("augment.")
    }


@pytest.mark.parametrize("form", LEARNED)
def test_killed_at_every_step_and_resumed_is_bit_identical(
    trained: dict[str, Path], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is broken off in each generator step, after a checkpoint of the step before, and gone on with."""
    method = translator_class(FORMS[form][0])
    losses = method.losses  # type: ignore[attr-defined]
    left = {"steps": 1}

    def breaking(self: Any, network: str, batch: Any) -> Any:
        if network == "discriminator":
            return losses(self, network, batch)
        if left["steps"] == 0:
            raise ConnectionError("killed")
        left["steps"] -= 1
        return losses(self, network, batch)

    kills = 0
    with monkeypatch.context() as patched:
        patched.setattr(method, "losses", breaking)
        while not (tmp_path / "out" / "training.json").exists():
            left["steps"] = 1
            try:
                train(form, tmp_path)
            except ConnectionError:
                kills += 1
            assert kills < 10
    assert kills >= 3
    expected, found = (load_file(folder / "out" / "weights.safetensors") for folder in (trained[form], tmp_path))
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name
    for file in ("log.jsonl", "samples/step-000006.png"):
        one, other = ((folder / "out" / file).read_bytes() for folder in (trained[form], tmp_path))
        assert _timeless(one) == _timeless(other), file


def _timeless(content: bytes) -> Any:
    if content.startswith(b"\x89PNG"):
        return content
    import json

    lines = [json.loads(line) for line in content.splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMING_FIELDS} for line in lines]


@pytest.mark.parametrize("form", LEARNED)
def test_every_network_learns_and_what_is_frozen_stays(form: str, tmp_path: Path) -> None:
    """Over a whole run every parameter that an optimizer claims has moved; in each phase only those that may."""
    translator = create(form)
    claimed = {id(parameter) for parameters in translator.networks().values() for parameter in parameters}
    before = {name: parameter.detach().clone() for name, parameter in translator.named_parameters()}
    # Enough steps for every pair of a bundle and every phase; no average, so that the live weights are seen.
    train(form, tmp_path, translator, steps=12, ema_decay=0.0, checkpoint_every=12, sample_every=12)
    still = {name for name, parameter in translator.named_parameters() if torch.equal(parameter, before[name])}
    unclaimed = {name for name, parameter in translator.named_parameters() if id(parameter) not in claimed}
    assert still == unclaimed


@pytest.mark.parametrize("form", LEARNED)
def test_a_step_of_one_side_leaves_the_other(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at right before and after every optimizer step of a real run."""
    translator = create(form)
    sides = {
        network: {id(parameter) for parameter in parameters} for network, parameters in translator.networks().items()
    }
    names = {id(parameter): name for name, parameter in translator.named_parameters()}
    phases = {phase.name: phase.trains for phase in translator.phases()}
    state = {"phase": ""}
    losses = translator.losses

    def noting(network: str, batch: Any) -> Any:
        state["phase"] = batch.phase
        return losses(network, batch)

    monkeypatch.setattr(translator, "losses", noting)
    step = torch.optim.Adam.step
    seen: set[tuple[str, str]] = set()

    def watched(self: Any, *arguments: Any, **keywords: Any) -> Any:
        mine = {id(parameter) for group in self.param_groups for parameter in group["params"]}
        side = next(name for name, members in sides.items() if mine <= members)
        before = {name: parameter.detach().clone() for name, parameter in translator.named_parameters()}
        result = step(self, *arguments, **keywords)
        now = dict(translator.named_parameters())
        moved = {identity for identity, name in names.items() if not torch.equal(now[name], before[name])}
        assert moved and moved <= sides[side]
        trains = phases[state["phase"]]
        assert trains is None or {names[identity].partition(".")[0] for identity in moved} <= set(trains)
        seen.add((side, state["phase"]))
        return result

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    train(form, tmp_path, translator, steps=6, checkpoint_every=6)
    assert {phase for _, phase in seen} == set(phases)


@pytest.mark.parametrize("form", FORMS)
def test_same_weights_and_seed_give_the_same_images(trained: dict[str, Path], form: str) -> None:
    sources = faces(6, seed=9, prefix="other")
    targets = sources.labels if create(form).keeps_class else (sources.labels + 1) % 3

    def images(seed: int) -> torch.Tensor:
        translator = load_translator(trained[form] / "out" / "weights.safetensors")
        torch.manual_seed(seed + 100)  # whatever torch's own stream is
        state = torch.get_rng_state()
        made = translator.translate(sources, targets, torch.Generator().manual_seed(seed))
        assert torch.equal(torch.get_rng_state(), state)
        assert made.shape == sources.images.shape and made.dtype == torch.uint8
        return made

    first = images(1)
    assert torch.equal(first, images(1))
    assert not torch.equal(first, sources.images)


@pytest.mark.parametrize("form", FORMS)
def test_no_own_label_is_read_unless_the_method_requires_it(trained: dict[str, Path], form: str) -> None:
    """A photograph that a user brings has no label."""
    translator = load_translator(trained[form] / "out" / "weights.safetensors")
    if "own_class" in translator.requires:
        pytest.skip("this method needs the source's class")
    sources = faces(6, seed=9, prefix="other")
    other = replace(sources, labels=(sources.labels + 1) % 3)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    one, two = (translator.translate(part, targets, torch.Generator().manual_seed(0)) for part in (sources, other))
    assert torch.equal(one, two)


@pytest.mark.parametrize("form", FORMS)
def test_what_it_requires_is_what_its_check_refuses_to_lack(form: str) -> None:
    """Asked of the settings alone, as it is before any network is built."""
    method, settings = FORMS[form]
    kind = translator_class(method)
    required = kind.requires_for(kind.Settings.model_validate(settings))
    translator = create(form)
    assert required == translator.requires
    translator.check(faces())
    for requirement in ("landmarks", "simulated"):
        lacking = replace(faces(), **{requirement: None})  # type: ignore[arg-type]
        if requirement in required:
            with pytest.raises(CannotTranslateError, match=requirement):
                translator.check(lacking)
        else:
            translator.check(lacking)


class Even:
    """A judge that knows nothing."""

    def probabilities(self, images: torch.Tensor) -> np.ndarray:
        return np.full((len(images), 3), 1 / 3)

    def features(self, images: torch.Tensor) -> np.ndarray:
        return images.float().mean(dim=(2, 3)).numpy()

    def __call__(self, images: torch.Tensor) -> np.ndarray:
        return self.probabilities(images)


def make(weights: Path, out: Path, per_class: int) -> list[dict[str, Any]]:
    synthesize(
        load_translator(weights),
        faces(),
        SynthesisSettings(per_class=per_class, block_size=2),
        out=out,
        seed=1,
        fold=0,
        translator_name="made",
        weights_sha256=None,
        configuration_hash="x",
        class_names=CLASS_NAMES,
        licence="cc0-1.0",
    )
    return sorted(read_faces(out).to_pylist(), key=lambda row: row["face_id"])


@pytest.mark.parametrize("form", FORMS)
def test_synthesis_selection_and_scores_take_it_as_it_is(
    trained: dict[str, Path], form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))  # no Inception weights
    weights = trained[form] / "out" / "weights.safetensors"
    few = make(weights, tmp_path / "few", 2)
    many = make(weights, tmp_path / "synthetic" / "fold-0", 3)
    assert len(few) == 6 and len(many) == 9
    pictures = {row["face_id"]: row["image"]["bytes"] for row in many}
    assert all(pictures[row["face_id"]] == row["image"]["bytes"] for row in few)  # the first of many
    report = select(
        tmp_path / "synthetic" / "fold-0",
        tmp_path / "selected" / "fold-0",
        Even(),
        SelectionSettings(threshold=0.2),
        fold=0,
        class_names=CLASS_NAMES,
        configuration_hash="y",
    )
    assert sum(report.faces.values()) == 9

    test = faces(6, seed=9, prefix="other")
    write_faces(iter([*rows(faces(), "train"), *rows(test, "test")]), tmp_path / "faces", CLASS_NAMES, card=CARD)
    splits = [(face_id, "train") for face_id in faces().face_ids] + [(face_id, "test") for face_id in test.face_ids]
    write_folds(
        pa.Table.from_pylist([{"face_id": face_id, "fold": 0, "split": split} for face_id, split in splits]),
        tmp_path / "folds.parquet",
    )
    (tmp_path / "translator" / "fold-0").mkdir(parents=True)
    shutil.copy(weights, tmp_path / "translator" / "fold-0" / "weights.safetensors")
    scores = score_translator(
        "made",
        faces_dir=tmp_path / "faces",
        folds_path=tmp_path / "folds.parquet",
        synthetic_dir=tmp_path / "selected",
        translator_dir=tmp_path / "translator",
        judge_for_fold=lambda fold: Even(),
        settings=ScoreSettings(),
        out=tmp_path / "scores.json",
    )
    recognition = scores["recognition"]
    assert recognition["n"] == (6 if create(form).keeps_class else 18)
    assert recognition["accuracy"] == pytest.approx(1 / 3)


def rows(part: FaceTensors, split: str) -> Iterator[dict[str, Any]]:
    """Faces as rows of the table, with all that their tensors hold."""
    assert part.landmarks is not None and part.yaw is not None
    assert part.simulated is not None and part.sources is not None
    for row in range(len(part)):
        yield {
            "image": {"bytes": encode_png(part.images[row, 0].numpy()), "path": None},
            "label": int(part.labels[row]),
            "label_name": CLASS_NAMES[int(part.labels[row])],
            "face_id": part.face_ids[row],
            "subject": part.subjects[row],
            "source": part.sources[row],
            "split": split,
            "yaw": float(part.yaw[row]),
            "landmarks": part.landmarks[row].numpy(),
            "simulated": encode_png(part.simulated[row, 0].numpy()),
        }


@pytest.mark.parametrize("form", LEARNED)
def test_bfloat16_terms_are_finite_float32_scalars(form: str) -> None:
    from augment.training.batches import BatchMaker

    translator = create(form).train()
    translator.check(faces())
    translator.prepare_training(faces())
    batches = BatchMaker(translator, faces(), batch_size=4, balanced_sources=False, balanced_targets=True, mirror=True)
    for phase in translator.phases():
        batch = batches.draw(torch.Generator().manual_seed(0), step=0, total_steps=10, phase=phase.name)
        children = dict(translator.named_children())
        moving = [children[name] for name in phase.trains] if phase.trains is not None else [translator]
        owned = {id(parameter) for module in moving for parameter in module.parameters()}
        terms: dict[str, torch.Tensor] = {}
        with torch.autocast("cpu", torch.bfloat16):
            for network, parameters in translator.networks().items():
                if any(id(parameter) in owned for parameter in parameters):
                    terms |= translator.losses(network, batch)
        assert terms
        for name, value in terms.items():
            assert value.shape == () and value.dtype == torch.float32 and torch.isfinite(value), name


@pytest.mark.parametrize("method", sorted({method for method, _ in FORMS.values()}))
def test_settings_of_other_methods_are_refused(method: str) -> None:
    mine = set(translator_class(method).Settings.model_fields)
    others = {
        key: other
        for other in {name for name, _ in FORMS.values()} - {method}
        for key in translator_class(other).Settings.model_fields
    }
    strange = sorted(set(others) - mine)
    assert strange
    for key in strange:
        with pytest.raises(InputError, match=f"translators.{method}.{key}: is not a setting of this translator"):
            create_translator(method, num_classes=3, channels=1, size=SIZE, settings={key: 1})


@pytest.mark.parametrize("method", sorted({method for method, _ in FORMS.values()} - ANY_SIZE))
def test_a_size_that_cannot_be_is_refused_with_sizes_that_can(method: str) -> None:
    """45 px can't be halved."""
    with pytest.raises(InputError, match=r"sizes that can (are|be)|multiples of"):
        create_translator(method, num_classes=3, channels=1, size=45)


@pytest.mark.parametrize("method", sorted({method for method, _ in FORMS.values()}))
def test_public_settings_and_classes_are_documented(method: str) -> None:
    kind = translator_class(method)
    assert inspect.getdoc(kind) and inspect.getdoc(kind.Settings)
    assert inspect.getdoc(kind.Settings) != inspect.getdoc(kind.Settings.__mro__[1])


@pytest.mark.parametrize("page", ["docs/reference/translators.md"])
def test_every_translator_is_on_the_page(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text(encoding="utf-8")
    for method in {method for method, _ in FORMS.values()}:
        assert f"| `{method}` |" in text or f"| [`{method}`](#{method}) |" in text, method
