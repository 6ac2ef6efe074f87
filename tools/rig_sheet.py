"""Contact sheets of the rig: `python -m tools.rig_sheet docs/` writes rig-expressions.png and its siblings."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from augment.rig.action_units import EXPRESSIONS
from augment.rig.lighting import ILLUMINATIONS
from augment.rig.presets import preset, preset_names
from augment.rig.render import FaceSpec, RigImages, render

Array = np.ndarray

_HEADING, _MARGIN, _GAP = 24, 96, 2
_MASK_COLOURS = np.array([(0, 0, 0), (70, 120, 220), (230, 60, 70), (90, 220, 110)], np.float32)


def _spec(subject: int, expression: str, **changes: object) -> FaceSpec:
    name = f"sheet/{subject}/{expression}/" + "/".join(map(str, changes.values()))
    plain = FaceSpec(name, subject, expression, expression, 0, 0.0, "normal", 0.9, None, None)
    return replace(plain, **changes)  # type: ignore[arg-type]


def grid(rows: list[Array], columns: tuple[str, ...], names: tuple[str, ...]) -> Image.Image:
    """Tile images [n, H, W, 3] a row under column headings, with row names on the left."""
    height, width = rows[0].shape[1:3]
    sheet = Image.new(
        "RGB",
        (_MARGIN + len(columns) * (width + _GAP), _HEADING + len(rows) * (height + _GAP)),
        "white",
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for index, name in enumerate(columns):
        draw.text((_MARGIN + index * (width + _GAP) + width / 2, _HEADING / 2), name, "black", font, anchor="mm")
    for row, (images, name) in enumerate(zip(rows, names, strict=True)):
        top = _HEADING + row * (height + _GAP)
        draw.text((_MARGIN - 8, top + height / 2), name, "black", font, anchor="rm")
        for index, image in enumerate(images):
            sheet.paste(Image.fromarray(image), (_MARGIN + index * (width + _GAP), top))
    return sheet


def overlay(faces: RigImages, scale: int = 2) -> Array:
    """Pictures [n, H, W, 3] with masks laid over them and landmarks drawn (red where hidden), enlarged by `scale`."""
    out = []
    for image, mask, points, visible in zip(faces.images, faces.masks, faces.landmarks, faces.visible, strict=True):
        tinted = image.astype(np.float32)
        tinted[mask > 0] = 0.55 * tinted[mask > 0] + 0.45 * _MASK_COLOURS[mask[mask > 0]]
        big = Image.fromarray(tinted.astype(np.uint8)).resize((image.shape[1] * scale,) * 2, Image.Resampling.NEAREST)
        draw = ImageDraw.Draw(big)
        for (x, y), seen in zip(points * image.shape[0] * scale, visible, strict=True):
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), "yellow" if seen else "red")
        out.append(np.asarray(big))
    return np.stack(out)


def expressions_sheet(subjects: int = 8, size: int = 128) -> Image.Image:
    """Several subjects, every expression."""
    rows = [
        render([_spec(subject, name) for name in EXPRESSIONS], size=size, channels=3, seed=0).images
        for subject in range(subjects)
    ]
    return grid(rows, EXPRESSIONS, tuple(f"subject {subject}" for subject in range(subjects)))


def poses_sheet(size: int = 128) -> Image.Image:
    """Seven yaws under three lights for two people."""
    yaws = (-45.0, -30.0, -15.0, 0.0, 15.0, 30.0, 45.0)
    rows, names = [], []
    for subject, expression in ((1, "neutral"), (5, "happy")):
        for light in ILLUMINATIONS:
            specs = [_spec(subject, expression, yaw=yaw, illumination=light) for yaw in yaws]
            rows.append(render(specs, size=size, channels=3, seed=0).images)
            names.append(light)
    return grid(rows, tuple(f"{yaw:+.0f}°" for yaw in yaws), tuple(names))


def masks_sheet(size: int = 128) -> Image.Image:
    """Masks and landmarks over faces at several yaws; landmarks that are hidden are red."""
    yaws = (-45.0, -20.0, 0.0, 20.0, 45.0)
    rows, names = [], []
    for subject, expression in ((2, "neutral"), (4, "surprise"), (6, "happy")):
        specs = [_spec(subject, expression, yaw=yaw) for yaw in yaws]
        rows.append(overlay(render(specs, size=size, channels=3, seed=0)))
        names.append(expression)
    return grid(rows, tuple(f"{yaw:+.0f}°" for yaw in yaws), tuple(names))


def presets_sheet(size: int = 96, faces: int = 12) -> Image.Image:
    """A sample of each preset."""
    rows = []
    for name in preset_names():
        population = preset(name, seed=0)
        picks = np.random.default_rng(4).choice(len(population.specs), faces, replace=False)
        rows.append(render([population.specs[index] for index in picks], size=size, channels=3, seed=0).images)
    moment = preset("bu3dfe", seed=0, subjects=2).specs[::20][:faces]
    rows.append(render([spec.simulated_frontal for spec in moment], size=size, channels=3, seed=0).images)
    return grid(rows, ("",) * faces, (*preset_names(), "simulated"))


def write_sheets(folder: Path) -> list[Path]:
    """Write all sheets as PNG into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets: dict[str, Callable[[], Image.Image]] = {
        "expressions": expressions_sheet,
        "poses": poses_sheet,
        "masks": masks_sheet,
        "presets": presets_sheet,
    }
    written = []
    for name, make in sheets.items():
        written.append(folder / f"rig-{name}.png")
        make().save(written[-1], optimize=True)
    return written


if __name__ == "__main__":
    for path in write_sheets(Path(sys.argv[1] if len(sys.argv) > 1 else "docs")):
        print(path)
