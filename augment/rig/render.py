"""From a face's specification to its picture, its landmarks and its mask."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from augment.rig import lighting, rasterizer
from augment.rig.action_units import EXPRESSIONS, JAW_DROP, SIDED_UNITS, action_unit_basis, perform
from augment.rig.appearance import (
    Person,
    draw_character,
    draw_person,
    fold_weights,
    hair_vertices,
    linear,
    skin_texture,
    texture_maps,
)
from augment.rig.geometry import HeadMesh, head_mesh
from augment.rig.landmarks import landmark_weights
from augment.rig.openings import hold_openings_apart

Array = np.ndarray

STYLES: tuple[str, ...] = ("photo", "drawn", "simulated")
COARSE_UP_TO = 96  # images up to this size use the coarse mesh
SMALLEST, LARGEST = 32, 512
_JAW_UNIT = SIDED_UNITS.index(("26", 0))
_SMILE = SIDED_UNITS.index(("12", 1))
_MEAN_BROW, _MEAN_CHIN = 0.285, -0.96  # heights of those landmarks on the mean face
_PEOPLE_KEPT = 192  # persons whose geometry and texture (0.4 MB on the coarse mesh) stay in memory


@dataclass(frozen=True)
class FaceSpec:
    """One face to render.

    Attributes:
        face_id: unique name; it seeds what differs between pictures (pose jitter, light, noise, background).
        subject: number of the identity. The same number and seed give the same person in every population.
        expression: what the face shows, one of `EXPRESSIONS`.
        label: what the row says; differs from `expression` where a population has label noise.
        take: repetition; subject, expression, take and intensity together fix the performance (the action units), so
            that pictures of one moment from several cameras agree.
        yaw: degrees, positive = turned to the image's right; -45..45.
        illumination: `normal`, `weak` or `dark`.
        intensity: strength of the expression 0..1, None = drawn from 0.35..1.
        split: `train`, `validation`, `test` or None.
        subject_name: the subject's name in tables, None where the population has no subjects.
        style: `photo`, `drawn` (toon shading) or `simulated` (flat light, no hair, no background, no noise).
        gaze: horizontal gaze, -1 (image left) .. 1 (image right), None = drawn near 0.
        wildness: 0 (studio) .. 1 (in the wild): spread of pose, framing and light.
    """

    face_id: str
    subject: int
    expression: str
    label: str
    take: int
    yaw: float
    illumination: str
    intensity: float | None
    split: str | None
    subject_name: str | None
    style: str = "photo"
    gaze: float | None = None
    wildness: float = 0.0

    @property
    def simulated_frontal(self) -> FaceSpec:
        """The same performance seen from the front, in the simplified look of a simulated face."""
        return simulated_frontal(self)


def simulated_frontal(spec: FaceSpec) -> FaceSpec:
    """The simulated frontal face of `spec`: same subject and performance, yaw 0, style `simulated`."""
    return replace(
        spec,
        face_id=f"{spec.face_id}/simulated",
        yaw=0.0,
        illumination="normal",
        style="simulated",
        gaze=0.0,
        wildness=0.0,
    )


@dataclass(frozen=True)
class RigImages:
    """Rendered faces.

    Attributes:
        images: uint8 [N, H, W, C].
        landmarks: float32 [N, 68, 2], x and y in 0..1 of the image (iBUG order; points may leave the image).
        masks: uint8 [N, H, W]: 0 background (hair, neck and clothes too), 1 skin (and the inside of the mouth), 2 lips,
            3 eyes.
        visible: bool [N, 68]: the landmark is in the image and nothing hides it.
    """

    images: Array
    landmarks: Array
    masks: Array
    visible: Array


@dataclass(frozen=True)
class _Body:
    """A person at one level of detail: neutral vertices, texture, and what the shader needs."""

    person: Person
    neutral: Array
    texture: Array
    eyes: Array
    mouth_y: float
    strands: Array
    framing: tuple[float, float]  # scale and shift (fractions of the image) that centre this face
    triangles: Array  # those that this person can show
    kind: Array


_BODIES: OrderedDict[tuple[int, int, str, int], _Body] = OrderedDict()


def _key(*parts: object) -> list[int]:
    """A seed key that depends on every part and on nothing else."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=16).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def _generator(*parts: object) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(_key(*parts))))


def _corner_vertices(mesh: HeadMesh) -> tuple[int, int, int, int]:
    """Grid vertices of the eyes' corners: left outer, left inner, right inner, right outer."""
    inside = np.flatnonzero(mesh.eye_columns)
    left, right = inside[inside < mesh.columns // 2], inside[inside > mesh.columns // 2]
    row = mesh.row_of["upper_lid"] * mesh.columns
    return row + left[0] - 1, row + left[-1] + 1, row + right[0] - 1, row + right[-1] + 1


def _shown_triangles(person: Person, mesh: HeadMesh, style: str) -> tuple[Array, Array]:
    """The mesh without hair below the hairline, without hidden ears and without the scalp under the hair."""
    haired = person.has_hair and style != "simulated"
    keep = rasterizer.possibly_shown(
        mesh.triangles, mesh.kind, mesh.coordinate, person.hairline, haired, not (haired and person.covers_ears)
    )
    return mesh.triangles[keep], mesh.kind[keep]


def face_framing(brow: float, chin: float) -> tuple[float, float]:
    """Scale, and shift down as a share of the picture, that centre a face.

    Pictures are cropped by what a detector finds, so big and small faces differ less than their heads.

    Args:
        brow: Height of the brows' middle (landmarks 19 and 24) on the neutral head.
        chin: Height of its chin (landmark 8).
    """
    scale = ((_MEAN_BROW - _MEAN_CHIN) / (brow - chin)) ** 0.6
    shift = (scale * (brow + chin) - (_MEAN_BROW + _MEAN_CHIN)) / 2 + (1 - scale) * rasterizer.FRAME_MIDDLE
    return scale, 0.8 * shift / rasterizer.FRAME_HEIGHT


def _make_body(seed: int, subject: int, style: str, detail: int) -> _Body:
    generator = _generator("identity", seed, subject, style == "drawn")
    person = draw_character(subject, generator) if style == "drawn" else draw_person(generator)
    mesh = head_mesh(detail)
    neutral = np.empty_like(mesh.mean)
    rasterizer.morph(mesh.mean, mesh.identity, person.shape, neutral)
    hair = slice(mesh.hair_start, mesh.neck_start)
    neutral[hair] = hair_vertices(person, neutral[hair], detail)
    corners = [neutral[index] for index in _corner_vertices(mesh)]
    eyes = np.zeros((2, 6))
    scale = np.mean([np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[2])]) / 0.30
    for side in range(2):
        middle = 0.5 * (corners[2 * side] + corners[2 * side + 1])
        # The iris keeps its size in real eyes; a part of the eye's own scale reads better on drawn ones.
        eyes[side] = (
            middle[0],
            middle[1] + 0.012,
            middle[0],
            middle[1] + 0.012,
            0.068 * scale**0.7,
            0.028 * scale**0.5,
        )
    strands = generator.standard_normal(420) * 0.5 + np.repeat(generator.standard_normal(84), 5)
    flat = style != "photo"
    index, weight = landmark_weights(detail)
    points = (neutral[index] * weight[..., None]).sum(1)
    brow, chin = float(points[[19, 24], 1].mean()), float(points[8, 1])
    mouth_row = mesh.row_of["inner_upper"] * mesh.columns + mesh.columns // 2
    return _Body(
        person,
        neutral,
        skin_texture(person, detail, flat),
        eyes,
        float(neutral[mouth_row, 1]),
        strands.astype(np.float32) * (0.35 if flat else 0.8),
        face_framing(brow, chin),
        *_shown_triangles(person, mesh, style),
    )


def _body(seed: int, subject: int, style: str, detail: int) -> _Body:
    key = (seed, subject, style, detail)
    if key in _BODIES:
        _BODIES.move_to_end(key)
    else:
        _BODIES[key] = _make_body(*key)
        while len(_BODIES) > _PEOPLE_KEPT // (1 if detail == 1 else 6):
            _BODIES.popitem(last=False)
    return _BODIES[key]


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """Rotation [3, 3] by angles in radians: yaw to the image's right, pitch up, roll clockwise in the image."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_z @ about_x @ about_y


class _Canvas:
    """Buffers of one size, reused from face to face."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.detail = 1 if size <= COARSE_UP_TO else 2
        self.mesh = head_mesh(self.detail)
        self.basis = action_unit_basis(self.detail)
        self.maps = texture_maps(self.detail)
        self.landmarks = landmark_weights(self.detail)
        samples, count = 2 * size, len(self.mesh.mean)
        self.local = np.zeros((count, 3), np.float32)
        self.camera = np.zeros((count, 3), np.float32)
        self.screen = np.zeros((count, 3), np.float32)
        self.normals = np.zeros((count, 3), np.float32)
        self.depth = np.zeros((samples, samples), np.float32)
        self.shown = np.zeros((samples, samples), np.int32)
        self.weights = np.zeros((samples, samples, 2), np.float32)
        self.colour = np.zeros((samples, samples, 3), np.float32)
        self.folds = self.maps.folds
        self.brightness = np.zeros(self.folds.shape[1], np.float32)


def _view(spec: FaceSpec, generator: np.random.Generator) -> tuple[Array, Array, Array]:
    """Rotations of head and body, and the framing (scale, shift right, shift down)."""
    jitter = generator.standard_normal(6)
    if spec.style == "simulated":
        return np.eye(3), np.eye(3), np.array([1.0, 0.0, 0.0])
    loose = 1 + 1.3 * spec.wildness
    yaw = np.radians(spec.yaw + 1.6 * loose * jitter[0])
    pitch, roll = 0.045 * loose * jitter[1], 0.035 * loose * jitter[2]
    framing = np.array([1 + 0.025 * loose * jitter[3], 0.012 * loose * jitter[4], 0.012 * loose * jitter[5]])
    # Turned heads are centred like frontal ones: cameras follow the face.
    framing[1] -= 0.055 * np.sin(yaw)
    return rotation(yaw, pitch, roll), rotation(0.4 * yaw, 0.2 * pitch, 0.2 * roll), framing


def _background(spec: FaceSpec, generator: np.random.Generator) -> Array:
    """Colours of the image's corners, linear light [2, 2, 3]."""
    grey = 0.22 + 0.58 * generator.random()
    tint = 0.03 * generator.standard_normal(3)
    slope = (0.06 + 0.10 * spec.wildness) * generator.standard_normal((2, 2, 1))
    if spec.style == "simulated":
        return np.zeros((2, 2, 3))
    if spec.style == "drawn":
        return linear(np.broadcast_to(np.array([0.80, 0.84, 0.88]), (2, 2, 3)))
    # The wall behind the person is lit by the same room.
    dimmed = {"normal": 1.0, "weak": 0.5, "dark": 0.16}[spec.illumination]
    return linear(np.clip(grey + tint + slope, 0.03, 0.95)) * dimmed


def _render_one(spec: FaceSpec, canvas: _Canvas, seed: int, image: Array, mask: Array) -> tuple[Array, Array]:
    """Fill image and mask; returns landmarks [68, 2] in 0..1 and their visibility [68]."""
    mesh, size = canvas.mesh, canvas.size
    body = _body(seed, spec.subject, spec.style, canvas.detail)
    person = body.person
    intensity = "drawn" if spec.intensity is None else round(spec.intensity * 1000)
    acting = _generator("performance", seed, spec.subject, spec.expression, spec.take, intensity)
    calm = 0.4 if spec.style == "drawn" else 1.0
    strengths = perform(spec.expression, person.style, acting, spec.intensity, noise=calm)
    if spec.style == "drawn":
        strengths = np.minimum(strengths * 1.15, 1.35).astype(np.float32)
    taking = _generator("picture", seed, spec.face_id)
    head, torso, framing = _view(spec, taking)
    framing[0] *= body.framing[0]
    framing[2] += body.framing[1] - 0.035 * float(strengths[_JAW_UNIT])
    light = lighting.draw_light(spec.illumination, taking, spec.wildness)
    if spec.style == "simulated":
        light = lighting.flat_light()
    corners = _background(spec, taking)
    gaze = np.clip(taking.standard_normal(2) * (0.25, 0.2), -0.8, 0.8)
    if spec.gaze is not None:
        gaze = np.array([spec.gaze, 0.0])

    rasterizer.morph(body.neutral, canvas.basis, strengths, canvas.local)
    row = mesh.row_of
    hold_openings_apart(canvas.local, canvas.detail)
    rasterizer.project(canvas.local, mesh.neck_start, head, torso, framing, 2 * size, canvas.camera, canvas.screen)
    rasterizer.vertex_normals(canvas.camera, mesh.triangles, mesh.kind, canvas.normals)
    rasterizer.rasterize(
        canvas.screen,
        body.triangles,
        body.kind,
        mesh.coordinate,
        person.hairline,
        person.hair_side > 0.06,
        canvas.depth,
        canvas.shown,
        canvas.weights,
    )

    flat = spec.style != "photo"
    rasterizer.fold_brightness(canvas.folds, fold_weights(person, strengths, flat), canvas.brightness)
    folds = canvas.brightness.reshape(canvas.maps.height, canvas.maps.width)
    palette = np.zeros((8, 3))
    palette[lighting.HAIR_COLOUR] = person.hair
    palette[lighting.LIP_COLOUR] = person.lips
    palette[lighting.IRIS_COLOUR] = person.iris
    palette[lighting.CLOTH_COLOUR] = person.cloth if spec.style != "simulated" else 0.0
    palette[lighting.SKIN_COLOUR] = person.skin
    palette[lighting.KEY_LIGHT] = light.key
    palette[lighting.AMBIENT_LIGHT] = light.ambient
    palette[lighting.WHITE_COLOUR] = (0.78, 0.74, 0.71)
    eyes = body.eyes.copy()
    eyes[:, 2] += 0.055 * gaze[0]
    eyes[:, 3] += 0.018 * gaze[1]
    drop = JAW_DROP * float(strengths[_JAW_UNIT])
    middle = mesh.columns // 2
    apart = (
        canvas.local[row["inner_upper"] * mesh.columns + middle]
        - canvas.local[row["inner_lower"] * mesh.columns + middle]
    )
    mouth = np.array([body.mouth_y, drop, 0.25 * (1 + 0.12 * float(strengths[_SMILE])), float(apart[1])])
    knobs = np.array(
        [
            0.0 if flat else 1.0,
            person.neckline,
            float(spec.style == "drawn"),
            person.hair_wave * 40 + person.curly * 2,
        ]
    )
    lighting.shade(
        canvas.shown,
        canvas.weights,
        body.triangles,
        body.kind,
        canvas.normals,
        mesh.coordinate,
        canvas.local,
        body.texture,
        folds,
        body.strands,
        palette,
        light.direction,
        eyes,
        mouth,
        corners,
        knobs,
        canvas.colour,
    )
    if spec.style == "drawn":
        lighting.draw_outlines(canvas.shown, body.kind, canvas.depth, canvas.colour, max(1, size // 64))
    grain = (
        taking.standard_normal(image.shape, dtype=np.float32)
        if light.noise and not flat
        else np.zeros(image.shape, np.float32)
    )
    lighting.resolve(
        canvas.colour,
        canvas.shown,
        body.kind,
        lighting.GAMMA_TABLE,
        grain,
        0.0 if flat else light.noise,
        lighting.LABEL_OF_KIND,
        image,
        mask,
    )

    index, weight = canvas.landmarks
    points = (canvas.screen[index] * weight[..., None]).sum(axis=1)
    column, line = np.floor(points[:, 0]).astype(int), np.floor(points[:, 1]).astype(int)
    inside = (column >= 0) & (column < 2 * size) & (line >= 0) & (line < 2 * size)
    near = canvas.depth[np.clip(line, 0, 2 * size - 1), np.clip(column, 0, 2 * size - 1)]
    # A point on a silhouette may fall beside the last covered sample: the background hides nothing.
    visible = inside & ((near < points[:, 2] + 0.03) | (near < -1e8))
    return points[:, :2] / (2 * size), visible


def check_spec(spec: FaceSpec) -> None:
    """Raise ValueError for a specification that cannot be rendered."""
    for what, value, known in (
        ("expression", spec.expression, EXPRESSIONS),
        ("illumination", spec.illumination, lighting.ILLUMINATIONS),
        ("style", spec.style, STYLES),
    ):
        if value not in known:
            raise ValueError(f"face {spec.face_id!r}: unknown {what} {value!r}; there are {', '.join(known)}")
    if not -60 <= spec.yaw <= 60:
        raise ValueError(f"face {spec.face_id!r}: yaw {spec.yaw} is outside -60..60 degrees")
    if spec.intensity is not None and not 0 <= spec.intensity <= 1:
        raise ValueError(f"face {spec.face_id!r}: intensity {spec.intensity} is outside 0..1")


def render(specs: Sequence[FaceSpec], *, size: int, channels: int, seed: int) -> RigImages:
    """Render faces. A face depends on its specification, `size`, `channels` and `seed` only.

    Args:
        specs: the faces.
        size: side of the images in pixels, 32..512.
        channels: 1 (grey) or 3 (RGB).
        seed: the population's seed; another seed gives other people.

    Raises:
        ValueError: for a size, a channel count or a specification out of range.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size {size} is outside {SMALLEST}..{LARGEST}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, not {channels}")
    for spec in specs:
        check_spec(spec)
    count = len(specs)
    images = np.zeros((count, size, size, channels), np.uint8)
    masks = np.zeros((count, size, size), np.uint8)
    landmarks = np.zeros((count, 68, 2), np.float32)
    visible = np.zeros((count, 68), bool)
    canvas = _Canvas(size) if count else None
    for index, spec in enumerate(specs):
        assert canvas is not None
        landmarks[index], visible[index] = _render_one(spec, canvas, seed, images[index], masks[index])
    return RigImages(images, landmarks, masks, visible)


__all__ = ["FaceSpec", "RigImages", "render", "rotation", "simulated_frontal"]
