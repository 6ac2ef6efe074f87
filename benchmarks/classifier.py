"""What a classifier's training step costs, and what our batches cost against the usual way of making them.

Baseline of the batches: a `torch.utils.data.DataLoader` over PNG bytes with torchvision's transforms (flip, affine,
colour jitter), picture by picture, in this process. Ours: positions drawn, bytes indexed on the device, the batch
augmented at once. Times are processor seconds of one thread, so that a busy machine disturbs them little.

    python -m benchmarks.classifier
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from augment.faces.images import encode_png
from classifiers.augmentations import AugmentationSettings, augment_images
from classifiers.models import ModelSettings, Stem, create_classifier
from classifiers.sampling import DrawStream


def processor_milliseconds(work: Callable[[], object], repeats: int) -> float:
    work()
    started = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - started) / repeats * 1000


def loader_batches(pictures: np.ndarray, batch_size: int) -> Callable[[], object]:
    from torchvision.transforms import v2

    files = [encode_png(picture) for picture in pictures]
    transform = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomHorizontalFlip(),
            v2.RandomAffine(10, translate=(0.06, 0.06), scale=(0.9, 1.1)),
            v2.ColorJitter(brightness=0.15, contrast=0.25),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )

    class Files(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return len(files)

        def __getitem__(self, index: int) -> torch.Tensor:
            return transform(Image.open(io.BytesIO(files[index]), formats=("PNG",)))

    loader = torch.utils.data.DataLoader(Files(), batch_size=batch_size, shuffle=True, drop_last=True)
    batches = iter(loader)

    def take() -> object:
        nonlocal batches
        try:
            return next(batches)
        except StopIteration:
            batches = iter(loader)
            return next(batches)

    return take


def our_batches(pictures: np.ndarray, batch_size: int, kind: str) -> Callable[[], object]:
    images = torch.from_numpy(pictures).unsqueeze(1)
    stream = DrawStream(np.zeros(len(images), np.int64), balanced=False, seed=0)
    generator = torch.Generator().manual_seed(0)
    settings = AugmentationSettings()

    def take() -> object:
        return augment_images(images[torch.from_numpy(stream.take(batch_size))], kind, settings, generator)  # type: ignore[arg-type]

    return take


def training_step(stem: Stem, width: int, batch_size: int, size: int) -> Callable[[], object]:
    settings = ModelSettings(name="resnet18_narrow", stem=stem, width=width)
    model = create_classifier(settings, num_classes=7, channels=1, seed=0)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    images = torch.rand(batch_size, 1, size, size)
    labels = torch.arange(batch_size) % 7

    def step() -> object:
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        return optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=48, help="edge of the pictures in pixels (default 48)")
    parser.add_argument("--batch-size", type=int, default=32, help="faces per step (default 32)")
    parser.add_argument("--repeats", type=int, default=10, help="steps that are timed (default 10)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size, batch_size, repeats = options.size, options.batch_size, options.repeats
    pictures = np.random.default_rng(0).integers(0, 256, (10 * batch_size, size, size)).astype(np.uint8)
    usual = processor_milliseconds(loader_batches(pictures, batch_size), repeats)
    print(f"a batch of {batch_size} at {size} px, milliseconds of one thread")
    print(f"  DataLoader, PNG, torchvision      {usual:8.2f}")
    for kind in ("flip", "classical", "randaugment"):
        ours = processor_milliseconds(our_batches(pictures, batch_size, kind), repeats)
        print(f"  ours, {kind:<12}                {ours:8.2f}   {usual / ours:6.1f} times as fast")
    print("a training step of resnet18_narrow, milliseconds of one thread")
    for stem in ("standard", "half", "small"):
        for width in (8, 16, 24):
            step = training_step(stem, width, batch_size, size)  # type: ignore[arg-type]
            print(f"  {stem:<9} width {width:<3}               {processor_milliseconds(step, repeats):8.1f}")


if __name__ == "__main__":
    main()
