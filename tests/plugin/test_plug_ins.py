"""Another project adds a translator: a tiny package is installed and used; broken ones are refused with the reason."""

from __future__ import annotations

import ensurepip
import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import augment.translators as registry
from augment.core import plug_ins
from augment.core.errors import InputError
from augment.translators import load_translator, translator_class, translator_names
from pipeline.parameters.whole import parse_parameters
from pipeline.profile import compose_profile

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "how-to" / "add-a-translator.md"


def installer() -> tuple[list[str], dict[str, str]]:
    """A command that installs packages off-line, and what it wants in its environment: uv, pip, or Python's own pip."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--offline", "--no-cache", "--python", sys.executable], {}
    pip = [sys.executable, "-m", "pip", "install", "--no-index"]
    if importlib.util.find_spec("pip"):
        return pip, {}
    bundled = next((Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl"))
    return pip, {"PYTHONPATH": str(bundled)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the plug-in is installed in, as its pyproject.toml says."""
    folder = tmp_path_factory.mktemp("plugin")
    # Copied, because a build leaves folders beside the sources.
    package = shutil.copytree(HERE / "overlay", folder / "overlay", ignore=shutil.ignore_patterns("__pycache__"))
    command, environment = installer()
    # The project itself is there already, and setuptools, which torch and DVC bring, builds without a download.
    command += ["--no-deps", "--no-build-isolation", "--target", str(folder / "site"), str(package)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


@pytest.fixture(scope="module")
def facts(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of using the installed plug-in in a process that finds it."""
    done = subprocess.run(
        [sys.executable, str(HERE / "use_overlay.py"), str(tmp_path_factory.mktemp("used"))],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_it_is_listed_after_ours_without_touching_them(facts: dict[str, Any]) -> None:
    assert facts["names"] == [*registry._BUILT_IN, "overlay"] and facts["module"] == "s2l_overlay"
    assert "overlay" not in translator_names()  # it is found where it is installed, and nowhere else


def test_its_settings_are_checked_like_ours(facts: dict[str, Any]) -> None:
    assert "translators.overlay.lambda_bi: is not a setting" in facts["unknown_setting"]
    assert "known are lambda_faint" in facts["unknown_setting"]
    assert "got StarGanSettings, not OverlaySettings" in facts["other_settings"]
    assert facts["entry"] == ["overlay", {"lambda_faint": 1.0}, 60]
    assert "translators.mine.settings.lambda_fain" in facts["misspelt_parameter"]
    assert "did you mean lambda_faint?" in facts["misspelt_parameter"]


def test_it_trains_through_the_one_loop(facts: dict[str, Any]) -> None:
    first, last = facts["log"]
    assert (first["step"], last["step"]) == (10, 60)
    assert facts["samples"] == ["step-000060.png"]
    told = json.dumps(last)
    assert "classification" in told and "faint" in told
    assert facts["moved"] > 1 and facts["classes_differ"]


def test_it_is_loaded_synthesizes_and_translates_pictures(facts: dict[str, Any]) -> None:
    assert facts["loaded"] == ["Overlay", {"lambda_faint": 1.0}]
    assert facts["synthesized"] == {"happy": 7, "neutral": 7, "surprise": 7}
    assert facts["rows"] == ["mine"] * 21
    assert facts["written"] == ["anna.surprise.png"]


def test_its_weights_are_refused_by_name_where_it_is_not_installed(facts: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"translator 'overlay': is not known \(use one of warp, .*, or install it\)"):
        load_translator(Path(facts["weights"]))


def test_a_checkpoint_of_other_code_is_not_gone_on_from(facts: dict[str, Any]) -> None:
    assert "code" in facts["other_code"]


@pytest.mark.parametrize(("language", "file"), [("python", "s2l_overlay.py"), ("toml", "pyproject.toml")])
def test_the_page_shows_the_package_as_it_is_tested(language: str, file: str) -> None:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert (HERE / "overlay" / file).read_text(encoding="utf-8") in blocks


IMPORTS = (
    "from augment.translators.base import Translator, TranslatorSettings\n"
    "class Good(Translator):\n"
    "    name = 'plugged'\n"
    "    Settings = TranslatorSettings\n"
    "    def translate(self, faces, targets, generator=None):\n"
    "        return faces.images\n"
)
BROKEN = {
    "a module that raises": ("raise OSError('no such library')", "Good", "can't be imported: OSError: no such library"),
    "a module of other packages": ("import not_installed", "Good", "can't be imported: ModuleNotFoundError: No module"),
    "a class that is not there": ("", "Good", "can't be imported: AttributeError"),
    "a function": ("def Good(): ...", "Good", "is no subclass of augment.translators.Translator"),
    "another class": ("class Good: ...", "Good", "is no subclass of augment.translators.Translator"),
    "unfinished": (IMPORTS + "class Bad(Translator):\n    name = 'plugged'", "Bad", "lacks translate"),
    "another name": (IMPORTS + "class Bad(Good):\n    name = 'other'", "Bad", "calls itself 'other', and its entry"),
    "no settings": (IMPORTS + "class Bad(Good):\n    Settings = dict", "Bad", "has no Settings that are a subclass of"),
}


@pytest.fixture(autouse=True)
def _found_anew() -> Iterator[None]:
    """Plug-ins that one test declares are gone with it."""
    yield
    registry._plug_ins.cache_clear()


def declare(site: Path, package: str, name: str, program: str, kind: str) -> None:
    """Puts a package on the path as an installer would: a module, and metadata with an entry point."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(program + "\n")
    metadata = site / f"{module}-0.1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text(f"[{plug_ins.TRANSLATORS}]\n{name} = {module}:{kind}\n")
    importlib.invalidate_caches()
    registry._plug_ins.cache_clear()


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plug_in_is_refused_with_the_reason(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, kind, reason = BROKEN[case]
    package = f"s2l-broken-{list(BROKEN).index(case)}"
    monkeypatch.syspath_prepend(tmp_path)
    declare(tmp_path, package, "plugged", program, kind)
    # It spoils nothing as long as nobody asks for it.
    assert translator_names() == (*registry._BUILT_IN, "plugged")
    assert translator_class("stargan").name == "stargan"
    with pytest.raises(InputError) as caught:
        translator_class("plugged")
    assert str(caught.value).startswith("translator 'plugged': plugged = s2l_broken_")
    assert f"of the package {package} {reason}" in str(caught.value)
    assert "(fix or remove the plug-in)" in str(caught.value)


def test_a_sound_one_declared_the_same_way_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    declare(tmp_path, "s2l-sound", "plugged", IMPORTS, "Good")
    assert translator_class("plugged").__name__ == "Good"
    declare(tmp_path, "s2l-rival", "plugged", IMPORTS, "Good")
    with pytest.raises(InputError, match=r"is claimed by plugged = .* and plugged = .* \(remove all but one\)"):
        translator_class("plugged")


def test_a_name_of_ours_stays_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    declare(tmp_path, "s2l-thief", "stargan", "raise AssertionError('imported')", "Good")
    assert translator_names() == tuple(registry._BUILT_IN)
    told = "plug-in stargan = s2l_thief:Good of the package s2l-thief is not used: 'stargan' is the name of"
    with pytest.warns(UserWarning, match=re.escape(told)):
        assert translator_class("stargan").__module__ == "augment.translators.stargan"


def test_parameters_name_the_key_that_asks_for_a_broken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    declare(tmp_path, "s2l-gone", "plugged", "import not_installed", "Good")
    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    values["translators"]["mine"] = {"method": "plugged"}
    values["arms"]["synthetic"]["lost"] = {**values["arms"]["synthetic"]["warp"], "translator": "nobody"}
    with pytest.raises(InputError) as caught:
        parse_parameters(values, where="params.yaml")
    assert "params.yaml: translators.mine.method: translator 'plugged'" in str(caught.value)
    assert "No module named 'not_installed'" in str(caught.value)
    assert "arms.synthetic.lost" in str(caught.value)  # the other problems are listed as well
    # And so where the pose is the class, which asks every method whether it learns from mirrored faces.
    values["dataset"]["attribute"] = "pose"
    values["translators"]["another"] = {"method": "stargan", "settings": {"downs": 2}}
    with pytest.raises(InputError) as caught:
        parse_parameters(values, where="params.yaml")
    for part in ("translators.mine.method", "arms.synthetic.lost", "translators.another.training.mirror"):
        assert part in str(caught.value)
