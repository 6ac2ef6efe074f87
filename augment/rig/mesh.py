"""Pictures of triangle meshes with a texture or with colours at the vertices: a z-buffer on the processor.

No OpenGL: its libraries want a screen, a driver or a GPU context, and machines that train have none; a face of 20,000
triangles takes some hundredths of a second here, and the same picture comes out everywhere.

Axes are those of the embedded head (`augment.rig.geometry`): right-handed, x to the picture's right, y up, z towards
the camera; angles are those of `augment.rig.render.rotation`. Positions in the picture are in pixels, x right and y
down, and the first pixel's middle is (0.5, 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numba import njit

from augment.rig.rasterizer import vertex_normals
from augment.rig.render import rotation

Array = np.ndarray

MOST_SAMPLES = 8  # a side: 64 a pixel, beyond which 8-bit pictures do not change
_TOLERANCE = 0.005  # of the mesh's extent: how deep a point may lie under the surface and still be seen


@dataclass(frozen=True)
class Mesh:
    """A surface of triangles. Either a texture with its coordinates or colours at the vertices.

    Attributes:
        vertices: float [V, 3], any unit.
        triangles: Indices into `vertices`, int [T, 3]; counter-clockwise seen from outside.
        texture: uint8 [h, w, 3], first row on top.
        texture_coordinates: float [U, 2], u to the right and v **up**, (0, 0) at the texture's lower left corner and
            (1, 1) at its upper right one, as VRML and OBJ count. Beyond 0..1 the texture's border goes on.
        texture_triangles: Indices into `texture_coordinates`, int [T, 3]; `triangles` by default.
        colours: 0..255, [V, 3].

    Raises:
        ValueError: Shapes do not fit, an index is out of range, a value is not finite, or there are both or neither of
            texture and colours.
    """

    vertices: Array
    triangles: Array
    texture: Array | None = None
    texture_coordinates: Array | None = None
    texture_triangles: Array | None = None
    colours: Array | None = None

    def __post_init__(self) -> None:
        _check_shape("vertices", self.vertices, 3)
        _check_indices("triangles", self.triangles, len(self.vertices))
        if (self.texture is None) == (self.colours is None):
            raise ValueError("a mesh has either a texture or colours at its vertices")
        if self.texture is None:
            _check_shape("colours", self.colours, 3)
            if len(np.asarray(self.colours)) != len(self.vertices):
                raise ValueError(f"{len(np.asarray(self.colours))} colours of {len(self.vertices)} vertices")
            return
        shape = self.texture.shape
        if self.texture.dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"the texture is {self.texture.dtype} {list(shape)}, not uint8 [h, w, 3]")
        _check_shape("texture_coordinates", self.texture_coordinates, 2)
        corners = self.triangles if self.texture_triangles is None else self.texture_triangles
        _check_indices("texture_triangles", corners, len(np.asarray(self.texture_coordinates)))
        if len(corners) != len(self.triangles):
            raise ValueError(f"{len(corners)} texture_triangles of {len(self.triangles)} triangles")

    def __len__(self) -> int:
        return len(self.triangles)

    @property
    def extent(self) -> Array:
        """Lowest and highest x, y, z of the vertices that a triangle uses, [2, 3]."""
        used = np.asarray(self.vertices, np.float64)[np.unique(self.triangles)]
        return np.stack([used.min(axis=0), used.max(axis=0)])


def _check_shape(what: str, values: Array | None, width: int) -> None:
    if values is None or np.ndim(values) != 2 or np.shape(values)[1] != width or not len(values):
        found = "None" if values is None else str(list(np.shape(values)))
        raise ValueError(f"{what} is {found}, not [n, {width}] with n > 0")
    if not np.isfinite(values).all():
        raise ValueError(f"{what} holds values that are not finite")


def _check_indices(what: str, indices: Array, count: int) -> None:
    if indices.ndim != 2 or indices.shape[1] != 3 or indices.dtype.kind not in "iu" or not len(indices):
        raise ValueError(f"{what} is {indices.dtype} {list(indices.shape)}, not integers [n, 3] with n > 0")
    if indices.min() < 0 or indices.max() >= count:
        raise ValueError(f"{what} points at {indices.min()}..{indices.max()}, beyond the {count} there are")


@dataclass(frozen=True)
class Camera:
    """Where a model is seen from. The camera stands still; the model turns about `centre`.

    Attributes:
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        scale: Pixels that one unit takes at the centre's depth.
        centre: The point of the model about which it turns, [3].
        distance: From the camera to the centre, units; None: orthographic (parallel rays).
        rotation: Of the model, [3, 3]; see `augment.rig.render.rotation`.
        middle: Where the centre falls in the picture, pixels; the picture's middle by default.
    """

    width: int
    height: int
    scale: float
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    distance: float | None = None
    rotation: Array = field(default_factory=lambda: np.eye(3))
    middle: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a picture of {self.width} x {self.height} pixels")
        if not self.scale > 0 or (self.distance is not None and not self.distance > 0):
            raise ValueError(f"scale {self.scale} and distance {self.distance} must be above 0")

    def turned(self, yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Camera:
        """The same camera before the model turned by angles in degrees.

        Args:
            yaw: Positive: a face turns to the picture's right.
            pitch: Positive: it looks up.
            roll: Positive: it tilts clockwise in the picture.
        """
        return replace(self, rotation=rotation(*np.radians([yaw, pitch, roll])))

    def project(self, points: Array) -> Array:
        """Where points of the model fall.

        Args:
            points: [N, 3].

        Returns:
            float64 [N, 3]: x and y in the picture in pixels; z, units that the turned point lies nearer to the camera
            than the centre.

        Raises:
            ValueError: A point lies beside or behind the camera.
        """
        turned = (np.asarray(points, np.float64) - self.centre) @ np.asarray(self.rotation, np.float64).T
        near = self.scale * np.ones(len(turned))
        if self.distance is not None:
            before = self.distance - turned[:, 2]
            if len(before) and before.min() <= 1e-6 * self.distance:
                raise ValueError(f"a camera {self.distance:g} units away stands in the model")
            near *= self.distance / before
        x, y = self.middle or (self.width / 2, self.height / 2)
        return np.stack([x + near * turned[:, 0], y - near * turned[:, 1], turned[:, 2]], axis=1)

    def _nearness(self, depth: Array) -> Array:
        """What is linear over a triangle in the picture and grows towards the camera: z, or 1 / (distance - z)."""
        return depth if self.distance is None else 1.0 / np.maximum(self.distance - depth, 1e-9 * self.distance)


def fitted_camera(
    extent: Array, width: int, height: int, *, margin: float = 0.05, distance: float | None = None
) -> Camera:
    """A camera before a model's front that shows all of its box.

    Args:
        extent: Lowest and highest x, y, z of the model, [2, 3].
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        margin: Share of the picture's height and width that stays free on each side, 0..0.45.
        distance: From the camera to the box's middle, in units of the box's greatest edge; None: orthographic.

    Raises:
        ValueError: The box is a point, or the margin leaves no room.
    """
    low, high = np.asarray(extent, np.float64)
    size, room = high - low, 1 - 2 * margin
    if not 0 <= margin <= 0.45:
        raise ValueError(f"margin {margin} is outside 0..0.45")
    if not max(size[0], size[1]) > 0:
        raise ValueError("a model without width and height fits no picture")
    away = None if distance is None else float(distance * size.max())
    # The box's front is nearer than its middle, and so bigger.
    nearest = 1.0 if away is None else away / (away - size[2] / 2)
    if nearest <= 0:
        raise ValueError(f"a camera {distance} boxes away stands in the model")
    fits = [room * pixels / (edge * nearest) for pixels, edge in ((width, size[0]), (height, size[1])) if edge > 0]
    x, y, z = ((low + high) / 2).tolist()
    return Camera(width, height, float(min(fits)), (x, y, z), away)


@dataclass(frozen=True)
class Light:
    """Soft light from one direction: brightness = ambient + (1 - ambient) x cosine, times the stored colour.

    Attributes:
        ambient: What reaches every point, 0..1.
        direction: Towards the light, in the camera's axes (it does not turn with the model).
    """

    ambient: float = 0.55
    direction: tuple[float, float, float] = (0.2, 0.35, 0.9)

    def __post_init__(self) -> None:
        if not 0 <= self.ambient <= 1 or not np.linalg.norm(self.direction) > 0:
            raise ValueError(f"ambient {self.ambient} is outside 0..1, or the light comes from nowhere")


@dataclass(frozen=True)
class MeshPicture:
    """A rendered mesh.

    Attributes:
        image: uint8 [H, W, 3].
        coverage: Share of each pixel that the mesh covers, float32 [H, W], 0..1.
        depth: z at each pixel's middle sample as `Camera.project` gives it, float32 [H, W]; nan beside the mesh.
        triangle: Which triangle that sample shows, int32 [H, W]; -1 beside the mesh.
    """

    image: Array
    coverage: Array
    depth: Array
    triangle: Array


def render_mesh(
    mesh: Mesh,
    camera: Camera,
    *,
    samples: int = 2,
    background: tuple[float, float, float] | Array = (0.0, 0.0, 0.0),
    light: Light | None = None,
    cull: bool = False,
) -> MeshPicture:
    """Draws a mesh; the same arguments give the same bytes.

    Colours are interpolated perspective-correctly, textures bilinearly, and samples averaged, all in stored values.

    Args:
        mesh: The surface.
        camera: Where it is seen from.
        samples: Samples per side of each pixel, 1..8; two and more smooth the edges.
        background: A colour 0..255, or a picture [H, W, 3].
        light: None: the stored colours as they are, for textures that are photographs and hold their light.
        cull: Whether triangles seen from behind are left out; else both sides show.

    Raises:
        ValueError: The camera stands in the model, or an argument is out of range.
    """
    if not 1 <= samples <= MOST_SAMPLES:
        raise ValueError(f"samples {samples} is outside 1..{MOST_SAMPLES}")
    wanted = (camera.height, camera.width, 3)
    behind = np.asarray(background, np.float32)
    if behind.shape not in ((3,), wanted):
        raise ValueError(f"the background is {list(behind.shape)}, neither a colour nor {list(wanted)}")
    triangles = np.ascontiguousarray(mesh.triangles, np.int64)
    screen = _on_screen(mesh.vertices, camera)
    shape = (camera.height * samples, camera.width * samples)
    nearness, shown = np.full(shape, -np.inf), np.full(shape, -1, np.int32)
    weights = np.zeros((*shape, 2), np.float32)
    _fill(screen, triangles, samples, camera.distance is not None, cull, nearness, shown, weights)

    corners, values, texture = _surface(mesh, triangles)
    normals, towards, ambient = np.zeros((1, 3)), np.zeros(3), 1.0
    if light is not None:
        turned = np.asarray(mesh.vertices, np.float64) @ np.asarray(camera.rotation, np.float64).T
        normals = np.empty_like(turned)
        vertex_normals(turned, triangles, np.zeros(len(triangles), np.uint8), normals)
        towards, ambient = np.asarray(light.direction, np.float64) / np.linalg.norm(light.direction), light.ambient
    image, coverage = np.empty(wanted, np.uint8), np.empty(wanted[:2], np.float32)
    backdrop = np.ascontiguousarray(np.broadcast_to(behind, wanted))
    _shade(
        shown, weights, samples, screen, triangles, corners, values, texture,
        normals, towards, ambient, backdrop, image, coverage,
    )  # fmt: skip

    middle = slice(samples // 2, None, samples)
    triangle = np.ascontiguousarray(shown[middle, middle])
    near = np.where(triangle >= 0, nearness[middle, middle], np.nan)
    depth = near if camera.distance is None else camera.distance - 1.0 / near
    return MeshPicture(image, coverage, depth.astype(np.float32), triangle)


def visible_points(
    points: Array, mesh: Mesh, camera: Camera, *, tolerance: float | None = None, cull: bool = False
) -> tuple[Array, Array]:
    """Where points of a model fall in its picture, and which can be seen there.

    Each point is compared with the triangles that lie over it, not with a depth map: pixels play no part.

    Args:
        points: [N, 3], in the mesh's axes; for example landmarks, or the mesh's own vertices.
        mesh: What may hide them.
        camera: Where the model is seen from.
        tolerance: How far in units a point may lie under the surface and still be seen; 1/200 of the mesh's greatest
            edge by default.
        cull: Whether triangles seen from behind hide nothing.

    Returns:
        Positions float64 [N, 3] as of `Camera.project`, and bool [N]: in the picture and hidden by no triangle.

    Raises:
        ValueError: The camera stands in the model.
    """
    positions = camera.project(points)
    if tolerance is None:
        tolerance = _TOLERANCE * float(np.ptp(mesh.extent, axis=0).max())
    frame = np.array([camera.width, camera.height])
    visible = np.all((positions[:, :2] >= 0) & (positions[:, :2] < frame), axis=1)
    candidates = np.flatnonzero(visible)
    # Sorted by pixel row, so that a triangle looks at the points of its own rows only.
    rows = positions[candidates, 1].astype(np.int64)
    candidates = candidates[np.argsort(rows, kind="stable")]
    starts = np.searchsorted(np.sort(rows), np.arange(camera.height + 1))
    veil = camera._nearness(positions[:, 2] + tolerance)
    triangles = np.ascontiguousarray(mesh.triangles, np.int64)
    _hide(positions, veil, candidates, starts, _on_screen(mesh.vertices, camera), triangles, cull, visible)
    return positions, visible


def _on_screen(vertices: Array, camera: Camera) -> Array:
    """x, y in pixels and nearness of the vertices, float64 [V, 3]."""
    screen = camera.project(vertices)
    screen[:, 2] = camera._nearness(screen[:, 2])
    return screen


def _surface(mesh: Mesh, triangles: Array) -> tuple[Array, Array, Array]:
    """What is interpolated: corners [T, 3] into values [n, 3] (colours, or texels right and down), and the texture."""
    if mesh.texture is None:
        return triangles, np.ascontiguousarray(mesh.colours, np.float64), np.zeros((0, 0, 3), np.uint8)
    coordinates = np.asarray(mesh.texture_coordinates, np.float64)
    height, width = mesh.texture.shape[:2]
    texels = np.stack(
        [coordinates[:, 0] * width - 0.5, (1 - coordinates[:, 1]) * height - 0.5, np.zeros(len(coordinates))], axis=1
    )
    corners = triangles if mesh.texture_triangles is None else np.ascontiguousarray(mesh.texture_triangles, np.int64)
    return corners, texels, np.ascontiguousarray(mesh.texture)


@njit(cache=True)
def _beside(ax: float, ay: float, bx: float, by: float, px: float, py: float) -> float:
    """Twice the area of (a, b, p), exactly the negative of that of (b, a, p).

    Neighbours so agree to the last bit on which side of their common edge a sample lies, and leave no crack.
    """
    if ax < bx or (ax == bx and ay < by):
        return (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    return -((ax - bx) * (py - by) - (ay - by) * (px - bx))


@njit(cache=True)
def _fill(
    screen: Array,
    triangles: Array,
    samples: int,
    perspective: bool,
    cull: bool,
    nearness: Array,
    shown: Array,
    weights: Array,
) -> None:
    """Fill the z-buffer `nearness` [S, R], the triangle on top `shown` and the weights of its second and third corner.

    `screen` [V, 3] is in pixels; samples lie `samples` to a pixel. The weights are those in space: weights in the
    picture times nearness, which is 1 / distance, brought to sum 1.
    """
    rows, columns = shown.shape
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay = screen[a, 0] * samples, screen[a, 1] * samples
        bx, by = screen[b, 0] * samples, screen[b, 1] * samples
        cx, cy = screen[c, 0] * samples, screen[c, 1] * samples
        # y points down: a triangle seen from outside has a negative area.
        area = _beside(ax, ay, bx, by, cx, cy)
        if area == 0.0 or (cull and area > 0.0):
            continue
        side = 1.0 if area > 0.0 else -1.0
        first_x = int(min(max(np.ceil(min(ax, bx, cx) - 0.5), 0.0), columns))
        last_x = int(max(min(np.floor(max(ax, bx, cx) - 0.5), columns - 1.0), -1.0))
        first_y = int(min(max(np.ceil(min(ay, by, cy) - 0.5), 0.0), rows))
        last_y = int(max(min(np.floor(max(ay, by, cy) - 0.5), rows - 1.0), -1.0))
        for row in range(first_y, last_y + 1):
            py = row + 0.5
            for column in range(first_x, last_x + 1):
                px = column + 0.5
                wa = side * _beside(bx, by, cx, cy, px, py)
                wb = side * _beside(cx, cy, ax, ay, px, py)
                wc = side * _beside(ax, ay, bx, by, px, py)
                total = wa + wb + wc
                if wa < 0.0 or wb < 0.0 or wc < 0.0 or total <= 0.0:
                    continue
                na, nb, nc = wa * screen[a, 2], wb * screen[b, 2], wc * screen[c, 2]
                near = (na + nb + nc) / total
                if near <= nearness[row, column]:
                    continue
                nearness[row, column] = near
                shown[row, column] = index
                if perspective:
                    weights[row, column, 0] = nb / (na + nb + nc)
                    weights[row, column, 1] = nc / (na + nb + nc)
                else:
                    weights[row, column, 0] = wb / total
                    weights[row, column, 1] = wc / total


@njit(cache=True)
def _shade(
    shown: Array,
    weights: Array,
    samples: int,
    screen: Array,
    triangles: Array,
    corners: Array,
    values: Array,
    texture: Array,
    normals: Array,
    towards: Array,
    ambient: float,
    backdrop: Array,
    image: Array,
    coverage: Array,
) -> None:
    """Colour every sample and average them to `image` and `coverage`; an empty `texture` means colours in `values`."""
    height, width = texture.shape[0], texture.shape[1]
    total = samples * samples
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            red = green = blue = 0.0
            covered = 0
            for sample in range(total):
                y, x = row * samples + sample // samples, column * samples + sample % samples
                index = shown[y, x]
                if index < 0:
                    continue
                covered += 1
                wb, wc = weights[y, x, 0], weights[y, x, 1]
                wa = 1.0 - wb - wc
                a, b, c = corners[index, 0], corners[index, 1], corners[index, 2]
                first = wa * values[a, 0] + wb * values[b, 0] + wc * values[c, 0]
                second = wa * values[a, 1] + wb * values[b, 1] + wc * values[c, 1]
                third = wa * values[a, 2] + wb * values[b, 2] + wc * values[c, 2]
                if height:
                    u, v = min(max(first, 0.0), width - 1.0), min(max(second, 0.0), height - 1.0)
                    left, top = int(u), int(v)
                    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
                    u, v = u - left, v - top
                    lt, rt, lb, rb = (1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v
                    first = lt * texture[top, left, 0] + rt * texture[top, right, 0]
                    first += lb * texture[bottom, left, 0] + rb * texture[bottom, right, 0]
                    second = lt * texture[top, left, 1] + rt * texture[top, right, 1]
                    second += lb * texture[bottom, left, 1] + rb * texture[bottom, right, 1]
                    third = lt * texture[top, left, 2] + rt * texture[top, right, 2]
                    third += lb * texture[bottom, left, 2] + rb * texture[bottom, right, 2]
                bright = ambient
                if ambient < 1.0:
                    a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
                    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
                    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
                    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
                    length = np.sqrt(nx * nx + ny * ny + nz * nz)
                    cosine = nx * towards[0] + ny * towards[1] + nz * towards[2]
                    # The inner side of a surface has its normal turned round.
                    if _beside(screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]) > 0:
                        cosine = -cosine
                    if length > 1e-12:
                        bright += (1.0 - ambient) * max(cosine / length, 0.0)
                red, green, blue = red + bright * first, green + bright * second, blue + bright * third
            free = total - covered
            red, green = red + free * backdrop[row, column, 0], green + free * backdrop[row, column, 1]
            blue += free * backdrop[row, column, 2]
            image[row, column, 0] = int(min(max(red / total, 0.0), 255.0) + 0.5)
            image[row, column, 1] = int(min(max(green / total, 0.0), 255.0) + 0.5)
            image[row, column, 2] = int(min(max(blue / total, 0.0), 255.0) + 0.5)
            coverage[row, column] = covered / total


@njit(cache=True)
def _hide(
    positions: Array,
    veil: Array,
    order: Array,
    starts: Array,
    screen: Array,
    triangles: Array,
    cull: bool,
    visible: Array,
) -> None:
    """Set `visible` [N] to False for points under a triangle that is nearer than `veil` [N] there.

    `order` lists the points by pixel row, those of row r from starts[r] to starts[r + 1].
    """
    rows = starts.size - 1
    for index in range(triangles.shape[0]):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay, bx, by = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1]
        cx, cy = screen[c, 0], screen[c, 1]
        area = _beside(ax, ay, bx, by, cx, cy)
        if area == 0.0 or (cull and area > 0.0):
            continue
        side = 1.0 if area > 0.0 else -1.0
        low_x, high_x = min(ax, bx, cx), max(ax, bx, cx)
        first = int(min(max(np.floor(min(ay, by, cy)), 0.0), rows))
        last = int(max(min(np.floor(max(ay, by, cy)), rows - 1.0), -1.0))
        nearest = max(screen[a, 2], screen[b, 2], screen[c, 2])
        for place in range(starts[first], starts[last + 1]):
            point = order[place]
            px, py = positions[point, 0], positions[point, 1]
            if px < low_x or px > high_x or nearest <= veil[point] or not visible[point]:
                continue
            wa = side * _beside(bx, by, cx, cy, px, py)
            wb = side * _beside(cx, cy, ax, ay, px, py)
            wc = side * _beside(ax, ay, bx, by, px, py)
            total = wa + wb + wc
            if wa < 0.0 or wb < 0.0 or wc < 0.0 or total <= 0.0:
                continue
            if (wa * screen[a, 2] + wb * screen[b, 2] + wc * screen[c, 2]) / total > veil[point]:
                visible[point] = False
