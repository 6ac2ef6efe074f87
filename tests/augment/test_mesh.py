from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import Delaunay
from small_faces import noise

from augment.rig.geometry import head_mesh
from augment.rig.landmarks import landmark_weights
from augment.rig.mesh import Camera, Light, Mesh, fitted_camera, render_mesh, visible_points

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # from the lower left, counter-clockwise
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def square(width: float, height: float, z: float = 0.0) -> np.ndarray:
    """A frontal rectangle about the z axis, its corners in the order of `CORNERS`."""
    return np.column_stack([(CORNERS - 0.5) * (width, height), np.full(4, z)])


def painted(vertices: np.ndarray, triangles: np.ndarray, colour: tuple[int, int, int]) -> Mesh:
    return Mesh(vertices, triangles, colours=np.tile(colour, (len(vertices), 1)))


def sphere(rings: int = 60, segments: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """The unit sphere, closed, counter-clockwise seen from outside; its poles on the y axis."""
    polar, azimuth = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.linspace(-np.pi, np.pi, segments + 1), indexing="ij"
    )
    points = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], -1)
    row, column = (part.ravel() for part in np.meshgrid(range(rings), range(segments), indexing="ij"))
    a = row * (segments + 1) + column
    below = a + segments + 1
    triangles = np.concatenate([np.stack([a, below, below + 1], 1), np.stack([a, below + 1, a + 1], 1)])
    return points.reshape(-1, 3), triangles


@pytest.mark.parametrize("distance", [None, 7.0])
def test_a_frontal_square_is_its_texture(distance: float | None) -> None:
    """Every pixel's middle is a texel's middle, so nothing is blurred, shifted or upside down."""
    texture = noise(3, 24, 3)[:16]
    mesh, camera = Mesh(square(24, 16), TWO, texture, CORNERS), Camera(24, 16, 1.0, distance=distance)
    drawn = render_mesh(mesh, camera, samples=1)
    np.testing.assert_array_equal(drawn.image, texture)
    # Nine samples a pixel average to the texel where the texture is linear.
    ramp = np.add.outer(np.arange(16) * 4, np.arange(24) * 3)[..., None] + np.array([0, 10, 100])
    fine = render_mesh(replace(mesh, texture=ramp.astype(np.uint8)), camera, samples=3).image
    np.testing.assert_array_equal(fine[1:-1, 1:-1], ramp[1:-1, 1:-1])
    assert (drawn.coverage == 1).all() and (drawn.triangle >= 0).all()
    np.testing.assert_allclose(drawn.depth, 0, atol=1e-5)


def test_the_texture_lies_as_its_coordinates_say() -> None:
    """v points up: the lower left corner of the square has the texture's last row and first column."""
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[7, 0] = 255
    image = render_mesh(Mesh(square(8, 8), TWO, texture, CORNERS), Camera(8, 8, 1.0), samples=1).image
    assert image[7, 0].tolist() == [255] * 3 and image.sum() == 3 * 255
    flipped = CORNERS * (1, -1) + (0, 1)
    image = render_mesh(Mesh(square(8, 8), TWO, texture, flipped), Camera(8, 8, 1.0), samples=1).image
    assert image[0, 0].tolist() == [255] * 3


def test_texture_triangles_of_their_own() -> None:
    texture = noise(1, 8, 3)
    shuffled = CORNERS[[2, 0, 3, 1]]
    places = np.array([1, 3, 0, 2])  # where each corner went
    plain = render_mesh(Mesh(square(8, 8), TWO, texture, CORNERS), Camera(8, 8, 1.0))
    other = render_mesh(Mesh(square(8, 8), TWO, texture, shuffled, places[TWO]), Camera(8, 8, 1.0))
    np.testing.assert_array_equal(plain.image, other.image)


def test_bilinear_between_texels() -> None:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[:, 1] = 200
    image = render_mesh(Mesh(square(8, 8), TWO, texture, CORNERS), Camera(8, 8, 1.0), samples=1).image
    # Texel middles lie at 2 and 6 of 8 pixels: the border goes on before, the ramp between is linear.
    np.testing.assert_array_equal(image[0, :, 0], [0, 0, 25, 75, 125, 175, 200, 200])


def tilted(distance: float | None) -> tuple[Mesh, Camera]:
    """A plane that recedes to the picture's right; red grows from 0 to 240 along it in space."""
    vertices = np.array([[-1.0, -1.0, 1.0], [1.0, -1.0, -1.0], [1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]])
    colours = np.zeros((4, 3))
    colours[1:3, 0] = 240
    return Mesh(vertices, TWO, colours=colours), Camera(101, 101, 30.0, distance=distance)


def test_perspective_is_correct_against_a_point_by_hand() -> None:
    mesh, camera = tilted(3.0)
    drawn = render_mesh(mesh, camera, samples=1)
    # The ray through the picture's middle meets the plane x = -z at its own middle: half of 240, depth 0.
    assert drawn.image[50, 50, 0] == 120
    assert drawn.depth[50, 50] == pytest.approx(0, abs=1e-5)
    # In the picture the plane reaches from 50.5 - 30 * 3 / 2 = 5.5 to 50.5 + 30 * 3 / 4 = 73: the middle of that is
    # 39.25, so interpolation that forgets the depth (affine) would say here 240 * (50.5 - 5.5) / 67.5 = 160.
    affine = 240 * (50.5 - 5.5) / 67.5
    assert affine == pytest.approx(160) and abs(affine - drawn.image[50, 50, 0]) > 30
    # A ray 20 pixels to the right: x / (3 - z) = 20 / (30 * 3) and x = -z, so x = 2/9 * 3 / (1 - 2/9) = 6/7.
    assert drawn.image[50, 70, 0] == round(240 * (1 + 6 / 7) / 2)
    assert drawn.depth[50, 70] == pytest.approx(-6 / 7, abs=1e-5)


def test_orthographic_is_affine() -> None:
    mesh, camera = tilted(None)
    image = render_mesh(mesh, camera, samples=1).image
    columns = np.arange(25, 76)
    np.testing.assert_allclose(image[50, columns, 0], 240 * (1 + (columns + 0.5 - 50.5) / 30) / 2, atol=0.51)


@pytest.mark.parametrize("distance", [None, 4.0])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_is_nearer_hides_what_is_behind(distance: float | None, order: tuple[int, int]) -> None:
    squares = [(square(1, 1, 0.5), (200, 0, 0)), (square(2, 2, -0.5), (0, 200, 0))]
    vertices = np.concatenate([squares[place][0] for place in order])
    colours = np.repeat([squares[place][1] for place in order], 4, axis=0)
    mesh = Mesh(vertices, np.concatenate([TWO, TWO + 4]), colours=colours)
    drawn = render_mesh(mesh, Camera(40, 40, 16.0, distance=distance), samples=1)
    assert drawn.image[20, 20].tolist() == [200, 0, 0] and drawn.depth[20, 20] == pytest.approx(0.5, abs=1e-5)
    assert drawn.image[20, 8].tolist() == [0, 200, 0] and drawn.depth[20, 8] == pytest.approx(-0.5, abs=1e-5)
    assert drawn.triangle[0, 0] == -1 and np.isnan(drawn.depth[0, 0]) and drawn.coverage[0, 0] == 0


def test_planes_that_cross_are_parted_where_they_cross() -> None:
    """Two planes meet at x = 0; which is nearer changes there, within one triangle."""
    left = np.array([[-1.0, -1, 0.5], [1, -1, -0.5], [1, 1, -0.5], [-1, 1, 0.5]])
    mesh = Mesh(
        np.concatenate([left, left * (1, 1, -1)]),
        np.concatenate([TWO, TWO + 4]),
        colours=np.repeat([[255, 0, 0], [0, 0, 255]], 4, axis=0),
    )
    image = render_mesh(mesh, Camera(20, 20, 10.0, distance=5.0), samples=1).image
    assert (image[5:15, 2:10, 0] == 255).all() and (image[5:15, 10:18, 2] == 255).all()


@pytest.mark.parametrize(
    ("angles", "moved"),
    [
        ({"yaw": 30}, (1, 0)),  # to the picture's right
        ({"yaw": -30}, (-1, 0)),
        ({"yaw": 0, "pitch": 20}, (0, -1)),  # up: y points down in the picture
        ({"yaw": 0, "pitch": -20}, (0, 1)),
    ],
)
def test_a_face_turns_as_its_angles_say(angles: dict[str, float], moved: tuple[int, int]) -> None:
    camera = Camera(100, 100, 30.0, distance=6.0).turned(**angles)
    nose = camera.project(np.array([[0.0, 0.0, 1.0]]))[0]
    np.testing.assert_array_equal(np.sign(np.round(nose[:2] - 50, 6)), moved)
    vertices, triangles = sphere(30, 60)
    tip = vertices @ (0, 0, 1) > 0.97
    image = render_mesh(Mesh(vertices, triangles, colours=np.where(tip, 255, 40)[:, None].repeat(3, 1)), camera).image
    rows, columns = np.nonzero(image[:, :, 0] > 200)
    np.testing.assert_allclose((columns.mean() + 0.5, rows.mean() + 0.5), nose[:2], atol=1.0)


def test_roll_is_clockwise_and_by_the_angle() -> None:
    camera = Camera(100, 100, 30.0).turned(0, 0, 90)
    np.testing.assert_allclose(camera.project(np.array([[0.0, 1.0, 0.0]]))[0], (80, 50, 0), atol=1e-9)


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_the_silhouette_of_a_sphere_is_a_disc(samples: int) -> None:
    mesh = painted(*sphere(120, 240), (255, 255, 255))
    flat = render_mesh(mesh, Camera(128, 128, 50.0), samples=samples)
    assert flat.coverage.sum() == pytest.approx(np.pi * 50**2, rel=2e-3)
    assert flat.image[:, :, 0].sum() / 255 == pytest.approx(np.pi * 50**2, rel=2e-3)
    # Of a sphere seen from distance d the outline is a circle of radius d / sqrt(d^2 - 1) at the centre's depth.
    near = render_mesh(mesh, Camera(160, 160, 50.0, distance=2.0), samples=samples)
    assert near.coverage.sum() == pytest.approx(np.pi * 50**2 * 4 / 3, rel=2e-3)
    assert np.nanmax(near.depth) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("distance", [None, 6.0])
@settings(max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), yaw=st.floats(-40, 40), scale=st.floats(3, 400))
def test_neighbours_leave_no_crack(distance: float | None, seed: int, yaw: float, scale: float) -> None:
    """A square cut to random triangles covers what it covers whole: each sample, and with one sample a pixel."""
    generator = np.random.default_rng(seed)
    inner = np.concatenate([CORNERS, generator.random((60, 2)), np.round(generator.random((20, 2)) * 8) / 8])
    points = np.unique(inner, axis=0)
    cut = Delaunay(points).simplices
    vertices = np.column_stack([points * 2 - 1, np.zeros(len(points))])
    camera = Camera(48, 48, scale, distance=distance).turned(yaw)
    whole = render_mesh(painted(square(2, 2), TWO, (255, 255, 255)), camera, samples=1)
    parts = render_mesh(painted(vertices, cut, (255, 255, 255)), camera, samples=1)
    # An outer edge cut in parts may round apart from the whole one: samples on the very rim are left out.
    corners = camera.project(square(2, 2))[:, :2]
    rim = np.zeros((48, 48), bool)
    rows, columns = np.mgrid[:48, :48] + 0.5
    for first, second in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along = (second - first) / np.linalg.norm(second - first)
        rim |= np.abs((columns - first[0]) * along[1] - (rows - first[1]) * along[0]) < 1e-9
    np.testing.assert_array_equal(whole.coverage[~rim], parts.coverage[~rim])


def test_a_shared_edge_through_pixel_middles_is_covered_once_and_whole() -> None:
    """The diagonal runs through every pixel's middle: the hard case for a fill rule."""
    for step in (1.0, 1 / 3, 0.1):
        camera = Camera(32, 32, 1 / step)
        mesh = painted(square(32 * step, 32 * step), TWO, (90, 90, 90))
        apart = painted(mesh.vertices[TWO].reshape(6, 3), np.arange(6).reshape(2, 3), (90, 90, 90))
        for drawn in (render_mesh(mesh, camera, samples=1), render_mesh(apart, camera, samples=1)):
            assert (drawn.coverage == 1).all() and (drawn.image == 90).all()


def test_culling_leaves_out_what_is_seen_from_behind() -> None:
    mesh = painted(square(1, 1), TWO, (9, 9, 9))
    camera = Camera(10, 10, 10.0)
    assert render_mesh(mesh, camera, cull=True).coverage.mean() == 1
    assert render_mesh(mesh, camera.turned(180), cull=True).coverage.mean() == 0
    assert render_mesh(mesh, camera.turned(180)).coverage.mean() == 1


def test_light_is_brightest_where_the_surface_faces_it() -> None:
    mesh = painted(*sphere(), (200, 200, 200))
    camera = Camera(64, 64, 30.0)
    light = Light(ambient=0.4, direction=(1.0, 0.0, 1.0))
    image = render_mesh(mesh, camera, light=light).image[:, :, 0].astype(float)
    brightest = np.unravel_index(image.argmax(), image.shape)
    # The normal towards (1, 0, 1) / sqrt 2 lies 30 / sqrt 2 = 21 pixels right of the middle.
    assert brightest[1] == pytest.approx(32 + 21, abs=4) and brightest[0] == pytest.approx(32, abs=4)
    assert image.max() == pytest.approx(200, abs=2)
    assert image[32, 32] == pytest.approx(200 * (0.4 + 0.6 / np.sqrt(2)), abs=2)
    assert image[32, 5] == pytest.approx(80, abs=2)  # turned away: the ambient part only
    inner = Mesh(mesh.vertices, mesh.triangles[:, ::-1], colours=mesh.colours)
    np.testing.assert_array_equal(render_mesh(inner, camera, light=light).image[:, :, 0], image)


def test_background_and_soft_edges() -> None:
    mesh = painted(square(5, 5), TWO, (200, 100, 0))
    drawn = render_mesh(mesh, Camera(8, 8, 1.0), samples=4, background=(0.0, 100.0, 200.0))
    assert drawn.coverage[1, 4] == 0.5  # the square ends in the middle of that pixel
    assert drawn.image[1, 4].tolist() == [100, 100, 100] and drawn.image[0, 0].tolist() == [0, 100, 200]
    behind = noise(0, 8, 3)
    image = render_mesh(mesh, Camera(8, 8, 1.0), background=behind).image
    np.testing.assert_array_equal(image[:, 0], behind[:, 0])
    assert image[4, 4].tolist() == [200, 100, 0]


def test_visible_points_of_a_sphere_are_those_that_face_the_camera() -> None:
    vertices, triangles = sphere(80, 160)
    mesh = painted(vertices, triangles, (1, 1, 1))
    for distance in (None, 3.0):
        camera = Camera(100, 100, 40.0, distance=distance).turned(20)
        positions, visible = visible_points(vertices, mesh, camera)
        limit = 0.0 if distance is None else 1 / distance  # the tangent cone of a point at this distance
        clear = np.abs(positions[:, 2] - limit) > 0.12
        np.testing.assert_array_equal(visible[clear], positions[clear, 2] > limit)


def test_points_outside_the_picture_are_not_visible() -> None:
    mesh = painted(square(1, 1), TWO, (1, 1, 1))
    points = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.9, 0.9, -1.0]])
    _, visible = visible_points(points, mesh, Camera(20, 20, 10.0))
    assert visible.tolist() == [True, False, False, True, True]


def head(detail: int = 1) -> Mesh:
    body = head_mesh(detail)
    triangles = body.triangles[(body.triangles < body.ear_start).all(axis=1)]
    return painted(body.mean.astype(np.float64), triangles, (180, 150, 130))


def test_landmarks_of_a_turned_head_hide_on_its_far_side() -> None:
    mesh = head()
    index, weight = landmark_weights(1)
    points = (mesh.vertices[index] * weight[..., None]).sum(axis=1)
    camera = fitted_camera(mesh.extent, 96, 96, distance=4.0)
    assert visible_points(points, mesh, camera)[1][17:].all()
    right = visible_points(points, mesh, camera.turned(45))[1]
    left = visible_points(points, mesh, camera.turned(-45))[1]
    # Turned to the picture's right, the jaw on the right hides (landmarks 9 to 16), the one on the left shows.
    assert right[:8].all() and not right[12:17].any()
    assert left[9:17].all() and not left[:5].any()


@pytest.mark.parametrize("distance", [None, 3.0])
def test_the_fitted_camera_shows_the_whole_box(distance: float | None) -> None:
    generator = np.random.default_rng(0)
    points = generator.normal(size=(300, 3)) * (80, 110, 50) + (7, -30, 900)
    extent = np.stack([points.min(axis=0), points.max(axis=0)])
    camera = fitted_camera(extent, 120, 160, margin=0.1, distance=distance)
    positions = camera.project(points)[:, :2]
    assert (positions >= (12 - 1e-9, 16 - 1e-9)).all() and (positions <= (108 + 1e-9, 144 + 1e-9)).all()
    assert np.ptp(positions, axis=0).max() > 70


def test_the_same_bytes_again() -> None:
    mesh, camera = head(), Camera(96, 96, 40.0, distance=5.0).turned(33)
    first, second = (render_mesh(mesh, camera, samples=3, light=Light()) for _ in range(2))
    for name in ("image", "coverage", "depth", "triangle"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


def test_a_closed_head_has_no_hole() -> None:
    """Through a hole the dark inside would show: none may, from any side, with back faces painted black."""
    mesh = head(2)
    for yaw in (-60, -37, 0, 21, 45):
        camera = fitted_camera(mesh.extent, 128, 128, distance=4.0).turned(yaw)
        both, outer = (render_mesh(mesh, camera, samples=2, cull=cull) for cull in (False, True))
        covered = both.coverage == 1
        assert covered.mean() > 0.2
        assert (outer.coverage[covered] == 1).mean() > 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"triangles": np.array([[0, 1, 4]])}, "beyond the 4"),
        ({"triangles": np.array([[0.0, 1.0, 2.0]])}, "not integers"),
        ({"triangles": np.zeros((0, 3), int)}, "n > 0"),
        ({"vertices": np.full((4, 3), np.nan)}, "not finite"),
        ({"vertices": np.zeros((4, 2))}, r"vertices is \[4, 2\]"),
        ({"colours": None}, "either a texture or colours"),
        ({"colours": np.zeros((3, 3))}, "3 colours of 4"),
        ({"texture": np.zeros((2, 2, 3), np.uint8)}, "either a texture or colours"),
        ({"texture": np.zeros((2, 2, 3)), "colours": None}, "the texture is float64"),
        ({"texture": np.zeros((2, 2, 3), np.uint8), "colours": None}, "texture_coordinates is None"),
        (
            {
                "texture": np.zeros((2, 2, 3), np.uint8),
                "texture_coordinates": CORNERS,
                "texture_triangles": TWO[:1],
                "colours": None,
            },
            "1 texture_triangles of 2",
        ),
    ],
)
def test_meshes_that_are_none_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(painted(square(1, 1), TWO, (1, 2, 3)), **change)


def test_arguments_out_of_range_are_refused() -> None:
    mesh = painted(square(1, 1), TWO, (1, 2, 3))
    with pytest.raises(ValueError, match="stands in the model"):
        render_mesh(mesh, Camera(8, 8, 4.0, distance=0.4).turned(90))
    with pytest.raises(ValueError, match="samples 9"):
        render_mesh(mesh, Camera(8, 8, 4.0), samples=9)
    with pytest.raises(ValueError, match="background is"):
        render_mesh(mesh, Camera(8, 8, 4.0), background=np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match="0 x 8 pixels"):
        Camera(0, 8, 1.0)
    with pytest.raises(ValueError, match="fits no picture"):
        fitted_camera(np.zeros((2, 3)), 8, 8)
    with pytest.raises(ValueError, match=r"outside 0\.\.1"):
        Light(ambient=2)
