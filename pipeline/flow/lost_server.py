"""What a run does where its Prefect server is lost: it goes on, says so once, and what it can't show is left out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
from prefect.settings import PREFECT_API_REQUEST_TIMEOUT, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

Result = TypeVar("Result")

# Prefect itself tries for one to three minutes to report the final state. After it, it would try again for every single
# event that it could not send (a handful for each stage) while the worker waits.
_LAST_WORDS = 180.0
_OUR_FAULT = (400, 422)


class Server:
    """Shows a run's artifacts on the server, as long as there is one: no stage ends because a page can't be drawn.

    Args:
        warn: Called once, where the server is lost.

    Attributes:
        lost: Whether the last call did not reach the server.
    """

    def __init__(self, warn: Callable[[str], Any]) -> None:
        self._warn = warn
        self._warned = False
        self._waited_in_vain = False
        self.lost = False

    def show(self, publish: Callable[[], Result], *, patient: bool = False) -> Result | None:
        """Calls what makes or updates an artifact.

        Args:
            publish: It calls the server.
            patient: Whether to wait for a server that is being restarted, for about a minute; once in vain is enough.
                Not while stages wait.

        Returns:
            What `publish` returned; None where the server is lost, or does not take it: what is shown was deleted
            there, a token is no longer good, or it limits how often it is called.

        Raises:
            httpx.HTTPStatusError: The server says that what it was sent is wrong, which is a fault of this project.
        """
        patient = patient and not self._waited_in_vain
        settings = {} if patient else {PREFECT_CLIENT_MAX_RETRIES: 0, PREFECT_API_REQUEST_TIMEOUT: 10}
        try:
            with temporary_settings(settings):
                result = publish()
        except httpx.HTTPError as error:
            if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
                if error.response.status_code in _OUR_FAULT:
                    raise
                self._warn_once(f"the Prefect server does not take what is shown ({error.response.status_code})")
                return None
            self.lost, self._waited_in_vain = True, self._waited_in_vain or patient
            self._warn_once(f"the Prefect server is lost ({str(error) or type(error).__name__})")
            return None
        self.lost = False
        return result

    def _warn_once(self, why: str) -> None:
        if not self._warned:
            self._warned = True
            self._warn(f"{why}; the stages go on, and what they finish is kept")


def end_soon(seconds: float = _LAST_WORDS) -> None:
    """Ends this process, which a worker started and whose flow is over, where Prefect does not end it in time."""
    timer = threading.Timer(seconds, os._exit, (1,))
    timer.daemon = True
    timer.start()
