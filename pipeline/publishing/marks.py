"""The mark of a synthetic picture, which stays in the file when it leaves its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from augment.faces.images import decode_image, encode_png, png_text
from augment.faces.synthetic_mark import MARK

# The news industry's term for pictures by a trained model (IPTC NewsCodes, digital source type).
SOURCE_TYPE_KEY = "DigitalSourceType"
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MARKED = ("face_id", "label_name", "translator", "source_id", "source_label", "weights_sha256", "seed")


def marked_png(picture: bytes, row: Mapping[str, Any]) -> bytes:
    """A synthetic face's picture with text chunks that say so; the pixels are those that it had.

    Args:
        picture: Any encoding that `decode_image` reads.
        row: The face's row.
    """
    facts = {"synthetic": True, **{key: row[key] for key in MARKED if row.get(key) is not None}}
    text = {MARK: json.dumps(facts, sort_keys=True, ensure_ascii=False), SOURCE_TYPE_KEY: SOURCE_TYPE}
    return encode_png(decode_image(picture), text)


def mark_of(picture: bytes) -> dict[str, Any] | None:
    """What a picture's mark says; None where it has none."""
    text = png_text(picture, MARK)
    try:
        found = json.loads(text) if text is not None else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
