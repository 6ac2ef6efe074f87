"""People whom the run and another data set both name."""

from __future__ import annotations

import pyarrow as pa
import pytest

from augment.faces.other_data_set import people_of_both


def people(*rows: tuple[str, str | None]) -> pa.Table:
    return pa.table({"source": [source for source, _ in rows], "subject": [subject for _, subject in rows]})


OWN = people(("ck_plus", "S005"), ("ck_plus", "S010"), ("ck_plus", None))


@pytest.mark.parametrize("subject", ["S005", "s005", " S005 ", "\N{FULLWIDTH LATIN CAPITAL LETTER S}005"])
def test_a_person_is_known_however_the_name_is_spelled(subject: str) -> None:
    assert people_of_both(people(("ck_plus", subject), ("ck_plus", "S999")), OWN) == [subject]


def test_names_of_another_source_and_unknown_people_are_nobody_known() -> None:
    assert people_of_both(people(("jaffe", "S005"), ("ck_plus", None), ("ck_plus", "S05")), OWN) == []
