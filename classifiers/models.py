"""The networks that learn from faces: timm's residual networks, its VGG16 and a plain one, grey or colour."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from torch import nn

from augment.core.errors import InputError, Problem
from augment.core.files import sha256_of_file
from augment.core.regular_files import require_regular_file
from augment.core.sealed_tensors import load_tensors, save_tensors
from augment.core.seeding import seeded
from classifiers.plain_network import PLAIN_CONVOLUTIONS, PLAIN_DROPOUT, PLAIN_WIDTHS, PlainNetwork

# The brightness of a well-exposed grey face, in 0..1; fixed, so that no statistics of any split enter the network.
GREY_MEAN = 0.5
GREY_STANDARD_DEVIATION = 0.25

Stem = Literal["standard", "half", "small"]
Builder = Callable[["ModelSettings", int, int], nn.Module]

_BUILDERS: dict[str, Builder] = {}

# Of squeeze_excitation_cnn: channels of its first convolution, and how many channels share one that is squeezed (Hu et
# al. use 16 for their hundreds of channels; at least 8 are left).
_EXCITED_STEM_WIDTH = 16
_EXCITED_REDUCTION = 8
_LEAST_SQUEEZED = 8


def register_classifier(name: str) -> Callable[[Builder], Builder]:
    """Adds a network to the registry: `build(settings, num_classes, channels) -> timm-like module`.

    The module needs `forward_features(x)` and `forward_head(x, pre_logits=...)`, which every timm model has.
    """

    def register(builder: Builder) -> Builder:
        _BUILDERS[name] = builder
        return builder

    return register


def classifier_names() -> tuple[str, ...]:
    """The registered networks' names, sorted."""
    return tuple(sorted(_BUILDERS))


class ModelSettings(BaseModel):
    """Which network, and how its first layers look at the picture.

    Attributes:
        name: plain_cnn, squeeze_excitation_cnn, resnet18_narrow, resnet18, resnet50, vgg16_bn, or one that
            `register_classifier` was given.
        stem: `standard` is the published 7x7 stride 2 and max-pool (an eighth of the edge is left after the second
            stage: for 96 px and more); `small` is 3x3 stride 1 without max-pool (the usual one for 32 to 64 px);
            `half` is 3x3 stride 2 without max-pool, four times cheaper than `small`, for small pictures on a CPU.
            plain_cnn and squeeze_excitation_cnn have no `standard`; there these are the stride of the first stage.
            vgg16_bn has its own, which is `small`, and no other.
        width: Channels of the first stage; the next ones double. Only for networks named narrow; 16 by default.
        widths: Channels of each stage. Only for plain_cnn and squeeze_excitation_cnn; 32, 64, 128, 128 by default. Each
            stage halves the picture.
        convolutions: Convolutions in each stage. Only for plain_cnn and squeeze_excitation_cnn; one each by default. 1,
            2, 2, 2 suits tens of thousands of faces.
        dropout: Probability that a feature is left out before the last layer. Only for plain_cnn and
            squeeze_excitation_cnn; 0.3 by default.
        pretrained: Whether to start from timm's published weights (needs the network once, or `weights`).
        weights: A safetensors file in timm's form of this network, instead of a download.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = "resnet18"
    stem: Stem = "small"
    width: int | None = Field(default=None, ge=4, le=1024, multiple_of=2)
    widths: tuple[Annotated[int, Field(ge=4, le=1024)], ...] | None = Field(default=None, min_length=1, max_length=6)
    convolutions: tuple[Annotated[int, Field(ge=1, le=8)], ...] | None = Field(default=None, min_length=1, max_length=6)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    pretrained: bool = False
    weights: Path | None = None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in _BUILDERS:
            raise ValueError(f"{name!r} is no known network; use one of {', '.join(classifier_names())}")
        return name

    @model_validator(mode="after")
    def _fits(self) -> ModelSettings:
        narrow = self.name.endswith("_narrow")
        if self.width is not None and not narrow:
            raise ValueError(f"width is for narrow networks; leave it out for {self.name}, or use resnet18_narrow")
        plain = self.name in ("plain_cnn", "squeeze_excitation_cnn")
        for key in ("widths", "convolutions", "dropout"):
            if getattr(self, key) is not None and not plain:
                raise ValueError(f"{key} is for plain_cnn and squeeze_excitation_cnn; leave it out for {self.name}")
        if plain:
            if self.stem == "standard":
                raise ValueError(f"stem: {self.name} has no standard one; use small, or half (four times cheaper)")
            stages, counts = len(self.widths or PLAIN_WIDTHS), len(self.convolutions or PLAIN_CONVOLUTIONS)
            if stages != counts:
                raise ValueError(f"convolutions: {counts} numbers for {stages} stages; give one for each of widths")
        if self.name == "vgg16_bn" and self.stem == "half":
            raise ValueError("stem: vgg16_bn has its own alone, which is small")
        if (narrow or plain) and (self.pretrained or self.weights is not None):
            raise ValueError(f"no weights of {self.name} are published; set pretrained to false, or use resnet18")
        if self.weights is not None and self.weights.suffix != ".safetensors":
            raise ValueError(f"weights: {self.weights} is not a .safetensors file; pickled weights are never loaded")
        return self

    @property
    def least_edge(self) -> int:
        """Pixels that a picture's edge has at least: every pooling halves the map, and one of a pixel has no half."""
        if self.name == "vgg16_bn":
            return 2**5
        if self.name in ("plain_cnn", "squeeze_excitation_cnn"):
            stages = len(self.widths or PLAIN_WIDTHS)
            return 2 ** (stages + 1) - 1 if self.stem == "half" else 2**stages
        return 1


class _ClassifierForm(BaseModel):
    """What a file of weights says of its network."""

    model_config = ConfigDict(strict=True)

    model: dict[str, Any]
    num_classes: int = Field(ge=2, le=10_000)
    channels: Literal[1, 3]
    size: int = Field(ge=1, le=4096)
    class_names: list[str]


class FaceClassifier(nn.Module):
    """A network with its normalisation: takes pictures as they are stored, gives logits and features.

    Args:
        network: A timm module.
        settings: What it was built from.
        num_classes: Number of classes.
        channels: 1 or 3.
        mean: Per channel (or one for all), in 0..1.
        standard_deviation: Likewise.
    """

    mean: torch.Tensor
    standard_deviation: torch.Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        settings: ModelSettings,
        num_classes: int,
        channels: int,
        mean: tuple[float, ...] = (GREY_MEAN,),
        standard_deviation: tuple[float, ...] = (GREY_STANDARD_DEVIATION,),
    ) -> None:
        super().__init__()
        self.network = network
        self.settings = settings
        self.num_classes = num_classes
        self.channels = channels
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("standard_deviation", torch.tensor(standard_deviation).view(1, -1, 1, 1))

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 0..255 or float 0..1, [N, C, H, W], to the network's range."""
        values = images.to(self.mean.dtype)
        if images.dtype == torch.uint8:
            values = values / 255.0
        return (values - self.mean) / self.standard_deviation

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N, num_classes] of pictures, uint8 0..255 or float 0..1 [N, C, H, W]."""
        return cast(torch.Tensor, self.network(self.normalise(images)))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Pooled features before the last layer, [N, D]; what the Frechet classifier distance compares."""
        network = cast(Any, self.network)
        maps = network.forward_features(self.normalise(images))
        return cast(torch.Tensor, network.forward_head(maps, pre_logits=True))


def digest_of_weights(settings: ModelSettings) -> str | None:
    """SHA-256 of the file that the network starts from; None where it starts from none.

    Raises:
        InputError: The file is not there, or is no regular one.
    """
    if settings.weights is None:
        return None
    try:
        require_regular_file(settings.weights)
        return sha256_of_file(settings.weights)
    except OSError as error:
        why = f"{settings.weights} can't be read: {error.strerror or error}"
        fix = f"name a .safetensors file in timm's form of {settings.name}, or leave weights out"
        raise InputError(Problem("classifier.model.weights", why, fix)) from error


def create_classifier(
    settings: ModelSettings | str, *, num_classes: int, channels: int, seed: int | None = None
) -> FaceClassifier:
    """Builds a network on the CPU.

    Args:
        settings: The network's settings, or just its name.
        num_classes: Number of classes, at least 2.
        channels: 1 for grey, 3 for colour.
        seed: Seeds the initial weights without touching the global random state; None draws from the global state.

    Raises:
        InputError: Published weights were asked for and can't be had.
    """
    if isinstance(settings, str):
        settings = ModelSettings(name=settings)
    if num_classes < 2 or channels not in (1, 3):
        raise InputError(
            Problem("classifier", f"can't be built for {num_classes} classes and {channels} channels", "2+ and 1 or 3")
        )
    mean: tuple[float, ...] = (GREY_MEAN,)
    deviation: tuple[float, ...] = (GREY_STANDARD_DEVIATION,)
    # timm draws initial weights from the global generator; fence it, so that a seed gives the same weights anywhere.
    with nullcontext() if seed is None else seeded(seed):
        network = _without_narrow_strided_convolutions(_BUILDERS[settings.name](settings, num_classes, channels))
    if settings.pretrained or settings.weights is not None:
        published = cast(dict[str, Any], getattr(network, "pretrained_cfg", {}))
        mean = tuple(published.get("mean", mean))
        deviation = tuple(published.get("std", deviation))
        if channels == 1:
            mean, deviation = (sum(mean) / len(mean),), (sum(deviation) / len(deviation),)
    return FaceClassifier(
        network,
        settings=settings,
        num_classes=num_classes,
        channels=channels,
        mean=mean,
        standard_deviation=deviation,
    )


def save_classifier(model: FaceClassifier, path: Path, *, class_names: tuple[str, ...], size: int) -> None:
    """Writes weights as safetensors, with all that is needed to build the network again in the metadata."""
    about = {
        "model": model.settings.model_dump(mode="json"),
        "num_classes": model.num_classes,
        "channels": model.channels,
        "size": size,
        "class_names": list(class_names),
    }
    save_tensors(model.state_dict(), path, about)


def load_classifier(path: Path, device: torch.device | str = "cpu") -> tuple[FaceClassifier, dict[str, Any]]:
    """Reads what `save_classifier` wrote.

    Returns:
        The network in evaluation mode, and its facts: model, num_classes, channels, size, class_names.

    Raises:
        InputError: The file is missing, damaged, or not one of ours.
    """
    if not Path(path).exists():
        raise InputError(Problem(str(path), "is missing", "run the stage that trains it"))
    tensors, about = load_tensors(path, "classifier of ours", "train it again")
    try:
        form = _ClassifierForm.model_validate(about)
        # What was once published or given as a file lies in these weights now.
        settings = ModelSettings(**{**form.model, "pretrained": False, "weights": None})
        model = create_classifier(settings, num_classes=form.num_classes, channels=form.channels, seed=0)
        # A published normalisation has a value a channel; ours has one for all.
        for name in ("mean", "standard_deviation"):
            setattr(model, name, torch.empty_like(tensors[name]))
        model.load_state_dict(tensors)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        raise InputError(Problem(str(path), f"is no classifier of ours: {error}", "train it again")) from error
    return model.to(device).eval(), about


def _import_timm(*, pretrained: bool) -> Any:
    # Off-line, timm tries for the better part of a minute to reach a hub, unless this is set before its import.
    if not pretrained:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import timm
    import timm.models.resnet

    return timm


def _replace_stem(network: Any, stem: Stem, channels: int, width: int) -> None:
    """Puts a stem for small pictures in the place of the published one (or of the deep one of a narrow network)."""
    if stem == "standard":
        convolution = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    else:
        convolution = nn.Conv2d(channels, width, 3, stride=2 if stem == "half" else 1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    network.conv1 = convolution


def _published_network(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    wanted = settings.pretrained or settings.weights is not None
    timm = _import_timm(pretrained=settings.pretrained and settings.weights is None)
    overlay = None if settings.weights is None else {"file": str(settings.weights)}
    try:
        if settings.weights is not None:
            require_regular_file(settings.weights)
        network = timm.create_model(
            settings.name,
            pretrained=wanted,
            num_classes=num_classes,
            in_chans=channels,
            pretrained_cfg_overlay=overlay,
        )
    except Exception as error:
        if not wanted:
            raise
        if settings.weights is not None:
            why = f"{settings.weights} can't be read as weights of {settings.name}: {type(error).__name__}: {error}"
            fix = "name a .safetensors file in timm's form of this network, or leave weights out"
            raise InputError(Problem("classifier.model.weights", why, fix)) from error
        raise InputError(
            Problem(
                "classifier.model.pretrained",
                f"the published weights of {settings.name} can't be had: {type(error).__name__}: {error}",
                "give a .safetensors file as classifier.model.weights, run once with a network (and without"
                " HF_HUB_OFFLINE), or set pretrained to false",
            )
        ) from error
    if settings.name.startswith("resnet") and settings.stem != "standard":
        _replace_stem(network, settings.stem, channels, network.conv1.out_channels)
    return cast(nn.Module, network)


@register_classifier("resnet18")
def _resnet18(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    return _published_network(settings, num_classes, channels)


@register_classifier("resnet50")
def _resnet50(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    return _published_network(settings, num_classes, channels)


@register_classifier("vgg16_bn")
def _vgg16(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    """timm's VGG16 with batch normalization, without which its 134 million weights hardly learn."""
    return _published_network(settings, num_classes, channels)


@register_classifier("resnet18_narrow")
def _resnet18_narrow(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    """timm's ResNet18 with a quarter of the channels by default: about a sixteenth of the work."""
    timm = _import_timm(pretrained=False)
    width = settings.width or 16
    resnet = timm.models.resnet
    # timm fixes the plain stem at 64 channels; the deep one takes a width. Its convolutions are then replaced by one.
    network = resnet.ResNet(
        block=resnet.BasicBlock,
        layers=(2, 2, 2, 2),
        channels=(width, 2 * width, 4 * width, 8 * width),
        stem_type="deep",
        stem_width=width // 2,
        num_classes=num_classes,
        in_chans=channels,
    )
    _replace_stem(network, settings.stem, channels, width)
    return cast(nn.Module, network)


def _plain_network(settings: ModelSettings, num_classes: int, channels: int, **form: Any) -> nn.Module:
    return PlainNetwork(
        num_classes=num_classes,
        channels=channels,
        widths=settings.widths or PLAIN_WIDTHS,
        convolutions=settings.convolutions or PLAIN_CONVOLUTIONS,
        stride=2 if settings.stem == "half" else 1,
        dropout=PLAIN_DROPOUT if settings.dropout is None else settings.dropout,
        **form,
    )


@register_classifier("plain_cnn")
def _plain_cnn(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    """Needs no timm, whose import takes seconds."""
    return _plain_network(settings, num_classes, channels)


@register_classifier("squeeze_excitation_cnn")
def _squeeze_excitation_cnn(settings: ModelSettings, num_classes: int, channels: int) -> nn.Module:
    """The plain network with timm's squeeze and excitation, and a convolution that sees every pixel before the stride.

    Of FER2013's own validation faces it tells more apart than the plain one of the same widths for a little more time.
    """
    _import_timm(pretrained=False)
    from timm.layers import SEModule

    def excitation(width: int) -> nn.Module:
        return cast(nn.Module, SEModule(width, rd_channels=max(_LEAST_SQUEEZED, width // _EXCITED_REDUCTION)))

    return _plain_network(settings, num_classes, channels, stem_width=_EXCITED_STEM_WIDTH, excitation=excitation)


class SubsampledConv2d(nn.Conv2d):
    """A strided 1 x 1 convolution: takes every so many pixels first, then convolves them one by one.

    The same function with the same weights as `nn.Conv2d` of kernel 1 and that stride, without its backward pass of
    oneDNN, which writes past its workspace where pixels lie channels last and the convolution has fewer input channels
    than one block holds (oneDNN issue 6035; seen here on AVX2 with torch 2.15: a corrupted heap). Grey pictures lie
    channels last whatever format is asked for.
    """

    @classmethod
    def replacing(cls, layer: nn.Conv2d) -> SubsampledConv2d:
        """Takes over the weights of a convolution."""
        made = cls(
            layer.in_channels, layer.out_channels, 1, cast(tuple[int, int], layer.stride), bias=layer.bias is not None
        )
        made.weight, made.bias = layer.weight, layer.bias
        return made

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """float [N, C, H, W] -> float [N, C', ceil(H / stride), ceil(W / stride)]."""
        rows, columns = self.stride
        return F.conv2d(maps[:, :, ::rows, ::columns], self.weight, self.bias)


# oneDNN takes channels in blocks of 8 (AVX2) or 16 (AVX-512).
_CHANNEL_BLOCK = 16


def _without_narrow_strided_convolutions(network: nn.Module) -> nn.Module:
    for name, layer in list(network.named_modules()):
        if (
            isinstance(layer, nn.Conv2d)
            and layer.kernel_size == (1, 1)
            and layer.stride != (1, 1)
            and layer.padding == (0, 0)
            and layer.groups == 1
            and layer.in_channels < _CHANNEL_BLOCK
        ):
            network.set_submodule(name, SubsampledConv2d.replacing(layer))
    return network
