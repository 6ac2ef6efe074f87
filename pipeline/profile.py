"""Profiles: conf/ composed into params.yaml by Hydra, as `dvc exp run -S` does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from augment.problems import InputError, Problem

GROUPS = ("dataset", "scale", "landmarks", "masks", "experiment")
HEADER = "# Written by `s2l profile {overrides}`; conf/ and the settings classes say what each key means.\n"


def compose_profile(root: Path, overrides: Sequence[str] = ()) -> str:
    """Composes conf/ with overrides and checks the result.

    Args:
        root: The workspace; conf/ lies in it.
        overrides: Hydra's override syntax: `dataset=fer2013`, `scale=cpu`, `synthesis.per_class=500`.

    Returns:
        The text of params.yaml.

    Raises:
        InputError: A group, a key or a value does not exist or can't be.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder = (Path(root) / "conf").resolve()
    if not folder.is_dir():
        raise InputError(Problem(str(folder), "is not there", "run the command in the project's folder"))
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(folder), version_base=None):
            config = compose(config_name="config", overrides=list(overrides))
        values = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(Problem(" ".join(overrides) or "conf", str(error).strip())) from error
    from pipeline.parameters import parse_parameters

    assert isinstance(values, dict)
    parse_parameters({str(key): value for key, value in values.items()}, where="profile")
    header = HEADER.format(overrides=" ".join(overrides)).replace(" `;", "`;")
    return header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def profile_groups(root: Path) -> dict[str, list[str]]:
    """The groups of conf/ and the values that each offers; empty where there is no conf/."""
    found = {group: sorted(file.stem for file in (Path(root) / "conf" / group).glob("*.yaml")) for group in GROUPS}
    return {group: names for group, names in found.items() if names}


def describe_profiles(root: Path) -> str:
    """Which groups there are, and what each offers."""
    return "\n".join(["groups:", *(f"  {group}: {', '.join(names)}" for group, names in profile_groups(root).items())])
