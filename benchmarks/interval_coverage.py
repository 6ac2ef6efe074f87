"""How often the interval of a difference holds the true one, in worlds where both arms are alike.

Each world has people, faces of theirs, and two arms of one training a seed. A face is right where its ease lies below
an arm's skill, which differs from training to training, from person to person, and from training to training with one
person. The true difference is 0. Beside the interval of the reports (`reports.crossed_variance`) stands the one that it
replaced: people and trainings drawn again, crossed, and the percentiles of what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass

import click
import numpy as np
from scipy.stats import norm

from augment.core.progress import track
from reports.crossed_variance import crossed_estimates
from reports.statistics import interval_of
from reports.tables import markdown_table

LEVEL = 0.95


@dataclass(frozen=True)
class World:
    """How a comparison is made, and what makes its arms differ.

    Attributes:
        name: In words.
        people: In the test set.
        faces: Of each person.
        seeds: Trainings of each arm.
        person: Standard deviation of an arm's skill over people, in 0..1, as for the next two.
        training: Over trainings.
        both: Of one training with one person.
        largest: Share of the first person's faces of all; None: everybody has as many.
        folds: Parts of the people, each tested by classifiers of its own that learned from the other parts.
        fold: Over folds: what other training faces, and a translator that learned from them, would give.
    """

    name: str
    people: int
    faces: int
    seeds: int
    person: float = 0.05
    training: float = 0.01
    both: float = 0.05
    largest: float | None = None
    folds: int = 1
    fold: float = 0.0


WORLDS = (
    World("embedded faces, as the default has them", 200, 7, 5),
    World("the same, three seeds", 200, 7, 3),
    World("FER2013: nobody known, five seeds", 3500, 1, 5, training=0.006),
    World("the same, three seeds", 3500, 1, 3, training=0.006),
    World("few trainings that differ much", 200, 7, 3, training=0.04),
    World("the same, two seeds", 200, 7, 2, training=0.04),
    World("60 people", 60, 7, 5),
    World("20 people, of whom one has half of the faces", 20, 7, 5, largest=0.5),
    World("20 people", 20, 7, 5),
    World("10 people", 10, 7, 3),
    World("7 people", 7, 7, 3),
    World("5 people", 5, 7, 3),
    World("ten folds of 20 people", 200, 7, 5, folds=10),
    World("the same, but folds differ", 200, 7, 5, folds=10, fold=0.01),
    World("the same, but folds differ much", 200, 7, 5, folds=10, fold=0.03),
    World("three folds of 26 people", 78, 6, 3, folds=3),
    World("the same, but folds differ", 78, 6, 3, folds=3, fold=0.01),
    World("the same, but folds differ much", 78, 6, 3, folds=3, fold=0.03),
    World("five folds of 700 faces, nobody known, folds differ", 3500, 1, 5, folds=5, fold=0.01),
    World("one seed: trainings not seen to differ", 200, 7, 1),
)


def drawn_counts(world: World, random: np.random.Generator) -> list[np.ndarray]:
    """Hits of both arms and faces of each fold, float [people, seeds, 3, 1], of one draw of everything."""
    most = world.faces
    if world.largest is not None:
        most = round(world.largest / (1 - world.largest) * world.faces * (world.people - 1))
    there = np.arange(most) < np.where(np.arange(world.people) == 0, most, world.faces)[:, None, None]
    folds = []
    for people in np.array_split(np.arange(world.people), world.folds):
        ease = random.random((len(people), 1, most))
        skill = 0.65 + random.normal(0, 0.15, (len(people), 1, 1))
        counts = np.zeros((world.people, world.seeds, 3, 1))
        counts[people, :, 2, 0] = there[people].sum(axis=2)
        for arm in range(2):
            own = skill + random.normal(0, world.person, (len(people), 1, 1))
            own = own + random.normal(0, world.training, (1, world.seeds, 1))
            own = own + (random.normal(0, world.fold) if world.fold else 0.0)
            own = own + random.normal(0, world.both, (len(people), world.seeds, 1))
            noise = random.normal(0, 0.1, (len(people), world.seeds, most))
            counts[people, :, arm, 0] = ((ease < own + noise) & there[people]).sum(axis=2)
        folds.append(counts)
    return folds


def crossed_bootstrap(
    folds: list[np.ndarray], random: np.random.Generator, resamples: int = 500
) -> tuple[float, float]:
    """The percentile interval of people and trainings that are drawn again, crossed (Owen 2007)."""
    gained, seen = np.zeros(resamples), np.zeros(resamples)
    for counts in folds:
        counts = counts[counts[:, :, 2, 0].any(axis=1)]
        gains, faces = counts[:, :, 0, 0] - counts[:, :, 1, 0], counts[:, :, 2, 0]
        people, seeds = gains.shape
        of_people = random.multinomial(people, np.full(people, 1 / people), size=resamples).astype(float)
        of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples).astype(float)
        gained += np.einsum("bs,bs->b", of_people @ gains, of_seeds)
        seen += np.einsum("bs,bs->b", of_people @ faces, of_seeds)
    low, high = np.quantile(gained / seen, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def row_of(world: World, draws: int, seed: int) -> dict[str, str]:
    """How often both intervals hold 0, with the error of that share, and how wide they are."""
    random = np.random.default_rng(seed)
    held, widths = np.zeros((draws, 2), bool), np.zeros((draws, 2))
    for draw in range(draws):
        counts = drawn_counts(world, random)
        interval = interval_of(crossed_estimates(counts, over_trainings=world.seeds > 1)[0], LEVEL)
        for place, (low, high) in enumerate(((interval.low, interval.high), crossed_bootstrap(counts, random))):
            held[draw, place], widths[draw, place] = low <= 0 <= high, high - low
    error = norm.ppf((1 + LEVEL) / 2) * np.sqrt(LEVEL * (1 - LEVEL) / draws)
    sizes = f"{world.people:,} x {world.faces} faces, {world.seeds} seed{'s' if world.seeds > 1 else ''}"
    sizes += f", {world.folds} folds" if world.folds > 1 else ""
    spreads = " / ".join(f"{100 * spread:g}" for spread in (world.person, world.training, world.both, world.fold))
    shares = [f"{100 * share:.1f} %" for share in held.mean(axis=0)]
    points = [f"{100 * width:.1f}" for width in np.median(widths, axis=0)]
    return {
        "world": world.name,
        "sizes": sizes,
        "skill differs by person / training / both / fold, points": spreads,
        f"holds 0 (95.0 ± {100 * error:.1f} wanted)": shares[0],
        "width, points": points[0],
        "crossed bootstrap: holds 0": shares[1],
        "its width": points[1],
    }


@click.command(help=__doc__)
@click.option("--draws", type=click.IntRange(min=50), default=1000, show_default=True, help="Of each world.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--only", multiple=True, metavar="WORDS", help="Worlds whose names have these words; several times.")
def main(draws: int, seed: int, only: tuple[str, ...]) -> None:
    import pandas as pd

    chosen = [world for world in WORLDS if not only or any(words in world.name for words in only)]
    rows = [row_of(world, draws, seed) for world in track(chosen, desc="worlds", unit="worlds")]
    said = "".join(f' --only "{words}"' for words in only)
    click.echo(f"`python -m benchmarks.interval_coverage --draws {draws} --seed {seed}{said}`\n")
    click.echo(markdown_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
