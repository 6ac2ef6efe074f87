"""Whether what a paper states of rows beside one other, without figures, came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.experiments.catalogue import SMALLER_IS_BETTER, Against
from reports.experiments.rows import ResultRow
from reports.statistics import HELPED, HURT, SEEMS, UNCLEAR

BETTER, SAME, WORSE, NO_BETTER = "better", "same", "worse", "no better"
_OF_VERDICTS = {HELPED: BETTER, SEEMS[HELPED]: BETTER, HURT: WORSE, SEEMS[HURT]: WORSE, UNCLEAR: SAME}
_FITTING = {BETTER: (BETTER,), SAME: (SAME,), WORSE: (WORSE,), NO_BETTER: (SAME, WORSE)}


@dataclass(frozen=True)
class Statement:
    """What the paper states of one row, and what ours says of it.

    Attributes:
        row: Its name.
        published: better, same, worse or no better.
        ours: better, same or worse.
        words: Ours in words: the verdict of the difference, or where there is none the same as `ours`.
    """

    row: str
    published: str
    ours: str
    words: str

    @property
    def came_out(self) -> bool:
        """Whether ours says the same; of one that is no better, whatever is not better."""
        return self.ours in _FITTING[self.published]


@dataclass(frozen=True)
class Statements:
    """Ours beside the paper's statements on rows beside one other.

    Attributes:
        against: The row that they are beside.
        judged: Those that can be judged.
        by_sign: Whether by the sign of the difference of two figures, for want of paired differences.
        beyond_signs: Rows that the paper has the same, of which a sign says nothing.
        without_figures: Rows that were not run, or have nothing to judge by.
    """

    against: str
    judged: tuple[Statement, ...]
    by_sign: bool
    beyond_signs: tuple[str, ...]
    without_figures: tuple[str, ...]

    @property
    def agreeing(self) -> int:
        """How many came out."""
        return sum(statement.came_out for statement in self.judged)

    @property
    def came_out(self) -> bool:
        """Whether all did."""
        return self.agreeing == len(self.judged)

    @property
    def share(self) -> float:
        """The share of those that came out."""
        return self.agreeing / len(self.judged)

    @property
    def summary(self) -> str:
        """How many came out, in a few words."""
        return f"{self.agreeing} of {len(self.judged)} statements{' by sign' if self.by_sign else ''}"

    def describe(self, titles: Mapping[str, str]) -> str:
        """How many came out of each kind, which did not, and what ours says of those.

        Args:
            titles: Of the rows.
        """
        kinds = {kind: [one for one in self.judged if one.published == kind] for kind in _FITTING}
        counts = [f"{kind} {sum(one.came_out for one in of)} of {len(of)}" for kind, of in kinds.items() if of]
        how = (
            "by the sign of the difference alone, however small"
            if self.by_sign
            else 'by the verdict of the paired difference, where "no clear difference" counts as the same'
        )
        sentences = [
            f"{self.agreeing} of {len(self.judged)} of the paper's statements on rows beside "
            f'"{titles[self.against]}" came out, each judged {how} ({", ".join(counts)}).'
        ]
        failed = [
            f"{titles[one.row]} (published: {one.published}, ours: {one.words})"
            for one in self.judged
            if not one.came_out
        ]
        if failed:
            sentences.append(f"Those that did not: {'; '.join(failed)}.")
        if self.beyond_signs:
            names = "; ".join(titles[name] for name in self.beyond_signs)
            sentences.append(f"Left out, for a sign can't say that two are the same: {names}.")
        if self.without_figures:
            names = "; ".join(titles[name] for name in self.without_figures)
            sentences.append(f"Not judged, for want of figures: {names}.")
        return " ".join(sentences)


def compare_statements(rows: Mapping[str, ResultRow], claim: Against, measure: str) -> Statements | None:
    """Compares ours with the paper's statements.

    Where rows have paired differences of the measure from the row in question, each is judged by its verdict. No clear
    difference then counts as the same, though a difference that is not shown may be there all the same. Without such
    differences figures are compared by their sign.

    Args:
        rows: Row -> ours; rows that were not run are absent.
        claim: What the paper states.
        measure: Of the figures.

    Returns:
        None where nothing can be judged.
    """
    published = {
        name: kind
        for kind, names in (
            (BETTER, claim.better),
            (SAME, claim.same),
            (WORSE, claim.worse),
            (NO_BETTER, claim.no_better),
        )
        for name in names
    }
    verdicts = {
        name: difference.verdict
        for name in published
        if name in rows
        and (difference := rows[name].difference) is not None
        and (difference.against, difference.metric) == (claim.row, measure)
        and difference.verdict in _OF_VERDICTS
    }
    if verdicts:
        found = {name: (_OF_VERDICTS[verdict], verdict) for name, verdict in verdicts.items()}
        beyond: tuple[str, ...] = ()
    else:
        figures = {name: row.figures[measure] for name, row in rows.items() if measure in row.figures}
        if claim.row not in figures:
            return None
        beyond = claim.same
        found = {
            name: (word, word)
            for name in published
            if name in figures and name not in beyond
            for word in [_by_sign(figures[name] - figures[claim.row], smaller=measure in SMALLER_IS_BETTER)]
        }
    if not found:
        return None
    return Statements(
        against=claim.row,
        judged=tuple(Statement(name, published[name], *found[name]) for name in published if name in found),
        by_sign=not verdicts,
        beyond_signs=beyond,
        without_figures=tuple(name for name in published if name not in found and name not in beyond),
    )


def _by_sign(difference: float, *, smaller: bool) -> str:
    if difference == 0:
        return SAME
    return BETTER if (difference < 0) == smaller else WORSE
