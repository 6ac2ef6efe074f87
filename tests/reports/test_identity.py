"""Identities of synthetic faces: distances by hand, copies that are found, and an embedding that is tried first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_faces import PER_CLASS, write_workspace
from safetensors.torch import save_file
from small_faces import noise

from augment.core.errors import InputError
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors
from pipeline.core.workspace import Artifacts
from pipeline.publishing.identity import write_identities
from reports.identity import SyntheticFaces, embed_pixels, find_embedding, identity_report

PEOPLE, EACH = 6, 5
KEPT = PER_CLASS - 1


def faces(images: torch.Tensor, subjects: list[str | None]) -> FaceTensors:
    return FaceTensors(
        images=images,
        labels=torch.zeros(len(images), dtype=torch.int64),
        landmarks=None,
        masks=None,
        face_ids=tuple(f"f{number}" for number in range(len(images))),
        subjects=tuple(subjects),
        class_names=("one",),
    )


def people() -> FaceTensors:
    """Six people with five faces each: a picture of theirs, and a little of another."""
    random = np.random.default_rng(0)
    rows = []
    for person in range(PEOPLE):
        for number in range(EACH):
            mixed = 0.85 * noise(person, 24).astype(float) + 0.15 * noise(1000 + 7 * person + number, 24)
            rows.append(np.clip(mixed + random.normal(0, 2, mixed.shape), 0, 255).astype(np.uint8))
    images = torch.from_numpy(np.stack(rows))[:, None]
    return faces(images, [f"p{number // EACH}" for number in range(PEOPLE * EACH)])


def made(images: torch.Tensor, sources: list[int]) -> SyntheticFaces:
    ids = tuple(f"s{number}" for number in range(len(images)))
    return SyntheticFaces(images, ids, tuple(f"f{source}" for source in sources), ("one",) * len(images))


def test_what_is_nearest_is_told_by_kind_and_copies_are_found() -> None:
    train = people()
    copied = train.images[7]
    brighter = (train.images[3].float() * 0.6 + 50).to(torch.uint8)
    moved = torch.from_numpy(
        np.clip(0.7 * train.images[11].numpy() + 0.3 * noise(555, 24)[None], 0, 255).astype(np.uint8)
    )
    report, table = identity_report(
        made(torch.stack([copied, brighter, moved]), [20, 3, 10]), train, embed_pixels, name="pixels"
    )
    assert table["nearest_id"].tolist()[:2] == ["f7", "f3"] and table["nearest_id"][2] in {
        f"f{n}" for n in range(10, 15)
    }
    assert table["nearest_is"].tolist()[:2] == ["somebody else", "the source"]
    assert table["copy"].tolist() == [True, True, False] and report.copies == ("s0", "s1")
    assert table["distance_to_source"][1] < 0.03 and table["nearest_distance"][0] == pytest.approx(0, abs=1e-3)
    assert report.nearest["the source"] == pytest.approx((table["nearest_is"] == "the source").mean())
    assert sum(report.nearest.values()) == pytest.approx(1)
    assert report.moved == pytest.approx(float(np.median(table["distance_to_source"])))


def test_another_face_of_the_person_has_its_whole_name() -> None:
    """Words of different length: none is cut."""
    train = people()
    report, table = identity_report(made(train.images[[1]], [0]), train, embed_pixels, name="pixels")
    assert table["nearest_is"].tolist() == ["the same person"] and report.nearest["the same person"] == 1.0


def test_an_embedding_that_knows_people_is_told_from_one_that_does_not() -> None:
    train = people()
    good, _ = identity_report(made(train.images[:3], [0, 1, 2]), train, embed_pixels, name="pixels")
    assert good.separation is not None and good.separation > 0.99 and "tells these people apart:" in good.sentences()[1]

    def blind(images: torch.Tensor) -> np.ndarray:
        return np.random.default_rng(len(images)).normal(size=(len(images), 8)).astype(np.float32)

    bad, _ = identity_report(made(train.images[:3], [0, 1, 2]), train, blind, name="blind")
    assert bad.separation is not None and 0.3 < bad.separation < 0.7 and "poorly" in bad.sentences()[1]


def test_distances_are_those_of_the_embedding() -> None:
    train = people()

    def mean(images: torch.Tensor) -> np.ndarray:
        return images.float().mean(dim=(1, 2, 3))[:, None].numpy()

    report, table = identity_report(made(train.images[[4]], [9]), train, mean, name="mean")
    values = mean(train.images)[:, 0]
    assert table["distance_to_source"][0] == pytest.approx(abs(values[4] - values[9]), abs=1e-4)
    others = [min(abs(value - other) for j, other in enumerate(values) if j != i) for i, value in enumerate(values)]
    assert report.copy_limit == pytest.approx(float(np.quantile(others, 0.01)), abs=1e-4)


def test_people_that_are_not_known() -> None:
    train = people()
    unknown = faces(train.images, [None] * len(train))
    report, _ = identity_report(made(train.images[:1], [0]), unknown, embed_pixels, name="pixels")
    assert report.separation is None and report.moved_far is None and "not known" in report.sentences()[1]


def test_a_source_of_another_fold_is_refused() -> None:
    with pytest.raises(InputError, match="is no training face of this fold"):
        identity_report(made(people().images[:1], [99]), people(), embed_pixels, name="pixels")


def test_dlib_knows_a_copy() -> None:
    embed = find_embedding("dlib")
    images = people().images[[0, 0, 12]]
    found = embed(images)
    assert found.shape == (3, 128) and np.allclose(found[0], found[1]) and not np.allclose(found[0], found[2])


def test_timm_takes_the_users_weights_and_refuses_others(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    network = timm.create_model("resnet10t", pretrained=False, num_classes=5)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    found = find_embedding("timm:resnet10t", tmp_path / "w.safetensors")(people().images[:2])
    assert found.shape == (2, 512) and np.linalg.norm(found, axis=1) == pytest.approx([1, 1], abs=1e-5)
    for name, weights, said in [
        ("timm:resnet10t", None, "has no weights"),
        ("timm:nothing", tmp_path / "w.safetensors", "is no model of timm"),
        ("timm:resnet18", tmp_path / "w.safetensors", "can't be read|lacks"),
        ("timm:resnet10t", tmp_path / "none.safetensors", "can't be read"),
        ("timm", None, "is none"),
        ("clip", None, "is none"),
        ("pixels:x", None, "is none"),
    ]:
        with pytest.raises(InputError, match=said):
            find_embedding(name, weights)


def test_a_run_gets_a_table_and_a_report(tmp_path: Path) -> None:
    run = write_workspace(tmp_path / "run")
    out = Artifacts(run).home / "identity" / "warp"
    report = write_identities(run, "warp", out, embedding="pixels", weights=None, fold=0, most=10)
    assert report.faces == 10 and {path.name for path in out.iterdir()} == {".s2l", "identity.csv", "identity.json"}
    assert len((out / "identity.csv").read_text().splitlines()) == 11
    assert write_identities(run, "warp", out, embedding="pixels", weights=None, fold=0, most=100).faces == 3 * KEPT
    kept = {row["face_id"] for row in read_faces(Artifacts(run).selected("warp") / "fold-0").to_pylist() if row["kept"]}
    names = {line.split(",")[0] for line in (out / "identity.csv").read_text().splitlines()[1:]}
    assert names == kept  # what selection rejected is in no export and no arm
    with pytest.raises(InputError, match="is no translator of"):
        write_identities(run, "stargan", out, embedding="pixels", weights=None, fold=0, most=10)
