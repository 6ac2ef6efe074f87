"""Spellings of one person's name."""

from __future__ import annotations

import pytest

from augment.faces.subjects import Spellings, person_key

COMPOSED, APART = "Zo\u00eb", "Zoe\u0308"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("S01", "s01"),
        ("S01", "S01 "),
        (" a  b", "A b"),
        (COMPOSED, APART),
        ("ﬁ1", "FI1"),
        ("straße", "STRASSE"),
        ("S01", "\ufeffS01"),
        ("S01", "S0\u200b1"),
    ],
)
def test_spellings_of_one_person(one: str, other: str) -> None:
    assert person_key(one) == person_key(other)


@pytest.mark.parametrize(("one", "other"), [("S01", "S1"), ("Zoe", COMPOSED), ("a b", "ab"), ("S01", "S01_")])
def test_names_of_two_people_stay_apart(one: str, other: str) -> None:
    assert person_key(one) != person_key(other)


def test_the_first_spelling_stands_for_all() -> None:
    people = Spellings()
    assert [people.name(name) for name in ("S01", "s01", "S02", "S01 ", "s01")] == ["S01", "S01", "S02", "S01", "S01"]
    assert people.several() == {"S01": ("s01", "S01 ")}
