from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch
from gan_faces import TINY, random_faces
from safetensors.torch import load_file, save_file

import augment.translators as registry
from augment.core import plug_ins
from augment.core.errors import InputError
from augment.core.sealed_tensors import save_tensors
from augment.faces.tensors import FaceTensors
from augment.translators import (
    create_translator,
    load_translator,
    save_translator,
    translator_class,
    translator_header,
    translator_names,
    translator_settings,
)
from augment.translators.base import Translator, TranslatorSettings
from augment.translators.lssl import Lssl, LsslSettings
from augment.translators.stargan import StarGanSettings


class Table(Translator):
    """A plug-in whose state has shapes that depend on data."""

    name = "table"
    Settings = TranslatorSettings
    rows: torch.Tensor

    def arrays(self) -> dict[str, torch.Tensor]:
        return {"rows": self.rows}

    def load_arrays(self, tensors: dict[str, torch.Tensor]) -> None:
        self.rows = tensors["rows"]

    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        return faces.images


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = EntryPoints(
        [
            EntryPoint("table", f"{__name__}:Table", plug_ins.TRANSLATORS),
            EntryPoint("broken", "json:dumps", plug_ins.TRANSLATORS),
            EntryPoint("lssl", "json:dumps", plug_ins.TRANSLATORS),
        ]
    )
    monkeypatch.setattr(registry, "entry_points", lambda group: points.select(group=group))
    registry._plug_ins.cache_clear()
    yield
    registry._plug_ins.cache_clear()


def test_names_come_without_torch() -> None:
    program = (
        "import sys; from augment.translators import translator_names; print(translator_names());"
        "assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "('warp', 'lssl', " in done.stdout


def test_the_api_of_plug_ins_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, augment.translators as api\n"
        "assert 'torch' not in sys.modules\n"
        "from augment.translators import base\n"
        "for name in ('AdversarialTranslator', 'Batch', 'FittedTranslator', 'LearnedTranslator', 'Phase'):\n"
        "    assert getattr(api, name) is getattr(base, name)\n"
        "from augment.translators import *\n"
        "assert FaceTensors.__module__ == 'augment.faces.tensors' and not hasattr(api, 'Missing')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_names_and_settings_are_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'stargun': is not known \(use one of warp, lssl, "):
        translator_class("stargun")
    with pytest.raises(InputError) as caught:
        translator_settings("stargan", {"lambda_bi": 1, "downs": "many"})
    text = str(caught.value)
    assert "translators.stargan.lambda_bi: is not a setting" in text and "lambda_rec" in text
    assert "translators.stargan.downs" in text and "'many'" in text
    with pytest.raises(InputError, match="got StarGanSettings, not LsslSettings"):
        create_translator("lssl", num_classes=3, channels=1, size=32, settings=StarGanSettings())
    with pytest.raises(InputError, match="lambda_gp"):
        translator_settings("lssl", {"lambda_gp": -1})
    with pytest.raises(InputError, match="neither 1"):
        create_translator("lssl", num_classes=3, channels=2, size=32)
    with pytest.raises(InputError, match="nothing to translate"):
        create_translator("stargan", num_classes=1, channels=1, size=32)


def test_settings_come_from_mappings_objects_or_defaults() -> None:
    assert translator_settings("lssl") == LsslSettings()
    assert translator_settings("lssl", {"width": 8}) == LsslSettings(width=8)
    given = LsslSettings(lambda_bi=0)
    assert translator_settings("lssl", given) is given


def test_the_seed_makes_the_weights_and_leaves_the_global_state() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    make = lambda seed: create_translator(  # noqa: E731
        "stargan", num_classes=3, channels=1, size=16, settings=TINY, seed=seed
    ).state_dict()
    first = make(1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    again, other = make(1), make(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("name", ["lssl", "stargan"])
def test_saved_and_loaded_translates_the_same(name: str, tmp_path: Path) -> None:
    translator = create_translator(name, num_classes=3, channels=1, size=16, settings=TINY, seed=7)
    faces = random_faces()
    path = tmp_path / "weights.safetensors"
    save_translator(translator, path, class_names=faces.class_names)
    header = translator_header(path)
    assert header["name"] == name and header["class_names"] == list(faces.class_names)
    loaded = load_translator(path)
    assert loaded.settings == translator.settings and not loaded.training
    assert torch.equal(loaded.translate(faces, faces.labels), translator.translate(faces, faces.labels))
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    again = tmp_path / "again.safetensors"
    save_translator(loaded, again, class_names=faces.class_names)
    assert again.read_bytes() == path.read_bytes()


def test_a_translator_with_the_parsing_network_attached_saves_without_it(tmp_path: Path) -> None:
    translator = create_translator("lssl", num_classes=3, channels=1, size=16, settings=TINY)
    assert isinstance(translator, Lssl)
    translator.attach_parsing(torch.nn.Conv2d(1, 4, 1))
    save_translator(translator, tmp_path / "w.safetensors")
    assert set(load_file(tmp_path / "w.safetensors")) == set(translator.state_dict())


@pytest.mark.usefixtures("plugged")
def test_plug_ins_and_data_dependent_state(tmp_path: Path) -> None:
    assert translator_names() == (*registry._BUILT_IN, "broken", "table")
    with pytest.warns(UserWarning, match="lssl = json:dumps is not used: 'lssl' is the name of a translator of ours"):
        assert translator_class("lssl") is Lssl
    with pytest.raises(InputError, match="no subclass"):
        translator_class("broken")
    translator = create_translator("table", num_classes=3, channels=1, size=16)
    assert isinstance(translator, Table)
    translator.rows = torch.arange(10.0).view(5, 2).T  # not contiguous
    save_translator(translator, tmp_path / "w.safetensors")
    loaded = load_translator(tmp_path / "w.safetensors")
    assert isinstance(loaded, Table) and torch.equal(loaded.rows, translator.rows)


def test_files_that_are_no_translator_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no readable weights file"):
        load_translator(path)
    path.write_bytes(b"\x80\x04nonsense")
    with pytest.raises(InputError, match="no readable weights file"):
        load_translator(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="no readable weights file: its metadata do not say what it holds"):
        load_translator(path)
    save_tensors({"a": torch.zeros(1)}, path, {"kind": "parsing"})
    with pytest.raises(InputError, match="holds no translator"):
        load_translator(path)
    translator = create_translator("stargan", num_classes=3, channels=1, size=16, settings=TINY)
    save_translator(translator, path)
    tensors, header = load_file(path), translator_header(path)
    save_tensors(tensors, path, {**header, "settings": {**header["settings"], "magic": 1}})
    with pytest.raises(InputError, match=r"magic: is not a setting of this translator \(known are width"):
        load_translator(path)
    tensors.popitem()
    save_tensors(tensors, path, header)
    with pytest.raises(InputError, match="do not fit stargan"):
        load_translator(path)
    save_tensors(tensors, path, {**header, "format": 99})
    with pytest.raises(InputError, match="newer version"):
        load_translator(path)
