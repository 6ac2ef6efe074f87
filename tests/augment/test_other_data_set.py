"""People whom the run and another data set both name, and pictures that both have."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from augment.faces.images import encode_png
from augment.faces.other_data_set import people_of_both, pictures_of_both


def people(*rows: tuple[str, str | None]) -> pa.Table:
    return pa.table({"source": [source for source, _ in rows], "subject": [subject for _, subject in rows]})


OWN = people(("ck_plus", "S005"), ("ck_plus", "S010"), ("ck_plus", None))


@pytest.mark.parametrize("subject", ["S005", "s005", " S005 ", "\N{FULLWIDTH LATIN CAPITAL LETTER S}005"])
def test_a_person_is_known_however_the_name_is_spelled(subject: str) -> None:
    assert people_of_both(people(("ck_plus", subject), ("ck_plus", "S999")), OWN) == [subject]


def test_a_person_of_a_joint_data_sets_part_is_the_one_of_that_source_alone() -> None:
    joint = people(("ferg", "ferg/aia"), ("jaffe", "jaffe/KA"), ("jaffe", "aia"))
    assert people_of_both(people(("ferg", "Aia"), ("ferg", "bonnie")), joint) == ["Aia"]
    assert people_of_both(joint, people(("ferg", "Aia"), ("ferg", "bonnie"))) == ["ferg/aia"]


def test_a_part_may_have_a_name_of_its_own() -> None:
    """Then the reader's name is what tells that its people are those of another data set."""
    joint, alone = people(("lab", "lab/S005"), ("web", "web/S010")), people(("ck_plus", "S005"), ("ck_plus", "S010"))
    parts = {"lab": "ck_plus", "web": "fer2013"}
    assert people_of_both(alone, joint) == []
    assert people_of_both(alone, joint, own_parts=parts) == ["S005"]
    assert people_of_both(joint, alone, other_parts=parts) == ["lab/S005"]
    # The second of two parts that read one data set names its people as the first does.
    joint = people(("lab", "lab/S001"), ("infrared", "lab/S005"))
    assert people_of_both(joint, alone, other_parts={"lab": "ck_plus", "infrared": "ck_plus"}) == ["lab/S005"]


def test_a_blank_picture_of_both_is_known() -> None:
    """It is near no other, since it has nothing to be like; the judge refuses its bytes all the same."""
    noise = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    blank, face = encode_png(np.zeros((48, 48), np.uint8)), encode_png(np.kron(noise, np.ones((8, 8), np.uint8)))

    def table(prefix: str, *pictures: bytes) -> pa.Table:
        rows = [{"bytes": picture, "path": None} for picture in pictures]
        return pa.table({"face_id": [f"{prefix}/{number}" for number in range(len(rows))], "image": rows})

    assert pictures_of_both(table("other", face, blank), table("own", blank)) == {"other/1": "own/0"}
    assert pictures_of_both(table("other", face), table("own", blank, face)) == {"other/0": "own/1"}


def test_names_of_another_source_and_unknown_people_are_nobody_known() -> None:
    assert people_of_both(people(("jaffe", "S005"), ("ck_plus", None), ("ck_plus", "S05")), OWN) == []
