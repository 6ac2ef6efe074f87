"""What tells one training from another, so that nothing finished is taken for something else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from augment.faces.tensors import FaceTensors


def hash_faces(faces: FaceTensors | None) -> str | None:
    """SHA-256 over all that a classifier can see of faces, and their names."""
    if faces is None:
        return None
    digest = hashlib.sha256(json.dumps([faces.class_names, faces.face_ids, faces.subjects]).encode())
    digest.update(faces.labels.cpu().numpy().tobytes())
    digest.update(f"{tuple(faces.images.shape)}".encode())
    digest.update(faces.images.cpu().contiguous().numpy().data)
    return digest.hexdigest()


def hash_code() -> str:
    """SHA-256 over this package's source."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
