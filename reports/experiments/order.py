"""Whether the published order of a table's rows came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations


@dataclass(frozen=True)
class Order:
    """Ours beside the published order.

    Attributes:
        pairs: Pairs of rows that were run and that the paper ranks.
        agreeing: Those that ours ranks alike; equal values agree with no order.
        best_published: The best published rows among those that were run.
        best_ours: The best of ours among those that the paper ranks; several where they are equal.
        ranked: All rows that the paper ranks, run or not.
    """

    pairs: int
    agreeing: int
    best_published: tuple[str, ...]
    best_ours: tuple[str, ...]
    ranked: tuple[str, ...]

    @property
    def came_out(self) -> bool:
        """Whether every pair agrees."""
        return self.agreeing == self.pairs

    @property
    def share(self) -> float:
        """The share of pairs that agree."""
        return self.agreeing / self.pairs

    @property
    def summary(self) -> str:
        """How many agree, in a few words."""
        return f"{self.agreeing} of {self.pairs} pairs"

    def describe(self, titles: Mapping[str, str]) -> str:
        """The order in words.

        Args:
            titles: Of the experiment's rows, those that the paper does not rank too.
        """
        best = " and ".join(titles[name] for name in self.best_ours)
        if set(self.best_ours) <= set(self.best_published):
            first = "as published"
        else:
            first = f"where the paper has {' or '.join(titles[name] for name in self.best_published)}"
        verdict = "The published order came out" if self.came_out else "The published order did not come out"
        among = " of those that the paper ranks" if set(titles) - set(self.ranked) else ""
        return f"{verdict}: {self.summary} of rows are in it; the best{among} is {best}, {first}."


def compare_order(
    values: Mapping[str, float], groups: Sequence[Sequence[str]], *, smaller: bool = False
) -> Order | None:
    """Compares the order of our values with the paper's.

    Args:
        values: Row -> our figure; rows that were not run are absent.
        groups: The paper's groups of rows, the best first; rows of one group are not compared.
        smaller: Whether less is better.

    Returns:
        None where fewer than two groups have a row that was run.
    """
    ranks = {name: rank for rank, group in enumerate(groups) for name in group if name in values}
    if len(set(ranks.values())) < 2:
        return None
    sign = -1 if smaller else 1
    ranked = [(one, other) for one, other in combinations(ranks, 2) if ranks[one] != ranks[other]]
    agreeing = sum(
        (sign * (values[one] - values[other]) > 0) == (ranks[one] < ranks[other]) and values[one] != values[other]
        for one, other in ranked
    )
    least = min(ranks.values())
    best = max(sign * values[name] for name in ranks)
    return Order(
        pairs=len(ranked),
        agreeing=agreeing,
        best_published=tuple(name for name, rank in ranks.items() if rank == least),
        best_ours=tuple(name for name in ranks if sign * values[name] == best),
        ranked=tuple(name for group in groups for name in group),
    )
