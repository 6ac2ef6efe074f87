"""What a translator is: anything that makes a face of a wanted class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args, runtime_checkable

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from augment.faces.table import Attribute
from augment.faces.tensors import FaceTensors
from augment.networks.meta_device import on_meta_device

TRANSLATE_BATCH = 64  # faces that go through the networks together

GENERATOR, DISCRIMINATOR = "generator", "discriminator"  # names of an adversarial method's networks

# What faces may have to come with, beside their picture; see `Translator.requires`.
Requirement = Literal["landmarks", "own_class", "simulated"]

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]  # of a loss term; 0 turns it off


def unknown_neutral_class(settings: BaseModel, class_names: Sequence[str]) -> str | None:
    """Says that a translator's setting `neutral_class` is none of the classes; None where nothing is wrong.

    The default names a class that data may do without; one that was set is meant.
    """
    neutral = getattr(settings, "neutral_class", None)
    if neutral is None or neutral in class_names or neutral == type(settings).model_fields["neutral_class"].default:
        return None
    return f"settings.neutral_class is {neutral!r}, and the classes are {', '.join(class_names)}"


class TranslatorSettings(BaseModel):
    """Settings of a translator; each method declares its own subclass. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CannotTranslateError(Exception):
    """The translator needs something that these faces lack; the message says what, and what would fix it."""


@dataclass(frozen=True)
class Phase:
    """A part of a training in which some of a method's modules learn.

    Attributes:
        name: The phase's name; batches carry it.
        share: Of the run's steps; the shares of all phases sum to 1.
        trains: Names of the translator's child modules that are trained; None = all. The others are frozen and in
            evaluation mode.
        usable: Whether the weights within this phase translate already and may be published, if validation finds them
            the best. Those of the last phase always may.
        learning_rate: Factor on all learning rates.
    """

    name: str
    share: float
    trains: tuple[str, ...] | None = None
    usable: bool = False
    learning_rate: float = 1.0


@dataclass(frozen=True)
class Batch:
    """What one training step sees; everything on one device, already flipped together.

    Attributes:
        images: float32 [N, C, H, W], -1..1.
        labels: int64 [N], the faces' own classes.
        targets: int64 [N], the wanted classes.
        side_input: float32 [N, S, H, W], what the networks see beside the picture; None where there is none.
        step: The number of this step, from 0; for losses that start late or are applied lazily. The discriminator's
            steps are counted apart: with five of them per generator step, its numbers run five times as far.
        total_steps: The run's length, counted as `step` is.
        generator: A CPU generator, the source of randomness in losses (a gradient penalty's interpolation); None where
            a caller gives none. Layers that take no generator (dropout) are seeded for each step by the loop.
        epoch: Passes over the training faces that the stepping network has made so far.
        phase: The phase's name.
        examples: float32 [N, C, H, W], -1..1: other real faces, each of its row's wanted class; None unless the
            translator asks for them (`example_faces`).
        domains: int64 [N], the data sets that the faces come from; None unless the translator tells them apart
            (`domains`).
        target_domains: int64 [N], the wanted data sets; None as above.
        landmarks: float32 [N, 68, 2], x y in 0..1, mirrored and augmented with the images; None where the training
            faces have none.
        mirror: Whether what a translator draws for itself (pairs) may be mirrored at random, as the batch's faces are.
    """

    images: torch.Tensor
    labels: torch.Tensor
    targets: torch.Tensor
    side_input: torch.Tensor | None
    step: int
    total_steps: int
    generator: torch.Generator | None = None
    epoch: float = 0.0
    phase: str = ""
    examples: torch.Tensor | None = None
    domains: torch.Tensor | None = None
    target_domains: torch.Tensor | None = None
    landmarks: torch.Tensor | None = None
    mirror: bool = True

    def of_rows(self, choose: Callable[[torch.Tensor], torch.Tensor]) -> Batch:
        """The batch of other rows: `choose` is given each tensor's rows, [N, ...]."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {
            name: choose(value) for name, value in values.items() if isinstance(value, torch.Tensor)
        }
        return replace(self, **chosen)


@runtime_checkable
class UsesParsing(Protocol):
    """A translator with a loss on parsing maps: it is given a frozen parsing network before it is trained."""

    def attach_parsing(self, network: nn.Module) -> None:
        """Takes the frozen parsing network, [N, C, H, W] in -1..1 -> logits [N, parts, H, W]."""
        ...


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within the block a module is in evaluation mode; afterwards each of its parts is as it was."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


class Translator(nn.Module, ABC):
    """Base of all translators.

    A subclass declares `Settings`, gives `name`, and implements `translate`. Weights are its `state_dict`; to build it
    again, `num_classes`, `channels`, `size` and `settings` are needed too.

    Args:
        num_classes: Number of classes.
        channels: 1 or 3.
        size: Edge of the pictures in pixels.
        settings: The method's own settings.
    """

    name: ClassVar[str]
    Settings: ClassVar[type[TranslatorSettings]]

    def __init__(self, *, num_classes: int, channels: int, size: int, settings: TranslatorSettings) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.channels = channels
        self.size = size
        self.settings = settings

    @classmethod
    def check_size(cls, size: int, settings: TranslatorSettings) -> None:
        """Refuses an image size that the networks can't take, without allocating them.

        Raises:
            ValueError: Says which sizes can be.
        """
        with on_meta_device():
            cls(num_classes=2, channels=1, size=size, settings=settings)

    @classmethod
    def attributes_for(cls, settings: TranslatorSettings) -> frozenset[Attribute]:
        """What the classes may say (`dataset.attribute`) for a method with these settings to learn them."""
        return frozenset(get_args(Attribute))

    @classmethod
    def requires_for(cls, settings: TranslatorSettings) -> frozenset[Requirement]:
        """What faces must come with for these settings; nothing by default.

        It is asked before any network is built and before any face is read, so that a run is refused early.

        - `landmarks`: the method is trained with landmarks. Where single source faces may lack them,
          `usable_sources` accepts those.
        - `own_class`: `translate` reads the faces' own `labels`. They are -1 for a user's photographs, whose class
          only the user knows.
        - `simulated`: each source face comes with a simulated frontal face.
        """
        return frozenset()

    @property
    def requires(self) -> frozenset[Requirement]:
        """What faces must come with; see `requires_for`."""
        return self.requires_for(self.settings)

    def check(self, faces: FaceTensors) -> None:
        """Refuses training faces that lack what this translator needs; by default, pictures of another form.

        Raises:
            CannotTranslateError: Says plainly what is missing.
        """
        self.check_form(faces)

    @property
    def keeps_class(self) -> bool:
        """True for a method that is conditioned on no class: its outputs keep their sources' class.

        Sources are then drawn from the target's class.
        """
        return False

    @property
    def data_sets(self) -> tuple[str, ...]:
        """Names of the data sets that it makes faces of, whichever its source is of; empty where there is no choice.

        `translate_to` makes faces of a wanted one, where `translate` leaves it to the settings.
        """
        return ()

    def translate_to(
        self,
        faces: FaceTensors,
        targets: torch.Tensor,
        domains: torch.Tensor | None,
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """Makes faces of wanted classes and data sets; as `translate` where there is no choice of data sets.

        Args:
            faces: N source faces on this module's device.
            targets: int64 [N], the wanted classes.
            domains: int64 [N], the wanted data sets as positions in `data_sets`; None where there are none.
            generator: A CPU generator, the only source of randomness.

        Returns:
            uint8 [N, C, H, W] on this module's device.
        """
        return self.translate(faces, targets, generator)

    def usable_sources(self, faces: FaceTensors) -> torch.Tensor:
        """Which faces `translate` accepts: bool [N], by default all."""
        return torch.ones(len(faces), dtype=torch.bool, device=faces.labels.device)

    def preferred_sources(self, labels: torch.Tensor, class_names: Sequence[str]) -> torch.Tensor | None:
        """Which faces make the best sources, by their classes int64 [N]: bool [N]; None where all are alike."""
        return None

    def check_form(self, faces: FaceTensors) -> None:
        """Refuses pictures of another form than the networks are made for, and a neutral class that nobody shows.

        Raises:
            CannotTranslateError: Says which form they must have, or which classes there are.
        """
        if why := unknown_neutral_class(self.settings, faces.class_names):
            raise CannotTranslateError(f"{self.name}: {why}. Name one of these, or leave the setting out.")
        if len(faces) and (faces.channels, faces.size) != (self.channels, self.size):
            raise CannotTranslateError(
                f"{self.name}: made for pictures of {self.size} px and {self.channels} channels, got {faces.size} px "
                f"and {faces.channels}. Read them by face_tensors(table, size={self.size}, channels={self.channels})"
            )

    def made_in_batches(self, count: int, make: Callable[[slice], torch.Tensor]) -> torch.Tensor:
        """Puts together what `make` gives for some rows at a time, made in evaluation mode.

        Args:
            count: Number of rows.
            make: Rows to uint8 [n, C, H, W].

        Returns:
            uint8 [count, C, H, W].
        """
        with evaluating(self):
            parts = [make(slice(row, min(row + TRANSLATE_BATCH, count))) for row in range(0, count, TRANSLATE_BATCH)]
        if parts:
            return torch.cat(parts)
        device = next(self.parameters()).device
        return torch.zeros(0, self.channels, self.size, self.size, dtype=torch.uint8, device=device)

    @abstractmethod
    def translate(
        self, faces: FaceTensors, targets: torch.Tensor, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Makes faces of wanted classes.

        Args:
            faces: N source faces on this module's device.
            targets: int64 [N], the wanted classes.
            generator: A CPU generator, the only source of randomness. Deterministic translators ignore it.

        Returns:
            uint8 [N, C, H, W] on this module's device.
        """


class FittedTranslator(Translator):
    """A translator that is fitted at once, without gradient steps."""

    @abstractmethod
    def fit(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Fits to training faces.

        Returns:
            JSON-able facts about the fit, for the log and the report.

        Raises:
            CannotTranslateError: The faces lack what the fit needs.
        """


class LearnedTranslator(Translator):
    """A translator that is trained by gradient steps in the training loop (`augment.training.loop`).

    The loop owns optimizers, precision, averaging, checkpoints and the log. The method names its networks, and gives
    each network's loss as named, weighted terms, which the loop sums. While one network steps, the parameters of all
    others are frozen.

    This class assumes no GAN: a regression or flow-matching method names one network and its losses. A method with a
    discriminator subclasses `AdversarialTranslator`.

    Several ranks may share a training (`augment.core.ranks`); each gets its rows of a batch. Losses are means over
    rows, and draw the random numbers of rows by `augment.core.row_draws`; what looks at several rows at once, such as a
    pool, gathers them (`sharing_ranks().gather`).

    State that is not a weight (a pool of generated images) is kept in non-persistent buffers, changed in place: the
    loop keeps them in its checkpoints, and weights files lack them.
    """

    def prepare_training(self, faces: FaceTensors) -> Mapping[str, Any]:
        """Looks at all training faces, once before a training begins and again before it is resumed.

        For what a batch can't show: statistics of the whole set go into persistent buffers, made by `__init__` with a
        shape that does not depend on the data, and filled here in place; they are saved with the weights. What only the
        training needs and can be computed again, such as pairs of faces, is kept in plain attributes: neither
        checkpoints nor weights files hold it. The same faces must give the same to the bit, whatever torch's random
        state is. `check` has accepted the faces, and both are on the device that trains.

        Args:
            faces: The training faces.

        Returns:
            JSON-able facts for training.json; none by default.
        """
        return {}

    @abstractmethod
    def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The parameters of each network, by its name, in the order in which the networks step.

        Each network has its own optimizer; no parameter belongs to two. The name `discriminator` is special: that
        network steps first, `discriminator_steps` times per step of the others, with its own learning rate, and its
        weights are not averaged. All other networks step once, on the batch that was drawn last, with the learning rate
        `generator_learning_rate`.
        """

    @abstractmethod
    def losses(self, network: str, batch: Batch) -> dict[str, torch.Tensor]:
        """Named, weighted terms of a network's loss: scalars; an empty dict skips the step.

        Args:
            network: One of the names in `networks`.
            batch: The step's faces.
        """

    def samples_of_phase(self, phase: str, count: int, generator: torch.Generator) -> torch.Tensor | None:
        """What a sample sheet shows of a phase that does not teach to translate yet.

        Args:
            phase: Its name.
            count: Number of rows N.
            generator: A CPU generator, the only source of randomness.

        Returns:
            Faces of every class in each row, uint8 [N, classes, C, H, W] on this module's device; None, as by default:
            the sheet shows translations.
        """
        return None

    def after_step(self, network: str) -> None:
        """Called after each step of a network's optimizer, without gradients: for clipping weights."""

    def side_input(self, faces: FaceTensors) -> torch.Tensor | None:
        """The side input of faces, float32 [N, S, H, W] in -1..1; None for methods without one."""
        return None

    def phases(self) -> tuple[Phase, ...]:
        """The phases of a training, in order.

        When a phase begins, modules that are frozen from then on take their averaged weights, so that later phases
        learn beside what will be published; learning rates start anew. Published are weights of the last phase, or of
        an earlier one that is `usable`.
        """
        return (Phase("whole", 1.0),)

    def batch_classes(self, step: int) -> tuple[int, int] | None:
        """The own class and the wanted class that all faces of a step's batches shall have; None = any."""
        return None

    def example_faces(self, faces: FaceTensors) -> torch.Tensor | None:
        """Which training faces may be a batch's `examples`: bool [N]; None where no examples are wanted."""
        return None

    def domains(self, faces: FaceTensors) -> torch.Tensor | None:
        """The data sets that faces come from, int64 [N]; None for methods that don't tell data sets apart."""
        return None


class AdversarialTranslator(LearnedTranslator):
    """A learned translator with a generator and a discriminator (Goodfellow et al. 2014, arXiv 1406.2661).

    `generator_losses` runs with the discriminator's parameters frozen, and the other way round. Where an encoder is
    trained together with the generator, its parameters belong to the generator's.
    """

    @abstractmethod
    def generator_parameters(self) -> Iterable[nn.Parameter]:
        """What the generator's optimizer trains."""

    @abstractmethod
    def discriminator_parameters(self) -> Iterable[nn.Parameter]:
        """What the discriminator's optimizer trains."""

    @abstractmethod
    def discriminator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Named, weighted terms of the discriminator's loss."""

    @abstractmethod
    def generator_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        """Named, weighted terms of the generator's loss."""

    def networks(self) -> Mapping[str, Iterable[nn.Parameter]]:
        """The discriminator, which steps first, and the generator."""
        return {DISCRIMINATOR: self.discriminator_parameters(), GENERATOR: self.generator_parameters()}

    def losses(self, network: str, batch: Batch) -> dict[str, torch.Tensor]:
        """The discriminator's or the generator's terms."""
        return self.discriminator_losses(batch) if network == DISCRIMINATOR else self.generator_losses(batch)
