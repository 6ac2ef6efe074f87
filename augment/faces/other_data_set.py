"""Another data set beside the run's own: which of its pictures are the run's, and which people both name.

What learns from another data set must not learn from this one's test faces by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pyarrow as pa

from augment.faces.duplicates import exact_pairs, fingerprint_faces, near_pairs
from augment.faces.subjects import person_key


def pictures_of_both(other: pa.Table, own: pa.Table) -> dict[str, str]:
    """Faces of another data set whose picture is one of the run's own: the same, moved a little, or saved again.

    Args:
        other: The other faces, with `face_id` and `image`.
        own: The run's, likewise, of any split.

    Returns:
        The other faces' ids, each with the id of one of the run's.
    """
    first, second = fingerprint_faces(other), fingerprint_faces(own)
    near = {first.face_ids[left]: second.face_ids[right] for left, right in near_pairs(first, second).tolist()}
    # Blank pictures are near no other, and yet the same bytes.
    return dict(exact_pairs(first, second)) | near


def people_of_both(
    other: pa.Table,
    own: pa.Table,
    other_parts: Mapping[str, str] = MappingProxyType({}),
    own_parts: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """People whom both name, as one source names them, however their names are spelled; sorted.

    A joint data set puts a part's name before its people's (of two parts that read one data set, the first's); the
    source read by itself does not.

    Args:
        other: The other faces, with `subject` and `source`.
        own: The run's, likewise.
        other_parts: Of a joint data set, the source that reads each part, by the part's name.
        own_parts: Likewise of the run's.
    """
    named = [
        {
            (
                parts.get(source, source),
                person_key(subject.partition("/")[2] if source in parts else subject.removeprefix(f"{source}/")),
            ): subject
            for source, subject in zip(
                table.column("source").to_pylist(), table.column("subject").to_pylist(), strict=True
            )
            if subject is not None
        }
        for table, parts in ((other, other_parts), (own, own_parts))
    ]
    return sorted(subject for person, subject in named[0].items() if person in named[1])
