"""Distances of each class's faces in the course of several trainings, as CCycleGAN's figure 3 shows and judges them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from augment.core.errors import InputError, Problem
from reports.figures import LIGHT, new_figure
from reports.inputs import read_json_lines

BETA = 0.4  # as published
DISTANCES = "distances.csv"  # in the folder of a filed run


def smoothed(values: np.ndarray, beta: float = BETA) -> np.ndarray:
    """The exponential moving average with bias correction (Kingma and Ba, "Adam", 2015, section 3).

    s_t = beta s_(t-1) + (1 - beta) x_t with s_0 = 0, divided by 1 - beta^t: so the first value is x_1.

    Args:
        values: [T], or [T, K] for K series.
        beta: Weight of what came before, 0 <= beta < 1.
    """
    found = pd.DataFrame(values).ewm(alpha=1 - beta, adjust=True).mean().to_numpy()
    return found.reshape(np.shape(values))


def read_distances(files: Mapping[str, Path]) -> dict[str, pd.DataFrame]:
    """The smoothed distances of each training: index step, a column for each class.

    Args:
        files: Translator -> its distances.jsonl (`augment.training.distances`); absent ones are left out.

    Raises:
        InputError: A line is not JSON, or of a form that is no longer written.
    """
    found = {}
    for name, file in files.items():
        if file.is_file() and not (table := read_json_lines(file)).empty:
            if "distances" not in table or table["distances"].isna().any():
                raise InputError(Problem(str(file), "was written by older code", f"run s2l train {name} again"))
            table = pd.DataFrame(table["distances"].tolist(), index=table["step"])
            found[name] = pd.DataFrame(smoothed(table.to_numpy(float)), index=table.index, columns=table.columns)
    return found


def distance_figures(curves: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, float]]:
    """What is said of each training: its last mean distance, and how often it is the best of all.

    The paper calls those settings the best that have the smallest distance at a given epoch in a given class: the cells
    of step and class are counted that all trainings have.

    Args:
        curves: As `read_distances` gives them.
    """
    figures = {name: {"distance": float(curve.iloc[-1].mean())} for name, curve in curves.items()}
    if len(curves) > 1:
        together = pd.concat({name: curve.stack() for name, curve in curves.items()}, axis=1).dropna()
        best = together.idxmin(axis=1).value_counts() if len(together) else pd.Series(dtype=int)
        for name, found in figures.items():
            found["share of the smallest distances"] = 100.0 * float(best.get(name, 0)) / max(len(together), 1)
    return figures


def distance_table(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The smoothed distances as a long table: translator, class, step, distance."""
    parts = [
        curve.reset_index().melt("step", var_name="class", value_name="distance").assign(translator=name)
        for name, curve in curves.items()
    ]
    return pd.concat(parts, ignore_index=True)[["translator", "class", "step", "distance"]]


def draw_distances(curves: Mapping[str, pd.DataFrame], titles: Mapping[str, str]) -> Figure:
    """One panel for each class, a line for each training.

    Args:
        curves: As `read_distances` gives them.
        titles: Of the trainings, for the legend; one without a title is called by its key.
    """
    classes = list(next(iter(curves.values())).columns)
    columns = min(4, len(classes))
    rows = -(-len(classes) // columns)
    figure, axes = new_figure(2.4 * columns, 2.0 * rows + 0.8, LIGHT, rows, columns)
    for axis, name in zip(axes.flat, classes, strict=False):
        for number, (key, curve) in enumerate(curves.items()):
            colour = LIGHT.series[number % len(LIGHT.series)]
            axis.plot(curve.index, curve[name], label=titles.get(key, key), linewidth=1.1, color=colour)
        axis.set_title(name, fontsize=8)
        axis.set_xlabel("step", fontsize=7)
        axis.tick_params(labelsize=7)
        axis.grid()
    for axis in axes.flat[len(classes) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=7, ncols=min(2, len(labels)))
    return figure
