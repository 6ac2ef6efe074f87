"""Every form of every translator, made as small as it can be, and faces that have all that any of them asks for."""

from __future__ import annotations

from typing import Any

import torch

from augment.faces.tensors import FaceTensors
from augment.training.settings import TrainingSettings
from augment.translators import create_translator, translator_class
from augment.translators.base import LearnedTranslator, UsesParsing

CLASS_NAMES = ("angry", "happy", "neutral")
SIZE = 48

FLOW = {"width": 8, "residual_blocks": 1, "detail_width": 4, "condition_width": 8, "donors": 4}
# The smallest networks of every form that a method's switches give; the published ones are tested method by method.
FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "warp": ("warp", {}),
    "lssl": ("lssl", {"width": 4, "downs": 2, "residual_blocks": 1}),
    "lssl, no side input": ("lssl", {"width": 4, "downs": 2, "residual_blocks": 1, "side_input": False}),
    "lssl_pose": ("lssl_pose", {"width": 4, "downs": 2, "residual_blocks": 1}),
    "stargan": ("stargan", {"width": 4, "residual_blocks": 1}),
    "stargan, perceptual": ("stargan", {"width": 4, "residual_blocks": 1, "perceptual": True}),
    "stargan, skip and dropout": ("stargan", {"width": 4, "residual_blocks": 1, "skip": True, "dropout": 0.5}),
    "stargan, two data sets": ("stargan", {"width": 4, "residual_blocks": 1, "data_sets": ["photo", "drawn"]}),
    "appearance_flow": ("appearance_flow", {**FLOW, "initial_flow": "thin_plate"}),
    "appearance_flow, learned whole": ("appearance_flow", {**FLOW, "initial_flow": "none"}),
    "ccyclegan": ("ccyclegan", {"width": 4}),
    "cdcgan": ("cdcgan", {"width": 4}),
    "cdcgan, from noise": ("cdcgan", {"width": 4, "latent": "noise"}),
    "icgan": ("icgan", {"width": 4, "encoder_width": 4, "latent_hidden": 16, "label_hidden": 16}),
    "gan": ("bicogan", {"width": 4, "conditional": False, "bidirectional": False}),
    "cgan": ("bicogan", {"width": 4, "bidirectional": False}),
    "bigan": ("bicogan", {"width": 4, "conditional": False}),
    "bicogan": ("bicogan", {"width": 4}),
    "bicogan, wasserstein": ("bicogan", {"width": 4, "adversarial": "wasserstein"}),
    "bicogan, gradient penalty": ("bicogan", {"width": 4, "adversarial": "gradient_penalty"}),
    "cyclegan": ("cyclegan", {"width": 4, "residual_blocks": 1}),
    "cyclegan_pose": ("cyclegan_pose", {"width": 4, "residual_blocks": 1}),
    "simgan": ("simgan", {"width": 4}),
    "simgan, attribute loss": ("simgan", {"width": 4, "attribute_loss": True}),
    "stargan, warm start": (
        "stargan",
        {
            "width": 4,
            "residual_blocks": 1,
            "attention_mask": True,
            "class_network_share": 0.3,
            "warm_start_share": 0.3,
            "warm_start": "reconstruction",
        },
    ),
    "lssl, warm start": (
        "lssl",
        {
            "width": 4,
            "downs": 2,
            "residual_blocks": 1,
            "attention_mask": True,
            "class_network_share": 0.3,
            "warm_start_share": 0.3,
            "warm_start": "reconstruction",
        },
    ),
    "lssl, pairs and flow": (
        "lssl",
        {
            "width": 4,
            "downs": 2,
            "residual_blocks": 1,
            "output": "flow",
            "conditioning": "instance_norm",
            "class_network_share": 0.3,
            "warm_start_share": 0.3,
            "warm_start": "pairs",
            "lambda_pair": 1.0,
        },
    ),
    "stargan, pairs": (
        "stargan",
        {"width": 4, "residual_blocks": 1, "warm_start_share": 0.3, "warm_start": "pairs", "lambda_pair": 1.0},
    ),
    "flow_matching, transport": ("flow_matching", {"width": 8, "residual_blocks": 1, "coupling": "optimal_transport"}),
    "flow_matching": ("flow_matching", {"width": 8, "residual_blocks": 1}),
}
LEARNED = [form for form, (method, _) in FORMS.items() if issubclass(translator_class(method), LearnedTranslator)]
SETTINGS = TrainingSettings(
    steps=6,
    batch_size=4,
    discriminator_steps=1,
    generator_learning_rate=1e-3,
    discriminator_learning_rate=1e-3,
    ema_decay=0.9,
    log_every=1,
    sample_every=6,
    sample_faces=2,
    checkpoint_every=1,
)


def faces(count: int = 12, *, seed: int = 0, prefix: str = "face") -> FaceTensors:
    """Noise with all that any translator asks for."""
    generator = torch.Generator().manual_seed(seed)

    def pictures() -> torch.Tensor:
        return torch.randint(1, 256, (count, 1, SIZE, SIZE), dtype=torch.uint8, generator=generator)

    return FaceTensors(
        images=pictures(),
        labels=torch.arange(count) % len(CLASS_NAMES),
        # One shape, a little of its own in each face: a person's faces can be laid on each other.
        landmarks=torch.rand(68, 2, generator=torch.Generator().manual_seed(5))
        + 0.02 * torch.rand(count, 68, 2, generator=generator),
        masks=None,
        face_ids=tuple(f"{prefix}-{row}" for row in range(count)),
        subjects=tuple(f"{prefix}-person-{row // 3}" for row in range(count)),
        class_names=CLASS_NAMES,
        yaw=torch.zeros(count),
        simulated=pictures(),
        sources=tuple("photo" if row % 2 else "drawn" for row in range(count)),
    )


def create(form: str, *, seed: int = 0) -> Any:
    method, settings = FORMS[form]
    translator = create_translator(method, num_classes=3, channels=1, size=SIZE, settings=settings, seed=seed)
    if isinstance(translator, UsesParsing):
        torch.manual_seed(0)
        translator.attach_parsing(torch.nn.Conv2d(1, 4, 1))
    return translator
