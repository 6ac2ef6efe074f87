"""The report's figures, drawn off-screen. Each takes a theme, because the page has a light and a dark one."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from reports.colours import mix, parse_colour, readable_on, write_colour
from reports.inputs import ReportData, loss_terms
from reports.statistics import HELPED, HURT, METRIC_WORDS
from reports.tables import accuracy_against_n, signed


@dataclass(frozen=True)
class Theme:
    """Colours of a figure; the same as the page's.

    Attributes:
        name: light or dark.
        background: Background.
        ink: Text and axes.
        faint: Grid lines and secondary text.
        helped: A difference above 0.
        hurt: A difference below 0.
        unclear: A difference that is not clear.
        series: Lines; distinguishable with colour blindness (Okabe and Ito, 2008).
        ramp: First and last colour of the confusion matrices' colour map.
    """

    name: str
    background: str
    ink: str
    faint: str
    helped: str
    hurt: str
    unclear: str
    series: tuple[str, ...]
    ramp: tuple[str, str]


LIGHT = Theme(
    "light",
    "#ffffff",
    "#1c2430",
    "#8a93a0",
    "#0f7b6c",
    "#b3402a",
    "#565e6b",
    ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a5195", "#444444"),
    ("#ffffff", "#0b5f8a"),
)
DARK = Theme(
    "dark",
    "#171c24",
    "#e7ebf0",
    "#7d8794",
    "#4fc3ae",
    "#f08a70",
    "#a3acb8",
    ("#5ab4e8", "#f39a5a", "#43c59e", "#e3a1c8", "#e0c15a", "#9fd4f5", "#b79ad6", "#c7ccd3"),
    ("#171c24", "#6cc3f0"),
)
THEMES = (LIGHT, DARK)


@dataclass(frozen=True)
class RenderedFigure:
    """A figure's pictures, as PNG.

    Attributes:
        light: For the light theme.
        dark: For the dark theme.
        width: In CSS pixels.
        height: In CSS pixels.
    """

    light: bytes
    dark: bytes
    width: int
    height: int


def render_figures(data: ReportData) -> dict[str, RenderedFigure]:
    """The figures that the page shows, by file name."""
    drawings: dict[str, Callable[[Theme], Figure | None]] = {
        "accuracy_against_n": lambda theme: draw_accuracy_against_n(data, theme),
        "classifiers": lambda theme: draw_classifier_curves(data, theme),
    }
    for name, log in data.logs.items():
        drawings[f"losses-{name}"] = lambda theme, log=log: draw_losses(log, theme)  # type: ignore[misc]
    rendered = {}
    for name, draw in drawings.items():
        pictures = []
        for theme in THEMES:
            with matplotlib.rc_context(_style(theme)):
                figure = draw(theme)
                if figure is None:
                    break
                pictures.append(png_bytes(figure))
                width, height = (round(100 * edge) for edge in figure.get_size_inches())
        else:
            rendered[name] = RenderedFigure(pictures[0], pictures[1], width, height)
    return rendered


def _style(theme: Theme) -> Any:
    return {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "axes.edgecolor": theme.faint,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.facecolor": theme.background,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.prop_cycle": cycler(color=theme.series),
        "figure.facecolor": theme.background,
        "grid.color": theme.faint,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "legend.labelcolor": theme.ink,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
    }


def new_figure(width: float, height: float, theme: Theme, rows: int = 1, columns: int = 1) -> tuple[Figure, np.ndarray]:
    """A figure of `width` x `height` inches and its axes [rows, columns], in the theme's colours."""
    with matplotlib.rc_context(_style(theme)):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
    return figure, axes


def png_bytes(figure: Figure, *, dots_per_inch: int = 120) -> bytes:
    """Draws a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return buffer.getvalue()


def draw_differences(data: ReportData, theme: Theme) -> Figure:
    """Each arm's difference from the baseline arm with its interval, in points."""
    names = list(data.comparisons)
    figure, axes = new_figure(8.0, 1.1 + 0.38 * max(len(names), 1), theme)
    axis: Axes = axes[0, 0]
    colours = {HELPED: theme.helped, HURT: theme.hurt}
    for row, name in enumerate(names):
        comparison = data.comparisons[name]
        value, low, high = (100 * x for x in _triple(comparison.main))
        colour = theme.unclear if comparison.trained_once else colours.get(comparison.verdict, theme.unclear)
        axis.plot([low, high], [row, row], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
        axis.plot(value, row, "o", color=colour, markersize=7)
        axis.annotate(
            f"{signed(value)}  [{signed(low)}, {signed(high)}]  {comparison.cautious_verdict}",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            color=colour,
            annotation_clip=False,
        )
    axis.axvline(0, color=theme.ink, linewidth=1)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="x")
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    level = data.settings.bootstrap.level
    axis.set_xlabel(
        f"{METRIC_WORDS[data.metric]} minus that of {data.baseline!r}, points ({level:.0%} paired interval)"
    )
    return figure


def draw_accuracy_against_n(data: ReportData, theme: Theme) -> Figure | None:
    """The report's metric against the number of synthetic faces per class; None if no arm uses any.

    A line is drawn only through a series with two or more numbers; otherwise it would suggest an unmeasured trend.
    """
    table = accuracy_against_n(data)
    if table.empty:
        return None
    figure, axes = new_figure(7.2, 3.8, theme)
    axis: Axes = axes[0, 0]
    metric = data.metric
    base = 100 * data.summaries[data.baseline].score(metric)
    axis.axhline(base, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)))
    positions = {n: place for place, n in enumerate(sorted(table["n"].unique()))}
    series = list(table.groupby("series", sort=False))
    for number, (label, rows) in enumerate(series):
        colour = theme.series[number % len(theme.series)]
        offset = (number - (len(series) - 1) / 2) * 0.06
        places = np.array([positions[n] for n in rows["n"]], float)
        drawn = places + np.where(places > 0, offset, 0)
        real = places > 0
        if real.sum() > 1:
            axis.plot(drawn, rows[metric], "-", color=colour, linewidth=1.6)
        errors = np.stack([rows[metric] - rows[f"{metric}_low"], rows[f"{metric}_high"] - rows[metric]])
        errors = errors[:, real].clip(min=0)
        axis.errorbar(
            drawn[real],
            rows[metric][real],
            yerr=errors,
            fmt="o",
            color=colour,
            capsize=4,
            elinewidth=1.6,
            label=label,
        )
    axis.set_xticks(list(positions.values()), [f"{n:,}" if n else "real\nonly" for n in positions])
    axis.set_xlabel("synthetic faces per class")
    axis.set_ylabel(f"{data.settings.split} {METRIC_WORDS[metric]}, %")
    axis.grid(axis="y")
    axis.legend(loc="best")
    return figure


def draw_confusions(data: ReportData, theme: Theme, arms: Sequence[str] | None = None) -> Figure:
    """Confusion matrices side by side, each row in per cent of the class's faces."""
    names = list(arms if arms is not None else data.summaries)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    size = 1.0 + 0.42 * len(data.class_names)
    figure, axes = new_figure(columns * size, rows * size, theme, rows, columns)
    ramp = matplotlib.colors.LinearSegmentedColormap.from_list("ramp", theme.ramp)
    for place, axis in enumerate(axes.flat):
        if place >= len(names):
            axis.set_visible(False)
            continue
        shares = row_shares(data.summaries[names[place]].confusion)
        axis.imshow(np.nan_to_num(shares), cmap=ramp, vmin=0, vmax=1)
        for (i, j), share in np.ndenumerate(shares):
            background = mix(parse_colour(theme.ramp[0]), parse_colour(theme.ramp[1]), float(np.nan_to_num(share)))
            text = "–" if np.isnan(share) else f"{100 * share:.0f}"
            colour = write_colour(readable_on(background))
            axis.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
        ticks = range(len(data.class_names))
        axis.set_xticks(ticks, data.class_names, rotation=45, ha="right", fontsize=7)
        axis.set_yticks(ticks, data.class_names, fontsize=7)
        axis.set_title(f"{names[place]}  {100 * data.summaries[names[place]].score(data.metric):.1f} %", fontsize=9)
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    figure.supylabel("actual", fontsize=8)
    figure.supxlabel("predicted", fontsize=8)
    return figure


def draw_losses(log: pd.DataFrame, theme: Theme) -> Figure | None:
    """A translator's loss terms over its steps, one panel per term; None for a translator without training steps."""
    terms = loss_terms(log)
    if not terms or len(log) < 2:
        return None
    columns = min(4, len(terms))
    rows = -(-len(terms) // columns)
    figure, axes = new_figure(2.3 * columns, 1.7 * rows, theme, rows, columns)
    for place, axis in enumerate(axes.flat):
        if place >= len(terms):
            axis.set_visible(False)
            continue
        term = terms[place]
        present = log[term].notna()
        colour = theme.series[1] if "discriminator" in term else theme.series[0]
        style = "-" if present.sum() > 1 else "o"
        axis.plot(log["step"][present], log[term][present], style, color=colour, linewidth=1.2, markersize=3)
        axis.set_title(term.replace("_", " ").replace("/", ": "), fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid()
    figure.supxlabel("step", fontsize=8)
    return figure


def draw_classifier_curves(data: ReportData, theme: Theme) -> Figure | None:
    """The report's metric on validation faces over the steps, one line per arm, mean over folds and seeds."""
    lines = {
        name: history.groupby("step")[data.metric].mean()
        for name, history in data.histories.items()
        if {"step", data.metric} <= set(history.columns)
    }
    if not lines:
        return None
    figure, axes = new_figure(7.2, 3.6, theme)
    axis: Axes = axes[0, 0]
    for number, (name, line) in enumerate(lines.items()):
        style = ("-", "--", ":")[number // 8 % 3] if len(line) > 1 else "o"  # a single evaluation is drawn as a point
        axis.plot(line.index, 100 * line, style, label=name, linewidth=1.5)
        axis.lines[-1].set_color(theme.series[number % len(theme.series)])
    axis.set_xlabel("optimizer step")
    axis.set_ylabel(f"validation {METRIC_WORDS[data.metric]}, %")
    axis.grid()
    axis.legend(fontsize=7, ncols=2)
    return figure


def draw_gallery(gallery: dict[str, Any], theme: Theme) -> Figure:
    """A translator's gallery, one row per face: the input, then every class (of every data set, named above it)."""
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(gallery["png"])), formats=("PNG",)).convert("RGB"))
    columns, rows, size = len(gallery["columns"]), len(gallery["row_labels"]), gallery["size"]
    gap = max(2, size // 16)
    background = np.array([round(255 * part) for part in matplotlib.colors.to_rgb(theme.background)], np.uint8)
    # A wider gap separates the input from the outputs.
    lefts = [column * (size + gap) + (gap if column else 0) for column in range(columns)]
    spaced = np.broadcast_to(background, (rows * (size + gap) - gap, lefts[-1] + size, 3)).copy()
    for row in range(rows):
        for column, left in enumerate(lefts):
            tile = sheet[row * size : (row + 1) * size, column * size : (column + 1) * size]
            spaced[row * (size + gap) : row * (size + gap) + size, left : left + size] = tile
    figure, axes = new_figure(columns * 0.78 + 0.6, rows * 0.78 + 0.4, theme)
    axis: Axes = axes[0, 0]
    axis.imshow(spaced, interpolation="antialiased")
    headings = [column.replace(": ", "\n", 1) for column in gallery["columns"]]
    axis.set_xticks([left + size / 2 for left in lefts], headings, fontsize=8)
    axis.xaxis.tick_top()
    centres = [row * (size + gap) + size / 2 for row in range(rows)]
    axis.set_yticks(centres, gallery["row_labels"], fontsize=7, rotation=90, va="center")
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    return figure


def row_shares(confusion: np.ndarray) -> np.ndarray:
    """Shares [K, K] of each row's total; NaN for a class that never occurs."""
    totals = confusion.sum(axis=1, keepdims=True).astype(float)
    return np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)


def _triple(interval: Any) -> tuple[float, float, float]:
    return interval.value, interval.low, interval.high
