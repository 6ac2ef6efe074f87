"""Whether the Prefect server that the settings name can be reached, asked before any work."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

import httpx
from prefect.settings import get_current_settings

from augment.core.errors import InputError, Problem

_SECONDS = 10.0


def check_server(*, needed: bool) -> None:
    """Refuses a server that does not answer; Prefect itself would try for minutes and end with a traceback.

    Args:
        needed: Whether there must be one; without, Prefect starts a temporary one for a run.

    Raises:
        InputError: There is none and it is needed, or it does not answer as a Prefect server.
    """
    address = get_current_settings().api.url
    if not address:
        if needed:
            raise InputError(
                Problem(
                    "PREFECT_API_URL",
                    "is not set, and a schedule needs a Prefect server",
                    "run `prefect server start`, and set it to the server's address (http://127.0.0.1:4200/api)",
                )
            )
        return
    fix = "start the server (`prefect server start`) or fix the address, which ends in /api"
    if not needed:
        fix += "; unset it to run with a temporary server"
    where = f"PREFECT_API_URL={without_password(address)}"
    try:
        status = httpx.get(f"{address.rstrip('/')}/health", timeout=_SECONDS, follow_redirects=True).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
        raise InputError(Problem(where, f"no Prefect server answers there: {why}", fix)) from error
    # A server with a password answers this request too, and Prefect gives the password itself.
    if status not in (200, 401, 403):
        raise InputError(Problem(where, f"no Prefect server answers there: status {status} at /health", fix))


def without_password(address: str) -> str:
    """The address without a user's name and password, for messages."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
