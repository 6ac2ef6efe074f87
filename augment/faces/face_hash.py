"""A hash of faces: unfinished work is resumed only on the faces that it began with."""

from __future__ import annotations

import hashlib
import json

from augment.faces.tensors import FaceTensors


def hash_faces(faces: FaceTensors | None) -> str | None:
    """SHA-256 over all that a translator or a classifier can see of faces, and their names; None of none."""
    if faces is None:
        return None
    digest = hashlib.sha256(json.dumps([faces.face_ids, faces.subjects, faces.class_names, faces.sources]).encode())
    for tensor in (faces.images, faces.labels, faces.landmarks, faces.masks, faces.yaw, faces.simulated):
        if tensor is None:
            digest.update(b"none")
        else:
            array = tensor.cpu().contiguous().numpy()
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(array.data)
    return digest.hexdigest()
