"""What the system refuses (a full disk, a read-only folder), told in words instead of a traceback."""

from __future__ import annotations

import errno

MENDS = {
    errno.ENOSPC: "make room, and run the same command again: it goes on where it was, and older results are whole",
    errno.EDQUOT: "make room in your quota, and run the same command again: older results are whole",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or write elsewhere; older results are whole",
    errno.EROFS: "make it writable, or write elsewhere; older results are whole",
    errno.EACCES: "change its permissions, or give another place; older results are whole",
    errno.EPERM: "change its permissions, or give another place; older results are whole",
    errno.EIO: "look at the disk; results that are there have a SHA-256 each, which is checked when they are read",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENAMETOOLONG: "use shorter names",
    errno.EBUSY: "something else uses it, or it is a mount point: give a folder below it",
}


def told(error: OSError) -> str | None:
    """A system error in words, with the fix.

    Args:
        error: Such as a write to a full disk raises.

    Returns:
        The place (where it is known), the reason and the fix; None for an error that is no user's to fix.
    """
    number = error.errno
    if number not in MENDS:
        return None
    places = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' -> '.join(places)}: " if places else ""
    return f"{where}{error.strerror or error} ({MENDS[number]})"
