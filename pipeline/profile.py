"""Profiles: Hydra composes conf/ into params.yaml."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_write_text
from pipeline.core.groups import GROUPS
from pipeline.core.project import check_project
from pipeline.running_stages import refuse_while_flow_runs, refuse_while_stages_run

READ_WHOLE = ("arms", "scores", "selected", "translators")  # below artifacts/
HEADER = "# Written by `s2l profile {overrides}`; conf/ and the settings classes say what each key means.\n"


def compose_profile(root: Path, overrides: Sequence[str] = ()) -> str:
    """Composes conf/ with overrides and checks the result.

    Args:
        root: The workspace; it contains conf/.
        overrides: Hydra's override syntax: `dataset=fer2013`, `scale=cpu`, `synthesis.per_class=500`.

    Returns:
        The text of params.yaml.

    Raises:
        InputError: A group, key or value does not exist or is invalid.
    """
    from pipeline.parameters.whole import parse_parameters

    check_project(root)
    values = _compose(Path(root), overrides)
    _refuse_settings_of_nothing(Path(root), values, overrides)
    parse_parameters(values, where="profile")
    shown = "".join(
        sign if sign.isprintable() else " " for sign in " ".join(overrides)
    )  # a line break would end the comment
    header = HEADER.format(overrides=shown).replace(" `;", "`;")
    return header + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120)


def write_parameters(root: Path, text: str, *, by_flow: bool = False) -> None:
    """Writes params.yaml, and makes the folders that the report reads whole, which stay empty without translators.

    Args:
        root: The workspace.
        text: What `compose_profile` gave.
        by_flow: Whether the flow that holds the workspace writes them, before its first stage.

    Raises:
        InputError: A stage runs, which would be filed under these parameters, or a flow does.
    """
    if not by_flow:
        refuse_while_flow_runs(Path(root))
    refuse_while_stages_run(Path(root))
    atomic_write_text(Path(root) / "params.yaml", text)
    for name in READ_WHOLE:  # DVC asks that what a stage depends on is there
        (Path(root) / "artifacts" / name).mkdir(parents=True, exist_ok=True)


def profile_groups(root: Path) -> dict[str, list[str]]:
    """The groups of conf/ and the options of each; empty if there is no conf/."""
    found = {group: sorted(file.stem for file in (Path(root) / "conf" / group).glob("*.yaml")) for group in GROUPS}
    return {group: names for group, names in found.items() if names}


def describe_profiles(root: Path) -> str:
    """Lists the groups and the options of each."""
    return "\n".join(["groups:", *(f"  {group}: {', '.join(names)}" for group, names in profile_groups(root).items())])


def _options(root: Path, group: str) -> list[str]:
    return sorted(file.stem for file in (root / "conf" / group).glob("*.yaml"))


def _compose(root: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Composes with Hydra, and converts its errors.

    Raises:
        InputError: Hydra can't compose the profile.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException, OverrideParseException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    _refuse_unknown_options(root, overrides)
    _refuse_what_hydra_would_not_do(overrides)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str((root / "conf").resolve()), version_base=None):
            config = compose(config_name="config", overrides=list(overrides))
        values = OmegaConf.to_container(config, resolve=True)
    except OverrideParseException as error:
        why = f"can't be read as an override: {error.args[0].splitlines()[0]}"
        fix = "write key=value, and quote a value with blanks or special characters twice: \"title='a, b'\""
        raise InputError(Problem(str(error.override), why, fix)) from error
    except (HydraException, OmegaConfBaseException) as error:
        missing = re.match(r"Could not override '([^']+)'", str(error))
        if missing:
            raise InputError(_unknown_key(root, missing[1], overrides)) from error
        lines = [line for line in str(error).strip().splitlines() if "--multirun" not in line]
        raise InputError(Problem(" ".join(overrides) or "conf", "\n".join(lines))) from error
    except ValueError as error:  # such as a number with thousands of digits
        raise InputError(Problem("an override", f"contains a value that can't be read: {error}")) from error
    assert isinstance(values, dict)
    _take_out(values)
    return {str(key): value for key, value in values.items()}


def _take_out(values: dict[Any, Any]) -> None:
    """Removes translators and arms that are null: so a file of conf/ takes out what an earlier one put in."""
    for names in (values.get("translators"), *(values.get("arms") or {}).values()):
        if isinstance(names, dict):
            for name in [name for name, entry in names.items() if entry is None]:
                del names[name]


def _refuse_unknown_options(root: Path, overrides: Sequence[str]) -> None:
    """Refuses unknown options such as `dataset=nowhere`, and lists the known ones.

    Raises:
        InputError: A group has no such option.
    """
    problems = []
    for override in overrides:
        group, equals, name = override.partition("=")
        if not equals or group not in GROUPS or name in (options := _options(root, group)):
            continue
        close = difflib.get_close_matches(name, options, n=1)
        fix = f"did you mean {close[0]}? There is {', '.join(options)}" if close else f"there is {', '.join(options)}"
        problems.append(Problem(override, f"there is no {name!r} in conf/{group}", fix))
    if problems:
        raise InputError(problems)


def _refuse_what_hydra_would_not_do(overrides: Sequence[str]) -> None:
    """Refuses words that Hydra takes without an effect, or answers in words of its own.

    Raises:
        InputError: An empty mapping, which would be merged and so change nothing; a group that is added or taken out;
            a setting of Hydra itself.
    """
    problems = []
    for override in overrides:
        key, equals, value = override.partition("=")
        name = key.lstrip("+~")
        if equals and value.strip() == "{}" and key == name and name.split(".")[0] in ("translators", "arms"):
            why = "changes nothing: an empty mapping is merged with what is there"
            problems.append(Problem(override, why, f"take each out: {name}.NAME=null"))
        elif key.startswith("~") and name in GROUPS:
            problems.append(Problem(override, f"{name} can't be left out", f"choose: {name}=..."))
        elif key.startswith("+") and name in GROUPS:
            problems.append(Problem(override, "is in the profile already", f"write {name}={value}"))
        elif name.split(".")[0] == "hydra":
            problems.append(Problem(override, "is a setting of Hydra, and no parameter of a run", "leave it out"))
    if problems:
        raise InputError(problems)


def _refuse_settings_of_nothing(root: Path, values: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuses settings of a translator that the profile does not have, such as `+translators.lssl.settings.width=8`.

    Raises:
        InputError: A translator has settings and no method.
    """
    group = "recipe/smoke" if "scale=smoke" in overrides else "recipe"
    problems = []
    for name, entry in (values.get("translators") or {}).items():
        if not isinstance(entry, Mapping) or "method" in entry:
            continue
        fix = f"say which: +translators.{name}.method=..."
        if (root / "conf" / group / f"{name}.yaml").is_file():
            fix = f"add it: +{group}@translators.{name}={name}; write its settings with ++"
        problems.append(Problem(f"translators.{name}", "has settings, but this profile has no such translator", fix))
    if problems:
        raise InputError(problems)


def _unknown_key(root: Path, path: str, overrides: Sequence[str]) -> Problem:
    """Explains an unknown key: it is misspelt, or must be added with a plus."""
    from pipeline.core.sections import keys_at
    from pipeline.parameters.whole import Parameters, known_settings

    groups = [override for override in overrides if override.partition("=")[0] in GROUPS]
    section: Any = _compose(root, groups)
    *parents, last = path.split(".")
    reached: list[str] = []
    for part in parents:
        if not isinstance(section, Mapping) or part not in section:
            last = part
            break
        section = section[part]
        reached.append(part)
    if not isinstance(section, Mapping):
        return Problem(path, f"{'.'.join(reached)} is a value without keys")
    here = {str(key) for key in section} | (set() if reached else set(GROUPS))
    addable = {*keys_at(Parameters, reached), *known_settings(_compose(root, groups), reached)} - here
    where = ".".join(reached) or "the parameters"
    if last in addable:
        given = next((override for override in overrides if override.partition("=")[0] == path), f"{path}=...")
        return Problem(path, "is a valid key, but not set in this profile", f"add it: +{given}")
    if last in here:  # a mapping with keys that are not there yet
        return Problem(path, "is given keys that are not set in this profile", f"add each by itself: +{path}.KEY=...")
    close = difflib.get_close_matches(last, sorted(here | addable), n=1)
    if close:
        plus = "+" if close[0] in addable else ""
        return Problem(path, "unknown key", f"did you mean {plus}{'.'.join([*reached, close[0]])}?")
    fix = f"{where} has {', '.join(sorted(here | addable))}" if reached else "see params.yaml for the keys"
    if not reached:
        fix += "\n" + describe_profiles(root)
    return Problem(path, "unknown key", fix)
