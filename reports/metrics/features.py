"""Image features for the distances: pytorch-fid's Inception if its weights are available, else the judge's."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path, sha256_of_file
from augment.core.mixed_precision import autocast
from augment.core.precision import ComputedPrecision, Precision
from augment.core.precision_measurement import Step, choose_precision
from augment.core.processes import run_in_processes
from augment.core.sealed_tensors import load_tensors, save_tensors

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256_PREFIX = "6726825d"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"
INCEPTION_DIMENSION = 2048
_BATCHES_OF_A_PROCESS = 4  # at least, or its start would cost more than it saves
_TRIAL_IMAGES = 4  # of a measurement of the precision: an image takes a fifth of a second on a core


class FeatureExtractor(Protocol):
    """Extracts features of images.

    Attributes:
        key: The features' key in the cache: a hash of the weights.
    """

    key: str

    def __call__(self, images: torch.Tensor) -> np.ndarray:
        """Features float32 [N, D] of uint8 images [N, C, H, W]."""
        ...


@dataclass(frozen=True)
class InceptionLookup:
    """The Inception weights' path, or why they are not available.

    Attributes:
        path: The verified file; None if it is not available.
        reason: Why it is not available; empty if it is.
    """

    path: Path | None
    reason: str = ""


def inception_cache_path() -> Path:
    """The path where pytorch-fid caches its weights: $TORCH_HOME/hub/checkpoints (or torch's default)."""
    return Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE


def find_inception_weights(
    path: Path | None = None, *, allow_download: bool = False, timeout_seconds: float = 20.0
) -> InceptionLookup:
    """Looks for pytorch-fid's official Inception weights, and verifies them.

    Args:
        path: A file given by the user; None searches $TORCH_HOME/hub/checkpoints.
        allow_download: Whether to download missing weights once from pytorch-fid's release.
        timeout_seconds: Of the connection.

    Returns:
        The verified file, or the reason why there is none. A damaged file in the cache is downloaded again. A failed
        download is a reason, not an error: the report then has the distance on the judge's features, under its own
        name.

    Raises:
        InputError: The given file is missing or is not the official one.
    """
    if path is not None:
        if not path.is_file():
            raise InputError(Problem(str(path), "no such file", f"set the path of {INCEPTION_FILE}, or null"))
        _verify(path)
        return InceptionLookup(path)
    cached = inception_cache_path()
    shown = f"$TORCH_HOME/hub/checkpoints/{INCEPTION_FILE}"
    state = "missing"
    if cached.is_file():
        try:
            _verify(cached)
            return InceptionLookup(cached)
        except InputError:
            state = "damaged (an incomplete download?)"
    if not allow_download:
        return InceptionLookup(None, f"{shown} is {state} and downloads are off (scores.allow_download)")
    try:
        with atomic_path(cached) as scratch:
            _download(scratch, timeout_seconds)
            _verify(scratch)
    except (OSError, http.client.HTTPException, InputError) as error:
        return InceptionLookup(None, f"{shown} is {state} and its download failed: {error}")
    return InceptionLookup(cached)


def _download(target: Path, timeout_seconds: float) -> None:
    with urllib.request.urlopen(INCEPTION_URL, timeout=timeout_seconds) as answer, target.open("wb") as file:
        while chunk := answer.read(1 << 20):
            file.write(chunk)


def _verify(path: Path) -> None:
    found = sha256_of_file(path)
    if not found.startswith(INCEPTION_SHA256_PREFIX):
        raise InputError(
            Problem(
                str(path),
                f"its SHA-256 begins with {found[:8]}, that of the official weights with {INCEPTION_SHA256_PREFIX}",
                "delete it and download it again",
            )
        )


def build_inception(weights: dict[str, torch.Tensor]) -> nn.Module:
    """Builds pytorch-fid's Inception up to its last average pooling, with weights that are already in memory.

    pytorch-fid downloads on construction; its loader is temporarily replaced by one that returns `weights`.

    Raises:
        RuntimeError: The weights don't fit the network.
    """
    from pytorch_fid import inception

    loader = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *_, **__: weights
    try:
        network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[INCEPTION_DIMENSION]])
    finally:
        inception.load_state_dict_from_url = loader
    return network.eval()


class InceptionFeatures:
    """Inception's 2,048 pooled features, on which the FID is defined.

    Args:
        path: The verified weights (see `find_inception_weights`).
        device: Device of the network.
        batch_size: Images per batch; 299-pixel activations are large.
        network: An existing network, for tests.
        precision: Of the forward pass; `auto` is chosen here (`augment.core.precision`).
        precision_cache: A folder that keeps the choice over runs.
        processes: How many processes share many images; no feature depends on it.
        threads: Of each process, where there are several.
        gpus: Which the processes take by turns (`augment.core.processes`).

    Attributes:
        key: A hash of the weights, with the precision unless it is float32.
        precision: What was chosen, and why.
    """

    def __init__(
        self,
        path: Path,
        *,
        device: torch.device | str = "cpu",
        batch_size: int = 32,
        network: nn.Module | None = None,
        precision: Precision = "float32",
        precision_cache: Path | None = None,
        processes: int = 1,
        threads: int = 1,
        gpus: Sequence[str] = (),
    ) -> None:
        self._path = path if network is None else None  # what another process can read
        self._processes, self._threads, self._gpus = processes, threads, gpus
        self.key = f"inception-{sha256_of_file(path)[:16]}"
        self.device = torch.device(device)
        self.batch_size = batch_size
        if network is None:
            network = build_inception(torch.load(path, map_location="cpu", weights_only=True))
        self.network = network.to(self.device)
        self.precision = choose_precision(
            precision,
            self._trial_step,
            device=self.device,
            network={"inception": self.key, "batch_size": _TRIAL_IMAGES},
            cache=precision_cache,
        )
        if self.precision.used != "float32":
            self.key += f"-{self.precision.used}"

    def _trial_step(self, precision: ComputedPrecision) -> Step:
        noise = torch.rand((_TRIAL_IMAGES, 3, 48, 48), generator=torch.Generator().manual_seed(0)).to(self.device)

        def step() -> None:
            with torch.no_grad(), autocast(self.device, precision):
                self.network(noise)

        return step

    def __call__(self, images: torch.Tensor) -> np.ndarray:
        """Features float32 [N, 2048] of uint8 images [N, C, H, W]; grey images are repeated over three channels."""
        # Whole batches: what a network rounds depends on the batch.
        batches = -(-len(images) // self.batch_size)
        parts = min(self._processes, batches // _BATCHES_OF_A_PROCESS)
        if self._path is None or parts < 2:
            return self._features(images)
        rows = -(-batches // parts) * self.batch_size
        calls = [
            {
                "images": images[start : start + rows].cpu().numpy(),
                "path": self._path,
                "device": str(self.device),
                "batch_size": self.batch_size,
                "precision": self.precision.used,
            }
            for start in range(0, len(images), rows)
        ]
        runs = run_in_processes(_features_of_part, calls, processes=parts, threads=self._threads, gpus=self._gpus)
        found = dict(runs)
        return np.concatenate([found[number] for number in range(len(calls))])

    @torch.no_grad()
    def _features(self, images: torch.Tensor) -> np.ndarray:
        parts = []
        for start in range(0, len(images), self.batch_size):
            batch = images[start : start + self.batch_size].to(self.device).float() / 255.0
            if batch.shape[1] == 1:
                batch = batch.expand(-1, 3, -1, -1)
            with autocast(self.device, self.precision.used):
                found = self.network(batch)[0]
            parts.append(found.flatten(1).float().cpu().numpy())
        return np.concatenate(parts) if parts else np.zeros((0, INCEPTION_DIMENSION), np.float32)


def _features_of_part(*, images: np.ndarray, path: Path, **options: Any) -> np.ndarray:
    return InceptionFeatures(path, **options)(torch.from_numpy(images))


def images_key(images: torch.Tensor) -> str:
    """A hash of images and their order, for the cache."""
    digest = hashlib.sha256(repr(tuple(images.shape)).encode())
    digest.update(images.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:24]


def cached_features(images: torch.Tensor, extractor: FeatureExtractor, cache: Path | None) -> np.ndarray:
    """Features of images, from the cache if the same extractor has processed the same images.

    Args:
        images: uint8 [N, C, H, W].
        extractor: Extracts the features.
        cache: A folder of safetensors files; None disables the cache.

    Returns:
        float32 [N, D].
    """
    if cache is None:
        return extractor(images)
    path = cache / f"{extractor.key}-{images_key(images)}.safetensors"
    if path.is_file():
        try:
            return load_tensors(path, "cached features", "make them again")[0]["features"].numpy()
        except (InputError, KeyError):
            path.unlink()  # damaged, or of an older version: computed again
    features = np.ascontiguousarray(extractor(images), dtype=np.float32)
    save_tensors({"features": torch.from_numpy(features)}, path, {})
    return features
