"""Readable text on colours: contrast by the Web Content Accessibility Guidelines, and the colour ramp of heat cells.

WCAG 2.2, success criterion 1.4.3: text needs a contrast of 4.5 with its background. Black or white always has it (at
least 4.58, at a luminance of 0.179), so every cell of a ramp uses the better of the two.
"""

from __future__ import annotations

import re

CONTRAST = 4.5
STEPS = 20  # of the ramp, from 0 to 1; a cell prints its number, so its colour need not be exact

Colour = tuple[int, int, int]
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)


def parse_colour(text: str) -> Colour:
    """Red, green and blue (0..255) of `#rrggbb`.

    Raises:
        ValueError: It has another format.
    """
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise ValueError(f"{text!r} is not a colour of the form #rrggbb")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def write_colour(colour: Colour) -> str:
    """`#rrggbb`."""
    return "#" + "".join(f"{part:02x}" for part in colour)


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 (black) to 1 (white), of an sRGB colour."""
    red, green, blue = (
        part / 255 / 12.92 if part / 255 <= 0.04045 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in colour
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Colour, other: Colour) -> float:
    """Contrast ratio, 1 (none) to 21 (black on white); symmetric."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def readable_on(background: Colour) -> Colour:
    """Black or white, whichever has more contrast."""
    return max((BLACK, WHITE), key=lambda text: contrast(text, background))


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """`share` (0..1) of the second colour, the rest of the first, in sRGB."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue


def heat_step(share: float) -> int:
    """The ramp's step for a share (0..1)."""
    return round(min(max(share, 0.0), 1.0) * STEPS)


def heat_rules(background: str, full: str) -> list[tuple[str, str]]:
    """The ramp of one theme: for each step the colours of background and text, as `#rrggbb`.

    Args:
        background: The colour of step 0, `#rrggbb`.
        full: The colour of the last step.
    """
    colours = [mix(parse_colour(background), parse_colour(full), step / STEPS) for step in range(STEPS + 1)]
    return [(write_colour(colour), write_colour(readable_on(colour))) for colour in colours]


def heat_style() -> str:
    """The style sheet of heat cells, light and dark: classes h0 to h20."""
    from reports.figures import DARK, LIGHT

    light, dark = (
        " ".join(
            f".heat td.h{step} {{ background: {background}; color: {text}; }}"
            for step, (background, text) in enumerate(heat_rules(*theme.ramp))
        )
        for theme in (LIGHT, DARK)
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"
