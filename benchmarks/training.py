"""What the training loop costs beside the translator's own steps.

Baseline: the plain loop that public code of this field uses: a `torch.utils.data.DataLoader` that decodes PNG files and
flips picture by picture (in this process), the side input made batch by batch, and the same losses and Adam; no moving
average, no log, no checks, no checkpoints. Ours does all of that. Both make the same number of steps on the same faces.
Times are processor seconds of one thread, so that a busy machine disturbs them little.

    python -m benchmarks.training [--translator lssl] [--size 48] [--steps 60]
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from augment.core.checkpoints import checkpoint_folders
from augment.faces.images import encode_png
from augment.faces.tensors import FaceTensors, mirror_landmarks, to_unit_range
from augment.rig import preset, render
from augment.training.loop import train_translator
from augment.training.settings import TrainingSettings
from augment.translators import create_translator
from augment.translators.base import AdversarialTranslator, Batch

SETTINGS: dict[str, Any] = {
    "width": 16,
    "downs": 2,
    "residual_blocks": 1,
    "conditioning": "instance_norm",
    "image_skip": True,
    "adversarial": "non_saturating",
    "lambda_gp": 0.0,
    "lambda_r1": 0.3,
    "r1_every": 8,
    "cycle_every": 4,
}


def training_faces(size: int) -> FaceTensors:
    population = preset("rare", seed=0)
    specs = [spec for spec in population.specs if spec.split == "train"]
    rendered = render(specs, size=size, channels=1, seed=0)
    names = {name: label for label, name in enumerate(population.class_names)}
    return FaceTensors(
        images=torch.from_numpy(rendered.images.transpose(0, 3, 1, 2).copy()),
        labels=torch.tensor([names[spec.label] for spec in specs]),
        landmarks=torch.from_numpy(rendered.landmarks),
        masks=None,
        face_ids=tuple(map(str, range(len(specs)))),
        subjects=(None,) * len(specs),
        class_names=population.class_names,
    )


class Files(torch.utils.data.Dataset[Any]):
    """PNG files decoded and flipped one by one."""

    def __init__(self, faces: FaceTensors) -> None:
        self.files = [encode_png(picture.permute(1, 2, 0).numpy()) for picture in faces.images]
        self.faces = faces

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Any:
        picture = torch.from_numpy(np.array(Image.open(io.BytesIO(self.files[place]), formats=("PNG",))))[None]
        assert self.faces.landmarks is not None
        landmarks = self.faces.landmarks[place]
        if torch.rand(()) < 0.5:
            picture, landmarks = picture.flip(-1), mirror_landmarks(landmarks[None])[0]
        return picture, landmarks, self.faces.labels[place]


def plain_loop(translator: AdversarialTranslator, faces: FaceTensors, settings: TrainingSettings) -> None:
    loader = torch.utils.data.DataLoader(Files(faces), settings.batch_size, shuffle=True, drop_last=True)
    networks = [list(translator.discriminator_parameters()), list(translator.generator_parameters())]
    optimizers = [torch.optim.Adam(network, lr=1e-3, betas=settings.betas) for network in networks]
    step = 0
    while step < settings.steps:
        for pictures, landmarks, labels in loader:
            part = faces.take(range(len(labels)))
            part = FaceTensors(**{**vars(part), "images": pictures, "landmarks": landmarks, "labels": labels})
            batch = Batch(
                images=to_unit_range(pictures),
                labels=labels,
                targets=torch.randint(translator.num_classes, labels.shape),
                side_input=translator.side_input(part),
                step=step,
                total_steps=settings.steps,
            )
            for which, losses in enumerate((translator.discriminator_losses, translator.generator_losses)):
                for parameter in networks[1 - which]:
                    parameter.requires_grad_(False)
                optimizers[which].zero_grad(set_to_none=True)
                torch.stack(list(losses(batch).values())).sum().backward()
                optimizers[which].step()
                for parameter in networks[1 - which]:
                    parameter.requires_grad_(True)
            step += 1
            if step == settings.steps:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--translator", default="lssl", choices=("lssl", "stargan"))
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faces = training_faces(arguments.size)
    settings = TrainingSettings(
        steps=arguments.steps,
        batch_size=arguments.batch,
        discriminator_steps=1,
        generator_learning_rate=1e-3,
        discriminator_learning_rate=1e-3,
        log_every=20,
        checkpoint_every=arguments.steps,
        sample_every=arguments.steps,
    )
    chosen = SETTINGS | ({"lambda_parsing": 0.0} if arguments.translator == "lssl" else {})

    def make() -> Any:
        return create_translator(
            arguments.translator,
            num_classes=len(faces.class_names),
            channels=1,
            size=arguments.size,
            settings=chosen,
            seed=0,
        )

    best = {"plain": float("inf"), "ours": float("inf")}
    plain_loop(make(), faces, settings.model_copy(update={"steps": 2}))  # imports
    checkpoint_bytes = 0
    for _ in range(arguments.repeats):
        started = time.process_time()
        plain_loop(make(), faces, settings)
        best["plain"] = min(best["plain"], time.process_time() - started)
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            train_translator(
                make(), faces, None, settings, out=Path(folder) / "out", scratch=Path(folder) / "scratch", seed=0
            )
            best["ours"] = min(best["ours"], time.process_time() - started)
            newest = checkpoint_folders(Path(folder) / "scratch")[-1]
            checkpoint_bytes = (newest / "tensors.safetensors").stat().st_size
    for name, seconds in best.items():
        print(
            f"{name:6s} {1000 * seconds / arguments.steps:7.1f} ms per step"
            f"  {arguments.steps * arguments.batch / seconds:6.0f} images/s"
        )
    print(
        f"ours / plain: {best['ours'] / best['plain']:.3f} of the processor time, with one checkpoint"
        f" of {checkpoint_bytes / 1e6:.1f} MB, a sample sheet and the moving average in it"
    )


if __name__ == "__main__":
    main()
