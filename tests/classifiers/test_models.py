from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from augment.core.errors import InputError
from classifiers.models import (
    ModelSettings,
    SubsampledConv2d,
    classifier_names,
    create_classifier,
    load_classifier,
    register_classifier,
    save_classifier,
)

pytestmark = pytest.mark.slow


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_resnet18_has_the_published_size() -> None:
    model = create_classifier(ModelSettings(name="resnet18", stem="standard"), num_classes=7, channels=3, seed=0)
    # He et al.'s ResNet18 for 1,000 classes has 11,689,512 parameters, 513,000 of them in its last layer.
    assert count(model) == 11_689_512 - 513_000 + 7 * 512 + 7


def test_resnet50_has_the_published_size() -> None:
    model = create_classifier(ModelSettings(name="resnet50", stem="standard"), num_classes=7, channels=3, seed=0)
    assert count(model) == 25_557_032 - 2_049_000 + 7 * 2048 + 7


def test_small_stem_changes_the_first_convolution_only() -> None:
    standard = create_classifier(ModelSettings(name="resnet18", stem="standard"), num_classes=7, channels=1, seed=0)
    small = create_classifier(ModelSettings(name="resnet18", stem="small"), num_classes=7, channels=1, seed=0)
    assert count(standard) - count(small) == 64 * (49 - 9)


@pytest.mark.parametrize(("stem", "edge"), [("standard", 2), ("half", 3), ("small", 6)])
def test_stems_leave_the_map_that_they_say(stem: str, edge: int) -> None:
    settings = ModelSettings.model_validate({"name": "resnet18_narrow", "stem": stem, "width": 8})
    model = create_classifier(settings, num_classes=7, channels=1, seed=0)
    maps = model.network.forward_features(torch.zeros(2, 1, 48, 48))
    assert maps.shape == (2, 64, edge, edge)


def test_narrow_network_by_hand() -> None:
    width, classes = 4, 3
    model = create_classifier(
        ModelSettings(name="resnet18_narrow", stem="small", width=width), num_classes=classes, channels=1, seed=0
    )
    expected = 9 * width + 2 * width  # stem and its norm
    before = width
    for stage in range(4):
        now = width * 2**stage
        expected += 9 * before * now + 3 * 9 * now * now + 4 * 2 * now  # four 3x3 convolutions and their norms
        expected += (before * now + 2 * now) if before != now else 0  # the 1x1 convolution beside
        before = now
    expected += before * classes + classes
    assert count(model) == expected


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_what_the_last_layer_sees(channels: int) -> None:
    model = create_classifier(ModelSettings(name="resnet18_narrow"), num_classes=5, channels=channels, seed=1).eval()
    images = torch.randint(0, 256, (3, channels, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        features = model.features(images)
        assert features.shape == (3, 128)
        torch.testing.assert_close(model.network.fc(features), model(images))
        # bytes and 0..1 are the same picture
        torch.testing.assert_close(model(images.float() / 255), model(images))


PLAIN = {"name": "plain_cnn", "widths": (4, 6, 8, 8)}


def test_plain_network_by_hand() -> None:
    model = create_classifier(ModelSettings(**PLAIN, convolutions=(1, 2, 1, 1)), num_classes=3, channels=1, seed=0)
    kernels = 9 * (1 * 4 + 4 * 6 + 6 * 6 + 6 * 8 + 8 * 8)
    norms = 2 * (4 + 6 + 6 + 8 + 8)
    assert count(model) == kernels + norms + 9 * 8 * 3 + 3
    seven = ModelSettings(name="plain_cnn", convolutions=(1, 2, 2, 2))  # of the 581,000 that such a network has
    assert count(create_classifier(seven, num_classes=7, channels=1, seed=0)) == pytest.approx(581_000, abs=1_000)


EXCITED = {"name": "squeeze_excitation_cnn", "widths": (4, 80), "convolutions": (2, 1), "stem": "half"}


def test_squeeze_and_excitation_by_hand() -> None:
    model = create_classifier(ModelSettings(**EXCITED), num_classes=3, channels=1, seed=0).eval()
    kernels = 9 * (1 * 16 + 16 * 4 + 4 * 4 + 4 * 80)  # a stem of 16, then the plain network's
    norms = 2 * (16 + 4 + 4 + 80)
    squeezed = (2 * 4 * 8 + 8 + 4) + (2 * 80 * 10 + 10 + 80)  # 8 at least, else an eighth
    assert count(model) == kernels + norms + squeezed + 9 * 80 * 3 + 3
    stages = list(model.network.stages)
    assert stages[0].stride == (1, 1)  # every pixel is seen before
    assert stages[3].stride == (2, 2)
    # Hu et al. 2018, equations 2 to 4: the mean of each channel, two layers, and a weight in 0..1 of the channel.
    maps = torch.randn(2, 80, 3, 3, generator=torch.Generator().manual_seed(0))
    module = stages[-1]
    reduce, expand = (layer.weight.flatten(1) for layer in (module.fc1, module.fc2))
    means = maps.mean(dim=(2, 3))
    weights = torch.sigmoid(torch.relu(means @ reduce.T + module.fc1.bias) @ expand.T + module.fc2.bias)
    torch.testing.assert_close(module(maps), maps * weights[:, :, None, None])
    assert (module(maps) != maps * torch.sigmoid(means)[:, :, None, None]).any()  # not the means themselves


@pytest.mark.parametrize("name", ["plain_cnn", "squeeze_excitation_cnn"])
@pytest.mark.parametrize(
    ("stem", "size", "edge"), [("small", 48, 3), ("half", 48, 1), ("half", 96, 3), ("small", 32, 2)]
)
def test_stages_of_the_plain_network_halve_the_map(stem: str, size: int, edge: int, name: str) -> None:
    settings = ModelSettings(**{**PLAIN, "name": name, "stem": stem})
    model = create_classifier(settings, num_classes=3, channels=1, seed=0).eval()
    images = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8)
    assert model.network.forward_features(torch.zeros(2, 1, size, size)).shape == (2, 8, edge, edge)
    features = model.features(images)
    maps = model.network.forward_features(model.normalise(images))
    torch.testing.assert_close(features, maps.mean(dim=(2, 3)))
    assert model.network.fc.in_features == 9 * 8  # of a map of 3 x 3, whatever the picture's size
    if edge == 3:  # and that map is the stages' own, not an average of it
        torch.testing.assert_close(model.network.fc(maps.flatten(1)), model(images))


def test_dropout_is_what_it_says_and_only_in_training() -> None:
    model = create_classifier(ModelSettings(**PLAIN, dropout=0.5), num_classes=3, channels=1, seed=0)
    seen: list[torch.Tensor] = []
    model.network.fc.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0]))
    maps = torch.ones(64, 8, 3, 3)
    model.network.train().forward_head(maps)
    model.network.eval().forward_head(maps)
    assert 0.45 < (seen[0] == 0).float().mean() < 0.55
    assert (seen[1] == 1).all()


def test_the_plain_network_is_built_and_trained_without_timm() -> None:
    code = """
        import sys
        import numpy as np
        from striped_faces import tensors
        from classifiers.models import ModelSettings
        from classifiers.training import ClassifierSettings, train_classifier
        model = ModelSettings(name="plain_cnn", widths=(4, 4), convolutions=(1, 1))
        settings = ClassifierSettings(model=model, steps=2, batch_size=4, ema_decay=0.9)
        faces = tensors(np.arange(6) % 3, seed=0)
        train_classifier(settings, real=faces, validation=faces, progress=False)
        print(sorted({"timm", "torchvision"} & set(sys.modules)))
    """
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(here), str(here.parents[1])))}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr[-2000:]


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = create_classifier("resnet18_narrow", num_classes=3, channels=1, seed=7).state_dict()
    assert torch.equal(torch.rand(3), expected)
    torch.rand(10)
    second = create_classifier("resnet18_narrow", num_classes=3, channels=1, seed=7).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = create_classifier("resnet18_narrow", num_classes=3, channels=1, seed=8).state_dict()
    assert not torch.equal(first["network.conv1.weight"], other["network.conv1.weight"])


@pytest.mark.parametrize(
    "settings",
    [
        ModelSettings(name="resnet18_narrow", stem="half", width=8),
        ModelSettings(**PLAIN, convolutions=(1, 1, 2, 1), dropout=0.2),
    ],
)
def test_saved_network_is_the_same_network(tmp_path: Path, settings: ModelSettings) -> None:
    model = create_classifier(settings, num_classes=3, channels=1, seed=0).eval()
    path = tmp_path / "weights.safetensors"
    save_classifier(model, path, class_names=("a", "b", "c"), size=32)
    loaded, about = load_classifier(path)
    assert loaded.settings == settings and not loaded.training
    assert (about["size"], about["class_names"]) == (32, ["a", "b", "c"])
    images = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    assert torch.equal(loaded(images), model(images))


def test_unusable_weights_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing"):
        load_classifier(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(InputError, match="is no classifier of ours"):
        load_classifier(tmp_path / "text.safetensors")
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is no classifier of ours"):
        load_classifier(tmp_path / "other.safetensors")


def test_published_weights_from_a_file(tmp_path: Path) -> None:
    import timm

    with torch.random.fork_rng():
        published = timm.create_model("resnet18", num_classes=1000)
    path = tmp_path / "resnet18.safetensors"
    save_file(published.state_dict(), path)
    settings = ModelSettings(name="resnet18", stem="standard", weights=path)
    model = create_classifier(settings, num_classes=7, channels=1, seed=0)
    assert torch.equal(model.network.layer1[0].conv1.weight, published.layer1[0].conv1.weight)
    # grey sees the sum over the colours' kernels, and the mean of ImageNet's brightness
    torch.testing.assert_close(model.network.conv1.weight, published.conv1.weight.sum(1, keepdim=True))
    assert model.mean.item() == pytest.approx((0.485 + 0.456 + 0.406) / 3)
    saved = tmp_path / "ours.safetensors"
    save_classifier(model, saved, class_names=tuple("abcdefg"), size=48)
    path.unlink()
    assert load_classifier(saved)[0].mean.item() == pytest.approx(model.mean.item())


def test_published_weights_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import timm

    def refuse(*arguments: object, **settings: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(InputError, match=r"classifier\.model\.pretrained: .*no network.*set pretrained to false"):
        create_classifier(ModelSettings(name="resnet18", pretrained=True), num_classes=7, channels=1)


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"name": "resnet19"}, "use one of plain_cnn, resnet18, resnet18_narrow, resnet50, squeeze_excitation_cnn"),
        ({"name": "resnet18", "width": 8}, "use resnet18_narrow"),
        ({"name": "resnet18_narrow", "pretrained": True}, "set pretrained to false"),
        ({"name": "resnet18", "weights": "weights.pth"}, "safetensors"),
        ({"name": "resnet18_narrow", "width": 7}, "multiple of 2"),
        ({"stem": "huge"}, "'standard', 'half' or 'small'"),
        ({"depth": 3}, "Extra inputs"),
        (
            {"name": "resnet18", "widths": (8, 8)},
            "widths is for plain_cnn and squeeze_excitation_cnn; leave it out for resnet18",
        ),
        ({"name": "resnet18_narrow", "dropout": 0.1}, "dropout is for plain_cnn"),
        ({"name": "plain_cnn", "width": 8}, "width is for narrow networks"),
        ({"name": "plain_cnn", "widths": (8, 16)}, "convolutions: 4 numbers for 2 stages"),
        ({"name": "plain_cnn", "stem": "standard"}, "use small, or half"),
        ({"name": "squeeze_excitation_cnn", "stem": "standard"}, "squeeze_excitation_cnn has no standard one"),
        ({"name": "squeeze_excitation_cnn", "width": 8}, "width is for narrow networks"),
        ({"name": "squeeze_excitation_cnn", "widths": (8, 16)}, "convolutions: 4 numbers for 2 stages"),
        ({"name": "squeeze_excitation_cnn", "pretrained": True}, "no weights of squeeze_excitation_cnn are published"),
        ({"name": "plain_cnn", "pretrained": True}, "no weights of plain_cnn are published"),
        ({"name": "plain_cnn", "widths": ()}, "at least 1 item"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, fix: str) -> None:
    with pytest.raises(ValidationError, match=fix):
        ModelSettings(**settings)


def test_registry_takes_another_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("classifiers.models._BUILDERS", {})

    class Tiny(nn.Module):
        def __init__(self, classes: int, channels: int) -> None:
            super().__init__()
            self.fc = nn.Linear(channels, classes)

        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return x

        def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
            pooled = x.mean((2, 3))
            return pooled if pre_logits else self.fc(pooled)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.forward_head(self.forward_features(x))

    register_classifier("tiny")(lambda settings, classes, channels: Tiny(classes, channels))
    assert classifier_names() == ("tiny",)
    model = create_classifier("tiny", num_classes=4, channels=3)
    images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert model(images).shape == (2, 4) and model.features(images).shape == (2, 3)


def test_narrow_strided_convolutions_which_corrupt_memory_are_replaced_by_the_same_function() -> None:
    def replaced(width: int) -> list[int]:
        network = create_classifier(ModelSettings(name="resnet18_narrow", width=width), num_classes=3, channels=1)
        return [layer.in_channels for layer in network.modules() if isinstance(layer, SubsampledConv2d)]

    assert (replaced(4), replaced(8), replaced(16)) == ([4, 8], [8], [])
    for edge, bias in ((8, False), (7, True)):
        plain = nn.Conv2d(4, 8, 1, stride=2, bias=bias)
        same = SubsampledConv2d.replacing(plain)
        maps = torch.randn(5, 4, edge, edge)
        torch.testing.assert_close(same(maps), plain(maps))
        assert list(same.state_dict()) == list(plain.state_dict())


def test_narrow_networks_learn_without_corrupting_memory() -> None:
    """In a process of its own: what it guards against ends the process, or a later one's results."""
    code = """
        import torch
        from classifiers.models import ModelSettings, create_classifier
        torch.set_num_threads(1)
        for width in (4, 6, 8, 12):
            network = create_classifier(ModelSettings(name="resnet18_narrow", width=width), num_classes=3, channels=1)
            network = network.to(memory_format=torch.channels_last)
            for _ in range(5):
                network(torch.randn(8, 1, 32, 32)).sum().backward()
                between = [torch.randn(count) for count in range(1, 400, 7)]
        print("sound")
    """
    environment = os.environ | {"MALLOC_CHECK_": "3", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "sound\n"), done.stderr[-2000:]
