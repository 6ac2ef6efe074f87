"""How long a run has taken, and how fast it is."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds of training over all sessions of a resumed run, and the speed since the last look.

    Attributes:
        before: Seconds of earlier sessions.
    """

    def __init__(self) -> None:
        self.before = 0.0
        self._began = self._interval_began = time.monotonic()
        self._interval_faces = 0

    def start(self, faces: int) -> None:
        """Starts a session; so many faces were drawn in earlier ones."""
        self._began = self._interval_began = time.monotonic()
        self._interval_faces = faces

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self._began

    def interval_speed(self, faces: int) -> float:
        """Faces per second since the last call, when so many were drawn in all."""
        now = time.monotonic()
        speed = (faces - self._interval_faces) / max(now - self._interval_began, 1e-9)
        self._interval_began, self._interval_faces = now, faces
        return speed
