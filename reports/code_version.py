"""Which code ran: the git commit, and whether the tree was changed since. Without git both are unknown."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict

UNKNOWN = "unknown"
# `dvc repro` itself writes this file between two stages: it says what ran, not what code.
WRITTEN_BY_RUNS = ("dvc.lock",)
HOME = Path(__file__).resolve().parent.parent


class CodeVersion(BaseModel):
    """The code that ran.

    Attributes:
        commit: 40 hexadecimal digits, or `unknown`.
        changed: Files that differ from the commit or that it lacks, such as params.yaml; None where unknown.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    commit: str = UNKNOWN
    changed: tuple[str, ...] | None = None

    @property
    def known(self) -> bool:
        """Whether there is a commit."""
        return self.commit != UNKNOWN

    @property
    def description(self) -> str:
        """As a page says it."""
        if not self.known:
            return f"{UNKNOWN} (the code lies in no git repository, or git is not installed)"
        if not self.changed:
            return f"{self.commit}{'' if self.changed is None else ', tree unchanged'}"
        shown = ", ".join(self.changed[:5]) + (f" and {len(self.changed) - 5:,} more" if len(self.changed) > 5 else "")
        return f"{self.commit}, and changed since: {shown}"


def describe_code(home: Path = HOME) -> CodeVersion:
    """The commit of the code at `home` and what differs from it.

    Args:
        home: Where the rooms lie. Only a repository whose root this is counts: another one that happens to hold it,
            such as that of somebody's whole home folder, says nothing of this code.
    """
    top = _git(home, "rev-parse", "--show-toplevel")
    commit = _git(home, "rev-parse", "--verify", "HEAD")
    if top is None or commit is None or not Path(top.strip()).samefile(home):
        return CodeVersion()
    status = _git(home, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if status is None:
        return CodeVersion(commit=commit.strip())
    # "XY path", two letters and a blank; names are raw with -z, whatever they hold.
    names = [entry[3:] for entry in status.split("\0") if entry]
    return CodeVersion(commit=commit.strip(), changed=tuple(sorted(set(names) - set(WRITTEN_BY_RUNS))))


def _git(home: Path, *arguments: str) -> str | None:
    """What git says; None where it is absent or refuses."""
    # No lock is taken (another git command may run beside), and no helper that the repository names is started.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(home), *arguments]
    # A hook's or an editor's variables would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", errors="replace")
