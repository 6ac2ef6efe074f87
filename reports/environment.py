"""The machine and the package versions of a run, for the report. No large package is imported."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path

from augment.core.processes import processors

PACKAGES = (
    "synthesize-to-learn", "torch", "torchvision", "timm", "numpy", "scipy", "scikit-learn", "pyarrow", "pytorch-fid",
    "dvc", "prefect",
)  # fmt: skip


def describe_environment(device: str = "") -> dict[str, str]:
    """Machine, Python and package versions, by name.

    Args:
        device: The device of the run, for example `cpu` or a GPU's name.
    """
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    found = {
        "machine": f"{_processor()}, {processors()} cores, {platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "packages": ", ".join(versions),
    }
    return {"device": device, **found} if device else found


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or "unknown processor"
