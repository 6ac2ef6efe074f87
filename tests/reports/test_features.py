"""Inception from a file: found, verified, never fetched unasked, and the same network as pytorch-fid's."""

import hashlib
import random
import urllib.error

import numpy as np
import pytest
import torch
from torch import nn

from augment.core import precision_measurement as precision_module
from augment.core.errors import InputError
from reports.metrics import features
from reports.metrics.features import (
    INCEPTION_FILE,
    InceptionFeatures,
    build_inception,
    cached_features,
    find_inception_weights,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(features.urllib.request, "urlopen", lambda *_, **__: pytest.fail("the network was asked"))
    return tmp_path


def pass_as_official(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(features, "INCEPTION_SHA256_PREFIX", hashlib.sha256(data).hexdigest()[:8])


def test_absent_weights_are_a_reason_and_no_download(torch_home) -> None:
    found = find_inception_weights()
    assert found.path is None
    assert "missing" in found.reason and "scores.allow_download" in found.reason


def test_cached_weights_are_found_and_verified(torch_home, monkeypatch) -> None:
    path = torch_home / "hub" / "checkpoints" / INCEPTION_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    pass_as_official(monkeypatch, b"weights")
    assert find_inception_weights().path == path


def test_a_truncated_inception_cache_is_fetched_again_and_else_a_reason(torch_home, monkeypatch) -> None:
    path = torch_home / "hub" / "checkpoints" / INCEPTION_FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weigh")
    pass_as_official(monkeypatch, b"weights")
    found = find_inception_weights()
    assert found.path is None and "damaged" in found.reason and "scores.allow_download" in found.reason
    assert path.read_bytes() == b"weigh"
    monkeypatch.setattr(features, "_download", lambda target, _: target.write_bytes(b"wei"))
    found = find_inception_weights(allow_download=True)
    assert found.path is None and "damaged" in found.reason and "download failed" in found.reason
    monkeypatch.setattr(features, "_download", lambda target, _: target.write_bytes(b"weights"))
    assert find_inception_weights(allow_download=True).path == path
    assert path.read_bytes() == b"weights" and find_inception_weights().path == path
    with pytest.raises(InputError, match="SHA-256 begins"):  # named by the user: an error, not a reason
        (torch_home / "own.pth").write_bytes(b"weigh")
        find_inception_weights(torch_home / "own.pth")


def test_damaged_cached_features_are_made_again(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"w")
    extractor = InceptionFeatures(path, network=Pooled())
    images = torch.arange(5 * 16, dtype=torch.uint8).view(5, 1, 4, 4)
    first = cached_features(images, extractor, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    whole = kept.read_bytes()
    chance = random.Random(0)
    for place in [*range(12), *chance.sample(range(len(whole)), 40)]:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        kept.write_bytes(flipped)
        np.testing.assert_array_equal(cached_features(images, extractor, tmp_path / "cache"), first)
        assert kept.read_bytes() == whole


def test_a_given_file_must_be_there_and_be_the_official_one(torch_home, tmp_path) -> None:
    with pytest.raises(InputError, match="no such file"):
        find_inception_weights(tmp_path / "absent.pth")
    (tmp_path / "other.pth").write_bytes(b"other")
    with pytest.raises(InputError, match="6726825d"):
        find_inception_weights(tmp_path / "other.pth")


def test_a_failed_download_falls_back_with_its_reason_and_leaves_nothing(torch_home, monkeypatch) -> None:
    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(features.urllib.request, "urlopen", fail)
    found = find_inception_weights(allow_download=True)
    assert found.path is None and "no route to host" in found.reason
    assert list((torch_home / "hub" / "checkpoints").iterdir()) == []


def test_a_download_is_verified_before_it_is_kept(torch_home, monkeypatch) -> None:
    class Answer:
        def __init__(self) -> None:
            self.parts = [b"half", b"of it", b""]

        def __enter__(self):
            return self

        def __exit__(self, *_) -> None:
            pass

        def read(self, _size: int) -> bytes:
            return self.parts.pop(0)

    monkeypatch.setattr(features.urllib.request, "urlopen", lambda *_, **__: Answer())
    found = find_inception_weights(allow_download=True)
    assert found.path is None and "SHA-256" in found.reason
    pass_as_official(monkeypatch, b"halfof it")
    found = find_inception_weights(allow_download=True)
    assert found.path is not None and found.path.read_bytes() == b"halfof it"


def random_inception() -> nn.Module:
    """Random weights in the official layout, by pytorch-fid's own construction."""
    from pytorch_fid import inception  # it loads torchvision: seconds that few tests here owe

    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patched:
        torch.manual_seed(0)
        patched.setattr(inception, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(nn.Module, "load_state_dict", lambda *_, **__: None)
        return inception.fid_inception_v3()


def test_the_network_is_pytorch_fid_s_with_our_weights() -> None:
    """Random weights in the official layout: pytorch-fid's own construction gives the same features."""
    from pytorch_fid import inception

    plain = random_inception()
    weights = plain.state_dict()
    loader = inception.load_state_dict_from_url
    network = build_inception(weights)
    assert inception.load_state_dict_from_url is loader
    assert not network.training
    # torchvision's Inception without its auxiliary head and its last layer.
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert parameters == 27_161_264 - 3_326_696 - 2_049_000
    plain.fc = nn.Identity()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        resized = torch.nn.functional.interpolate(images, size=(299, 299), mode="bilinear", align_corners=False)
        wanted = plain.eval()(2 * resized - 1)
        found = network(images)[0].flatten(1)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    assert found.std() > 0


class Pooled(nn.Module):
    """Stands for Inception: means of the channels."""

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        assert images.shape[1] == 3 and images.min() >= 0 and images.max() <= 1
        return [images.mean(dim=(2, 3), keepdim=True)]


def test_features_are_batched_scaled_and_grey_is_repeated(tmp_path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"w")
    extractor = InceptionFeatures(path, batch_size=2, network=Pooled())
    images = torch.full((5, 1, 4, 4), 51, dtype=torch.uint8)
    found = extractor(images)
    np.testing.assert_allclose(found, np.full((5, 3), 0.2), rtol=1e-6)


def test_processes_share_the_pictures_and_give_the_same_features(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(features, "_BATCHES_OF_A_PROCESS", 1)  # a picture takes a fifth of a second
    path = tmp_path / INCEPTION_FILE
    torch.save(random_inception().state_dict(), path)
    pictures = torch.randint(0, 256, (5, 1, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    alone = InceptionFeatures(path, batch_size=2)
    shared = InceptionFeatures(path, batch_size=2, processes=2, threads=torch.get_num_threads())
    assert alone.key == shared.key
    found = shared(pictures)
    assert np.array_equal(found, alone(pictures)) and found.shape == (5, 2048)
    few = pictures[:2]  # not worth the start of processes
    assert np.array_equal(shared(few), alone(few))


def test_the_cache_is_keyed_by_pictures_and_weights(tmp_path) -> None:
    calls = []

    class Extractor:
        key = "a"

        def __call__(self, images: torch.Tensor) -> np.ndarray:
            calls.append(len(images))
            return images.flatten(1).float().numpy()

    images = torch.arange(12, dtype=torch.uint8).reshape(3, 1, 2, 2)
    extractor = Extractor()
    first = cached_features(images, extractor, tmp_path)
    np.testing.assert_array_equal(cached_features(images, extractor, tmp_path), first)
    assert calls == [3]
    cached_features(images.flip(0), extractor, tmp_path)
    extractor.key = "b"
    cached_features(images, extractor, tmp_path)
    assert calls == [3, 3, 3]
    cached_features(images, extractor, None)
    assert len(calls) == 4


class Convolved(nn.Module):
    """Stands for Inception: a convolution, which is computed in the precision that is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3)
        self.seen: list[torch.dtype] = []

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        found = self.convolution(images).mean(dim=(2, 3), keepdim=True)
        self.seen.append(found.dtype)
        return [found]


@pytest.mark.parametrize(("speed", "used"), [(3.0, torch.bfloat16), (0.6, torch.float32)])
def test_precision_of_the_features(tmp_path, monkeypatch, speed: float, used: torch.dtype) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"w")
    images = torch.randint(256, (5, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    network = Convolved()
    exact = InceptionFeatures(path, network=network)
    name = str(used).removeprefix("torch.")
    choice = precision_module.PrecisionChoice(asked="auto", used=name, bfloat16_speed=speed)

    def measure(make_step, *_) -> precision_module.PrecisionChoice:
        make_step("bfloat16")()
        return choice

    monkeypatch.setattr(precision_module, "_measure", measure)
    automatic = InceptionFeatures(path, network=network, precision="auto", precision_cache=tmp_path / "cache")
    assert network.seen[-1] == torch.bfloat16  # the trial
    found = automatic(images)
    assert network.seen[-1] == used and found.dtype == np.float32 and automatic.precision == choice
    # Features of one precision are never read as those of another.
    assert (automatic.key == exact.key) == (used == torch.float32)
    np.testing.assert_allclose(found, exact(images), atol=0.02)
