"""The groups of conf/: what `s2l profile` can choose by name."""

from __future__ import annotations

GROUPS = ("dataset", "scale", "landmarks", "masks", "experiment")
