"""Sample sheets: faces in rows, the input and every class in columns."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from augment.faces.tensors import FaceTensors
from augment.translators.base import Translator

_CELL = 72  # pixels; smaller pictures are enlarged to about this
_GAP = 2
_HEADER = 18
_PAPER = (255, 255, 255)
_INK = (40, 40, 40)
_OWN_CLASS = (0, 114, 178)  # frame around the output of a face's own class; blue is safe for colour-blind readers


def choose_rows(labels: torch.Tensor, count: int) -> list[int]:
    """Positions of `count` faces that show every class before any class twice, in the faces' order."""
    order = labels.cpu().tolist()
    seen: dict[int, int] = {}
    rounds = []
    for position, label in enumerate(order):
        rounds.append((seen.get(label, 0), position))
        seen[label] = seen.get(label, 0) + 1
    return [position for _, position in sorted(rounds)[:count]]


@torch.no_grad()
def translate_to_all(translator: Translator, faces: FaceTensors, generator: torch.Generator) -> torch.Tensor:
    """Translates every face to every class.

    Args:
        translator: In evaluation mode.
        faces: N faces on the translator's device.
        generator: A CPU generator.

    Returns:
        uint8 [N, classes, C, H, W], on the CPU.
    """
    count, classes = len(faces), translator.num_classes
    repeated = faces.take(torch.arange(count).repeat_interleave(classes))
    targets = torch.arange(classes, device=faces.labels.device).repeat(count)
    translated = translator.translate(repeated, targets, generator)
    return translated.cpu().reshape(count, classes, *translated.shape[1:])


def draw_sheet(
    inputs: torch.Tensor, outputs: torch.Tensor, labels: Sequence[int], class_names: Sequence[str]
) -> Image.Image:
    """Draws a sample sheet.

    Args:
        inputs: uint8 [N, C, H, W].
        outputs: uint8 [N, classes, C, H, W].
        labels: N own classes; the output of that class is framed.
        class_names: Headings of the columns.

    Returns:
        An RGB picture.
    """
    size = inputs.shape[-1]
    scale = max(1, round(_CELL / size))
    cell = size * scale
    rows, columns = len(inputs), outputs.shape[1] + 1
    pitch = cell + _GAP
    sheet = Image.new("RGB", (columns * pitch + _GAP, rows * pitch + _GAP + _HEADER), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    for column, heading in enumerate(["input", *class_names]):
        while len(heading) > 1 and draw.textlength(heading, font=font) > cell:
            heading = heading[:-1]
        draw.text((_GAP + column * pitch, 3), heading, fill=_INK, font=font)
    for row in range(rows):
        for column in range(columns):
            picture = _picture(inputs[row] if column == 0 else outputs[row, column - 1])
            if scale > 1:
                picture = picture.resize((cell, cell), Image.Resampling.BICUBIC)
            left, top = _GAP + column * pitch, _HEADER + _GAP + row * pitch
            sheet.paste(picture, (left, top))
            if column == labels[row] + 1:
                draw.rectangle(
                    (left - _GAP, top - _GAP, left + cell + _GAP - 1, top + cell + _GAP - 1),
                    outline=_OWN_CLASS,
                    width=_GAP,
                )
    return sheet


def _picture(pixels: torch.Tensor) -> Image.Image:
    """uint8 [C, H, W] as an RGB picture."""
    array = np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array).convert("RGB")


def sheet_faces(translator: Translator, train: FaceTensors, count: int) -> FaceTensors:
    """The `count` training faces of the sample sheets, always the same: of those that the translator accepts."""
    usable = torch.nonzero(translator.usable_sources(train).cpu())[:, 0]
    return train.take(usable[choose_rows(train.labels.cpu()[usable], count)])


def sample_sheet(translator: Translator, faces: FaceTensors, generator: torch.Generator) -> bytes:
    """Translates faces to every class and draws them.

    Args:
        translator: In evaluation mode.
        faces: N training faces on the translator's device.
        generator: A CPU generator.

    Returns:
        A PNG file's bytes.
    """
    outputs = translate_to_all(translator, faces, generator)
    sheet = draw_sheet(faces.images.cpu(), outputs, faces.labels.tolist(), faces.class_names)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
