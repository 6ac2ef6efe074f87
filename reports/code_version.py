"""The code that ran: the git commit, and the files changed since. Without git both are unknown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict

UNKNOWN = "unknown"
# `dvc repro` writes this file between two stages; it is not code.
WRITTEN_BY_RUNS = ("dvc.lock",)
HOME = Path(__file__).resolve().parent.parent


class CodeVersion(BaseModel):
    """The code that ran.

    Attributes:
        commit: 40 hexadecimal digits, or `unknown`.
        changed: Files that differ from the commit or are not in it, such as params.yaml; None if unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str = UNKNOWN
    changed: tuple[str, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether the commit is known."""
        return self.commit != UNKNOWN

    @property
    def description(self) -> str:
        """The commit and the changed files, for the page."""
        if not self.known:
            return f"{UNKNOWN} (the code is not in a git repository, or git is not installed)"
        if not self.changed:
            return f"{self.commit}{'' if self.changed is None else ', tree unchanged'}"
        shown = ", ".join(self.changed[:5]) + (f" and {len(self.changed) - 5:,} more" if len(self.changed) > 5 else "")
        return f"{self.commit}, and changed since: {shown}"


def describe_code(home: Path = HOME) -> CodeVersion:
    """The commit of the code at `home` and what differs from it.

    Args:
        home: The folder that contains the packages. It must be the root of the repository: an enclosing one, such as
            that of a whole home folder, does not version this code.
    """
    top = _git(home, "rev-parse", "--show-toplevel")
    commit = _git(home, "rev-parse", "--verify", "HEAD")
    if top is None or commit is None or not Path(top.strip()).samefile(home):
        return CodeVersion()
    status = _git(home, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if status is None:
        return CodeVersion(commit=commit.strip())
    # "XY path", two letters and a blank; with -z names are not quoted.
    names = [entry[3:] for entry in status.split("\0") if entry]
    return CodeVersion(commit=commit.strip(), changed=tuple(sorted(set(names) - set(WRITTEN_BY_RUNS))))


def _git(home: Path, *arguments: str) -> str | None:
    """Git's output; None if it is not installed or fails."""
    # No lock is taken (another git command may be running), and no helper that the repository configures is started.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(home), *arguments]
    # Variables set by a hook or an editor could select another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace")
