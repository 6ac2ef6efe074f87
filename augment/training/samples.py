"""Sample sheets: faces in rows; in columns the input and every class, of every data set where there are several."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from augment.faces.tensors import FaceTensors
from augment.translators.base import LearnedTranslator, Translator
from augment.translators.columns import own_columns, sheet_columns

_CELL = 72  # pixels; smaller pictures are enlarged to about this
_GAP = 2
_HEADER = 18  # of one line
_LINE = 11  # of each further line
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
    """Translates every face to every class, of every data set that the translator makes faces of.

    Args:
        translator: In evaluation mode.
        faces: N faces on the translator's device.
        generator: A CPU generator.

    Returns:
        uint8 [N, columns, C, H, W], on the CPU; the columns are those of `sheet_columns`.
    """
    columns = sheet_columns(translator, faces.class_names)
    count, device = len(faces), faces.labels.device
    repeated = faces.take(torch.arange(count).repeat_interleave(len(columns)))
    targets = torch.tensor([column.label for column in columns], device=device).repeat(count)
    domains = None
    if translator.data_sets:
        domains = torch.tensor([column.domain for column in columns], device=device).repeat(count)
    translated = translator.translate_to(repeated, targets, domains, generator)
    return translated.cpu().reshape(count, len(columns), *translated.shape[1:])


def draw_sheet(
    inputs: torch.Tensor | None, outputs: torch.Tensor, own: Sequence[int], headings: Sequence[str]
) -> Image.Image:
    """Draws a sample sheet.

    Args:
        inputs: uint8 [N, C, H, W]; None where the outputs are made of no face.
        outputs: uint8 [N, columns, C, H, W].
        own: For each input the column of its own class, which is framed; -1: there is none.
        headings: Of the columns.

    Returns:
        An RGB picture.
    """
    rows, size = len(outputs), outputs.shape[-1]
    scale = max(1, round(_CELL / size))
    cell = size * scale
    pitch = cell + _GAP
    shown = headings if inputs is None else ["input", *headings]
    titles = [heading.split(": ", 1) for heading in shown]  # a data set stands above the class
    first = len(titles) - outputs.shape[1]  # the column of the first output
    header = _HEADER + _LINE * (max(map(len, titles)) - 1)
    sheet = Image.new("RGB", (len(titles) * pitch + _GAP, rows * pitch + _GAP + header), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default()
    for column, lines in enumerate(titles):
        for place, line in enumerate(lines):
            while len(line) > 1 and draw.textlength(line, font=font) > cell:
                line = line[:-1]
            draw.text((_GAP + column * pitch, 3 + place * _LINE), line, fill=_INK, font=font)
    for row in range(rows):
        pictures = [*([] if inputs is None else [inputs[row]]), *outputs[row]]
        for column, pixels in enumerate(pictures):
            picture = _picture(pixels)
            if scale > 1:
                picture = picture.resize((cell, cell), Image.Resampling.BICUBIC)
            left, top = _GAP + column * pitch, header + _GAP + row * pitch
            sheet.paste(picture, (left, top))
            if inputs is not None and own[row] >= 0 and column == own[row] + first:
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


def sample_sheet(translator: Translator, faces: FaceTensors, generator: torch.Generator, *, phase: str = "") -> bytes:
    """Translates faces to every class and draws them; or what the translator shows of a phase in the place of that.

    Args:
        translator: In evaluation mode.
        faces: N training faces on the translator's device.
        generator: A CPU generator.
        phase: The name of the phase of the training that the translator is in.

    Returns:
        A PNG file's bytes.
    """
    headings = [column.heading for column in sheet_columns(translator, faces.class_names)]
    made = (
        translator.samples_of_phase(phase, len(faces), generator) if isinstance(translator, LearnedTranslator) else None
    )
    if made is not None:
        sheet = draw_sheet(None, made.cpu(), (), headings)
    else:
        outputs = translate_to_all(translator, faces, generator)
        sheet = draw_sheet(faces.images.cpu(), outputs, own_columns(translator, faces), headings)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
