"""Everything that the tool does with a translator, done with an installed plug-in; prints what came of it as JSON.

Runs in a process of its own, which finds the plug-in on its path as Python finds any installed package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import yaml
from PIL import Image

from augment.core.errors import InputError
from augment.faces.table import read_faces
from augment.faces.tensors import FaceTensors
from augment.rig import preset, render
from augment.synthesis.generate import SynthesisSettings, synthesize
from augment.training.loop import train_translator
from augment.translators import (
    create_translator,
    load_translator,
    translator_class,
    translator_names,
    translator_settings,
)
from pipeline.parameters.whole import parse_parameters
from pipeline.photos.translate import TranslateSettings, translate_pictures
from pipeline.profile import compose_profile

ROOT = Path(__file__).parent.parent.parent
CLASSES = ("happy", "neutral", "surprise")
SIZE = 32


def embedded_faces(count: int = 48) -> FaceTensors:
    specs = [spec for spec in preset("rare", seed=0).specs if spec.label in CLASSES]
    by_class = [[spec for spec in specs if spec.label == name][: count // len(CLASSES)] for name in CLASSES]
    chosen = [spec for group in by_class for spec in group]
    drawn = render(chosen, size=SIZE, channels=1, seed=0)
    return FaceTensors(
        images=torch.from_numpy(drawn.images).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor([CLASSES.index(spec.label) for spec in chosen]),
        landmarks=None,
        masks=None,
        face_ids=tuple(spec.face_id for spec in chosen),
        subjects=tuple(spec.subject_name for spec in chosen),
        class_names=CLASSES,
    )


def refusal(act: Any, *arguments: Any, **keywords: Any) -> str:
    try:
        act(*arguments, **keywords)
    except InputError as error:
        return str(error)
    return ""


def main(work: Path) -> dict[str, Any]:
    facts: dict[str, Any] = {"names": translator_names(), "module": translator_class("overlay").__module__}
    facts["unknown_setting"] = refusal(translator_settings, "overlay", {"lambda_bi": 1})
    facts["other_settings"] = refusal(translator_settings, "overlay", translator_settings("stargan"))

    values = yaml.safe_load(compose_profile(ROOT, ["scale=smoke"]))
    training = {"steps": 60, "batch_size": 8, "discriminator_steps": 1, "log_every": 10, "checkpoint_every": 20}
    training |= {"generator_learning_rate": 0.01, "discriminator_learning_rate": 0.003, "ema_decay": 0.9}
    values["translators"]["mine"] = {"method": "overlay", "settings": {"lambda_faint": 1.0}, "training": training}
    entry = parse_parameters(values, where="params.yaml").translators["mine"]
    facts["entry"] = [entry.method, entry.settings, entry.training.steps]
    values["translators"]["mine"]["settings"] = {"lambda_fain": 1.0}
    facts["misspelt_parameter"] = refusal(parse_parameters, values, where="params.yaml")

    faces = embedded_faces()
    form = {"num_classes": len(CLASSES), "channels": 1, "size": SIZE, "settings": entry.settings}
    places = {"out": work / "trained", "scratch": work / "scratch"}
    result = train_translator(create_translator("overlay", **form), faces, None, entry.training, seed=1, **places)
    log = [json.loads(line) for line in (work / "trained" / "log.jsonl").read_text().splitlines()]
    facts["log"] = [log[0], log[-1]]
    facts["weights"] = str(result.weights)
    facts["samples"] = sorted(path.name for path in (work / "trained" / "samples").iterdir())

    loaded = load_translator(result.weights)
    targets = (faces.labels + 1) % len(CLASSES)
    made = loaded.translate(faces, targets)
    facts["loaded"] = [type(loaded).__name__, loaded.settings.model_dump()]
    facts["moved"] = float((made.float() - faces.images.float()).abs().mean())
    facts["classes_differ"] = not torch.equal(made, loaded.translate(faces, faces.labels))

    report = synthesize(
        loaded,
        faces,
        SynthesisSettings(per_class=7, block_size=5),
        out=work / "synthetic",
        seed=1,
        fold=0,
        translator_name="mine",
        weights_sha256=result.weights_sha256,
        configuration_hash="tested",
        class_names=CLASSES,
        licence="cc0-1.0",
    )
    facts["synthesized"] = report.faces
    facts["rows"] = read_faces(work / "synthetic", columns=["translator"]).column("translator").to_pylist()

    photo = work / "anna.png"
    Image.fromarray(faces.images[0, 0].numpy()).save(photo)
    settings = TranslateSettings(to=("surprise",), device="cpu")
    facts["written"] = [path.name for path in translate_pictures([photo], result.weights, settings, say=lambda _: None)]

    module = Path(str(sys.modules["s2l_overlay"].__file__))
    module.write_text(module.read_text() + "\n# other code\n")
    facts["other_code"] = refusal(
        train_translator, create_translator("overlay", **form), faces, None, entry.training, seed=1, **places
    )
    return facts


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(main(Path(sys.argv[1]))))
