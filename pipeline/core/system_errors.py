"""Errors of the operating system (a full disk, a read-only folder), explained instead of shown as a traceback."""

from __future__ import annotations

import errno

FIXES = {
    errno.ENOSPC: "free some disk space and run the same command again: it resumes, and older results are intact",
    errno.EDQUOT: "free some of your quota and run the same command again: older results are intact",
    errno.EFBIG: "raise the limit on file sizes (`ulimit -f`), or write elsewhere; older results are intact",
    errno.EROFS: "make it writable, or write elsewhere; older results are intact",
    errno.EACCES: "change its permissions, or use another folder; older results are intact",
    errno.EPERM: "change its permissions, or use another folder; older results are intact",
    errno.EIO: "check the disk; the SHA-256 of each existing result is verified when it is read",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
    errno.ENAMETOOLONG: "use shorter names",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away, or write elsewhere",
    errno.EEXIST: "a file stands where a folder is needed: move it away, or write elsewhere",
    errno.EISDIR: "a folder stands where a file is needed: move it away, or write elsewhere",
    errno.EBUSY: "another program uses it, or it is a mount point: use a folder below it",
}


def describe_system_error(error: OSError) -> str | None:
    """Explains a system error, with the fix.

    Args:
        error: For example of a write to a full disk.

    Returns:
        The path (if known), the reason and the fix; None for an error that the user can't fix.
    """
    number = error.errno
    if number not in FIXES:
        return None
    places = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' -> '.join(places)}: " if places else ""
    return f"{where}{error.strerror or error} ({FIXES[number]})"
