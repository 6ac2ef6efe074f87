"""Pictures that no table has: hidden units of an encoder, maps of the parsing network, the nearest training faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F

from augment.faces.licences import is_public
from augment.faces.splits import fold_tables, read_folds
from augment.faces.table import MASK_CLASSES, iterate_faces, read_faces
from augment.faces.tensors import FaceTensors, face_tensors, to_unit_range
from augment.parsing.network import load_parsing
from augment.translators import load_translator
from augment.translators.lssl import LsslModel
from reports.face_sheets import draw_face_sheet
from reports.identity import embed_pixels

LAYER = 5  # of the encoder, as published (LSSL, figure 10)
FACES = 6
UNITS = 8
REGION = 0.5  # of a unit's greatest activation in the face: what is above it is the region that it responds to
PART_COLOURS = {"background": (0, 0, 0), "skin": (230, 190, 150), "lips": (200, 40, 60), "eyes": (60, 110, 220)}
_BATCH = 256


def draw_pictures(
    translators: Mapping[str, Path], *, faces_dir: Path, folds_path: Path, parsing_dir: Path, device: str = "cpu"
) -> Iterator[tuple[str, Figure]]:
    """Pictures of the translators of a run's first fold, on its test faces, which no translator has seen.

    Args:
        translators: Name -> folder, with a folder for each fold; those of LSSL's form have an encoder.
        faces_dir: The table of faces.
        folds_path: The file of folds.
        parsing_dir: The parsing networks, a folder for each fold.
        device: Of the networks.

    Yields:
        File name and figure: `parsing.png`, and `hidden_units-<translator>.png` of each that has an encoder. Nothing
        where the faces are not in the public domain.
    """
    if not is_public(faces_dir):
        return
    folds = read_folds(folds_path)
    fold = int(pc.min(folds.column("fold")).as_py())
    table = fold_tables(read_faces(faces_dir), folds, fold)["test"]
    network = parsing_dir / f"fold-{fold}" / "weights.safetensors"
    if network.is_file():
        faces = face_tensors(table)
        neutral = [name == "neutral" for name in faces.class_names]
        order = sorted(range(len(faces)), key=lambda place: not neutral[int(faces.labels[place])])
        some = faces.take(_one_of_each_person(faces, order)[:FACES])
        yield "parsing.png", draw_parsing_maps(load_parsing(network, device), some)
    for name, folder in translators.items():
        weights = folder / f"fold-{fold}" / "weights.safetensors"
        translator = load_translator(weights, device).eval() if weights.is_file() else None
        if isinstance(translator, LsslModel):
            faces = face_tensors(table, size=translator.size, channels=translator.channels)
            usable = faces.take(translator.usable_sources(faces).nonzero().flatten())
            if len(usable):
                yield f"hidden_units-{name}.png", draw_hidden_units(translator, usable)


def draw_nearest_faces(synthetic_dir: Path, faces_dir: Path, folds_path: Path, *, fold: int = 0) -> Figure | None:
    """A synthetic face of each class beside its source and the training faces that are nearest to it.

    Nearest is what correlates most, of grey pictures of 48 x 48 pixels, as they are or in the mirror: a copy of a
    training face has 1. The source itself may be among them.

    Args:
        synthetic_dir: Selected faces of a translator, a folder for each fold.
        faces_dir: The table of real faces.
        folds_path: The file of folds.
        fold: Which one.

    Returns:
        The figure; None where the faces are not in the public domain, or there are none.
    """
    if not (is_public(faces_dir) and is_public(synthetic_dir / f"fold-{fold}")):
        return None
    train = face_tensors(fold_tables(read_faces(faces_dir), read_folds(folds_path), fold)["train"])
    names = train.class_names
    chosen: dict[int, pa.Table] = {}
    columns = ["face_id", "label", "image", "source_id"]
    for batch in iterate_faces(synthetic_dir / f"fold-{fold}", columns=columns):
        for position, label in enumerate(batch.column("label").to_pylist()):
            if label not in chosen:
                chosen[label] = pa.Table.from_batches([batch.slice(position, 1)])
        if len(chosen) == len(names):
            break
    if not chosen:
        return None
    places = {face_id: place for place, face_id in enumerate(train.face_ids)}
    labels = sorted(chosen)
    made = torch.cat([face_tensors(chosen[label], size=train.size, channels=train.channels).images for label in labels])
    nearest, correlations = nearest_faces(made, train.images, count=3)
    blank = torch.zeros_like(train.images[0])
    rows, row_labels = [], []
    for row, label in enumerate(labels):
        source = places.get(chosen[label].column("source_id").to_pylist()[0])
        rows.append([made[row], blank if source is None else train.images[source], *train.images[nearest[row]]])
        row_labels.append(f"{names[label]} {correlations[row, 0]:.2f}")
    return draw_face_sheet(rows, ["synthetic", "source", "nearest", "second", "third"], row_labels)


def nearest_faces(pictures: torch.Tensor, faces: torch.Tensor, *, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The faces that correlate most with each picture, as they are or in the mirror.

    Args:
        pictures: uint8 [N, C, H, W].
        faces: uint8 [M, C, H, W].
        count: How many; at most M.

    Returns:
        Positions int64 [N, count], the nearest first, and the correlations float32 [N, count] in -1..1.
    """
    rows = torch.from_numpy(embed_pixels(pictures))
    mirrored = torch.from_numpy(embed_pixels(pictures.flip(-1)))
    others = torch.from_numpy(embed_pixels(faces))
    found = torch.maximum(rows @ others.T, mirrored @ others.T).topk(min(count, len(faces)), dim=1)
    return found.indices.numpy(), found.values.numpy()


def draw_parsing_maps(network: nn.Module, faces: FaceTensors) -> Figure:
    """LSSL, figure 4: faces, the map of each part that the parsing network finds, and all parts in colours."""
    with torch.no_grad():
        shares = network(to_unit_range(faces.images.to(next(network.parameters()).device))).softmax(dim=1).cpu()
    found = shares.argmax(dim=1)
    colours = torch.tensor([PART_COLOURS[part] for part in MASK_CLASSES], dtype=torch.uint8)
    rows = []
    for face in range(len(faces)):
        maps = [
            (255 * shares[face, MASK_CLASSES.index(part)]).to(torch.uint8)[None] for part in ("lips", "skin", "eyes")
        ]
        rows.append([faces.images[face], *maps, colours[found[face]].permute(2, 0, 1)])
    labels = [faces.class_names[int(label)] for label in faces.labels]
    return draw_face_sheet(rows, ["input", "lips", "skin", "eyes", "all parts"], labels)


def draw_hidden_units(translator: LsslModel, faces: FaceTensors) -> Figure:
    """LSSL, figure 10: for hidden units of the encoder, the faces that drive each most, and the regions that do.

    The units are those whose response is the most local (`most_local_units`); the faces are the ones of different
    people with the greatest response, and what is outside the region is darkened. The layer is the fifth, or the last
    one of an encoder that has fewer.
    """
    layer, activations = encoder_activations(translator, faces)
    units = most_local_units(activations, UNITS)
    rows, row_labels = [], []
    for unit in units:
        maps = activations[:, unit]
        order = maps.flatten(1).amax(dim=1).argsort(descending=True, stable=True).tolist()
        best = _one_of_each_person(faces, order)[:FACES]
        lit = [_highlighted(faces.images[place], region_of(maps[place], faces.size)) for place in best]
        rows.append([faces.images[best[0]], *lit])
        row_labels.append(f"unit {unit}")
    edge = activations.shape[-1]
    return draw_face_sheet(
        rows, [f"layer {layer}, {edge}x{edge}", *(str(1 + place) for place in range(len(best)))], row_labels
    )


def encoder_activations(translator: LsslModel, faces: FaceTensors) -> tuple[int, torch.Tensor]:
    """What the units of an encoder's fifth layer (or of its last) say of faces.

    Returns:
        The layer's number, from 1, and its activations above 0: float32 [N, units, h, w].
    """
    blocks = translator.generator.encoder.blocks
    layer = min(LAYER, len(blocks))
    device = next(translator.parameters()).device
    found = []
    with torch.no_grad():
        for start in range(0, len(faces), _BATCH):
            batch = faces.take(range(start, min(start + _BATCH, len(faces)))).to(device)
            pictures = translator.pictures(to_unit_range(batch.images), translator.side_input(batch))
            found.append(blocks[:layer](pictures).clamp_min(0).float().cpu())
    return layer, torch.cat(found)


def most_local_units(activations: torch.Tensor, count: int) -> list[int]:
    """The units that respond to the smallest parts of the faces, the most local first.

    How local a unit is: in each face its greatest activation, divided by the mean over the face; the mean of that over
    all faces. Units that never respond are left out.

    Args:
        activations: [N, units, h, w], none below 0.
        count: How many at most.
    """
    peaks = activations.flatten(2).amax(dim=2)
    means = activations.flatten(2).mean(dim=2)
    local = torch.where(peaks > 0, peaks / means.clamp_min(1e-12), 0.0).mean(dim=0)
    order = local.argsort(descending=True, stable=True).tolist()
    return [unit for unit in order if local[unit] > 0][:count]


def region_of(activation: torch.Tensor, size: int, share: float = REGION) -> torch.Tensor:
    """Where a unit responds: bool [size, size], what is above a share of its greatest activation [h, w]."""
    whole = F.interpolate(activation[None, None], size=(size, size), mode="bilinear", align_corners=False)[0, 0]
    return whole > share * whole.max()


def _highlighted(image: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    return torch.where(region, image.float(), 0.4 * image.float()).to(torch.uint8)


def _one_of_each_person(faces: FaceTensors, order: Sequence[int]) -> list[int]:
    """The first face of each person in an order; a face without a known person is one of its own."""
    first: dict[str, int] = {}
    for place in order:
        first.setdefault(faces.subjects[place] or faces.face_ids[place], place)
    return list(first.values())
