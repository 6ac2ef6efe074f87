"""How long a run has taken, and how fast it is."""

from __future__ import annotations

import time


class Stopwatch:
    """Seconds of training over all sessions of a resumed run, and the speed since the last look.

    Attributes:
        before: Seconds of earlier sessions.
        processor_before: Processor seconds of earlier sessions.
    """

    def __init__(self) -> None:
        self.before = self.processor_before = 0.0
        self.start()

    def start(self, faces: int = 0) -> None:
        """Starts a session; so many faces were drawn in earlier ones."""
        self._began = self._interval_began = time.monotonic()
        self._processor_began = time.process_time()
        self._interval_faces = faces

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        return self.before + time.monotonic() - self._began

    @property
    def processor_seconds(self) -> float:
        """Processor seconds of the processes that trained so far: of this one, in this session."""
        return self.processor_before + time.process_time() - self._processor_began

    def interval_speed(self, faces: int) -> float:
        """Faces per second since the last call, when so many were drawn in all."""
        now = time.monotonic()
        speed = (faces - self._interval_faces) / max(now - self._interval_began, 1e-9)
        self._interval_began, self._interval_faces = now, faces
        return speed
