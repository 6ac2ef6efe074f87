"""The model of how expressions move landmarks, on shapes whose making is known."""

from __future__ import annotations

import torch
from test_pairs import face_shape

from augment.faces.landmark_shapes import STABLE_POINTS, with_mirrored
from augment.faces.tensors import MIRROR_LANDMARKS, FaceTensors
from augment.translators.expression_shapes import ExpressionShapes, neutral_label

CLASSES = ("angry", "happy", "neutral")
PEOPLE = 12


def _symmetric(shapes: torch.Tensor) -> torch.Tensor:
    return (shapes + with_mirrored(shapes)[len(shapes) :]) / 2


def _world() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A mean shape, one direction of people's shapes, and a smile that grows with it; the stable points stay."""
    generator = torch.Generator().manual_seed(1)
    mean = _symmetric(face_shape()[None] * 2 - 1)[0]
    direction, smile = (_symmetric(0.05 * torch.randn(1, 68, 2, generator=generator))[0] for _ in range(2))
    direction[list(STABLE_POINTS)] = 0.0
    smile[list(STABLE_POINTS)] = 0.0
    return mean, direction, smile


def _faces(*, neutral: bool = True) -> tuple[FaceTensors, torch.Tensor]:
    """Each person once neutral and once happy, smiling by 1 + 0.5 a on a resting shape of score a; and the scores."""
    mean, direction, smile = _world()
    scores = torch.linspace(-1.5, 1.5, PEOPLE)
    resting = mean + scores[:, None, None] * direction
    happy = resting + (1 + 0.5 * scores)[:, None, None] * smile
    angry = resting - smile
    shapes = torch.cat([resting if neutral else angry, happy])
    return (
        FaceTensors(
            images=torch.zeros(len(shapes), 1, 16, 16, dtype=torch.uint8),
            labels=torch.tensor([2 if neutral else 0] * PEOPLE + [1] * PEOPLE),
            landmarks=shapes / 2 + 0.5,
            masks=None,
            face_ids=tuple(map(str, range(len(shapes)))),
            subjects=tuple(f"p{person}" for person in range(PEOPLE)) * 2,
            class_names=CLASSES,
        ),
        scores,
    )


def _fitted() -> ExpressionShapes:
    model = ExpressionShapes(3, components=4, style_components=6, donors=16, ridge=1e-3)
    model.fit(_faces()[0], 2)
    return model


def test_the_regression_finds_what_the_resting_shape_adds_to_a_smile() -> None:
    mean, direction, smile = _world()
    model = _fitted()
    base = (mean + 0.9 * direction)[None]
    found = model.expected(torch.tensor([1]), model.scores(base))[0]
    torch.testing.assert_close(found, 1.45 * smile, atol=3e-3, rtol=0)
    # The control: the class's mean alone is another displacement.
    assert (model.class_means[1] - 1.45 * smile).abs().max() > 0.01
    assert float(model.expected(torch.tensor([2]), model.scores(base)).abs().max()) == 0.0


def test_what_a_source_shows_is_taken_away() -> None:
    mean, direction, smile = _world()
    model = _fitted()
    aligned = (mean + 1.45 * smile + 0.9 * direction)[None]
    own = model.own_displacement(aligned, torch.tensor([1]))
    # The score is read from a shape that smiles by more than the mean does, so it is only nearly the person's own.
    assert (own[0] - 1.45 * smile).abs().mean() < 0.5 * (0.45 * smile).abs().mean()
    assert float(model.own_displacement(aligned, torch.tensor([2])).abs().max()) == 0.0


def test_styles_are_residuals_of_other_people_and_depend_on_the_generator_alone() -> None:
    model = ExpressionShapes(3, components=1, style_components=2, donors=4)
    model.neutral.fill_(2)
    model.donor_counts[1] = 3
    for donor in range(3):
        model.donor_styles[1, donor] = 0.1 * (donor + 1)
        model.donor_scores[1, donor] = 2.0 * donor
    labels, scores = torch.ones(200, dtype=torch.int64), torch.full((200, 1), 2.0)  # the resting face of donor 1

    def drawn(seed: int, mixed: float) -> torch.Tensor:
        return model.draw_styles(labels, scores, torch.Generator().manual_seed(seed), mixed=mixed)

    sizes = drawn(0, 0.0).abs().flatten(1).mean(1)
    assert {round(value, 4) for value in sizes.tolist()} == {0.1, 0.3}
    assert torch.equal(drawn(1, 0.5), drawn(1, 0.5)) and not torch.equal(drawn(1, 0.5), drawn(2, 0.5))
    mixed = drawn(3, 1.0)[:, 0, 1]
    # (s a + (1 - s) b) / sqrt(s^2 + (1 - s)^2): at least min(a, b), at most sqrt(a^2 + b^2).
    assert float(mixed.min()) >= 0.1 - 1e-6 and float(mixed.max()) <= (0.1**2 + 0.3**2) ** 0.5 + 1e-6
    assert len({round(value, 3) for value in mixed.tolist()}) > 10
    # Alone, a donor gives its style even to itself.
    model.donor_counts[1] = 2
    model.donor_scores[1, 0] = 2.0
    assert float(drawn(0, 0.0).abs().mean()) > 0.05


def test_styles_are_mirrored_half_of_the_time() -> None:
    model = ExpressionShapes(3, components=1, style_components=2, donors=1)
    model.donor_counts[0] = 1
    style = torch.randn(68, 2, generator=torch.Generator().manual_seed(4))
    model.donor_styles[0, 0] = style.flatten()
    labels, scores = torch.zeros(100, dtype=torch.int64), torch.zeros(100, 1)
    drawn = model.draw_styles(labels, scores, torch.Generator().manual_seed(0))
    as_it_is = torch.isclose(drawn, style).flatten(1).all(1)
    mirrored = torch.isclose(drawn, style[MIRROR_LANDMARKS] * torch.tensor([-1.0, 1.0])).flatten(1).all(1)
    assert bool((as_it_is | mirrored).all()) and 30 < int(as_it_is.sum()) < 70


def test_shapes_of_buffers_depend_on_no_data_and_no_name_is_among_them() -> None:
    fresh = ExpressionShapes(3, components=4, style_components=6, donors=16)
    fitted = _fitted()
    assert {name: value.shape for name, value in fresh.state_dict().items()} == {
        name: value.shape for name, value in fitted.state_dict().items()
    }
    faces, _ = _faces()
    other = ExpressionShapes(3, components=4, style_components=6, donors=16, ridge=1e-3)
    renamed = tuple(f"another {name}" for name in faces.subjects)
    other.fit(FaceTensors(**{**faces.__dict__, "subjects": renamed}), 2)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in fitted.state_dict().items())


def test_without_a_neutral_class_the_mean_of_a_persons_classes_is_rest() -> None:
    faces, _ = _faces(neutral=False)
    model = ExpressionShapes(3, components=4, style_components=6, donors=16, ridge=1e-3)
    assert neutral_label(("angry", "happy"), "neutral") == -1 and neutral_label(CLASSES, "neutral") == 2
    model.fit(faces, -1)
    assert int(model.neutral) == -1
    # Angry and happy lie on either side of the mean of both.
    torch.testing.assert_close(model.class_means[0], -model.class_means[1], atol=1e-5, rtol=0)
    assert float(model.class_means[1].abs().max()) > 0.02
