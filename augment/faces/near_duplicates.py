"""Pictures that are one picture moved a little: shifted, mirrored, cropped, turned, and saved again.

**How.** Every picture becomes a grey view of 48 x 48 pixels. Candidates come from matrix products: a picture's coarse
descriptor and its four tangents (what a small shift to the side or downwards, a change of scale and a turn would do to
it) span a subspace, and another picture, or its mirror image, is a candidate where its own descriptor lies nearly in
it (tangent distance: Simard, LeCun & Denker 1993). Each candidate is then laid over the other picture by the shift,
scale and turn that fit best (inverse compositional alignment: Baker & Matthews 2004), on 24 and then on 48 pixels, and
the two are correlated there, without their coarse light and without their margin.

**Measured** (`python -m benchmarks.near_duplicates`), found of 300 moved copies among 3,000 FER2013 faces and among 900
embedded ones: shifted by 1 or 2 pixels of 48 to one side 100 and 100 %, by 2 both ways 99.7 and 99.3, by 3 to one side
94 and 96 (whatever came in at the edge); mirrored, cropped by 4 or 8 %, turned by 2 to 6 degrees, several of these
together 100 and 100; cropped by 12 % 98 and 84; saved as JPEG of quality 40 100 and 99. Embedded faces of two people
reach 0.95, two expressions of one person 0.978 (3,300 faces). In FER2013 0.98 finds 9,259 pairs, a fourth of them
byte-identical; on a sheet of 96 of them and of those from 0.95 on, all were one photograph, many with watermarks.
36,000 faces take 97 s of one core beside other work (53 s in the same hour, where each picture was compared with later
ones and one way round alone, which made groups depend on the order); the cost grows with the product.

**Not found**: larger moves (4 pixels to one side: hardly any), changed expressions, faces covered or cut apart,
inverted or stretched pictures, and of many pictures that are all nearly alike (the frames of one film) those beyond
the eight nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image
from scipy import ndimage

from augment.core.progress import track

VIEW_SIZE = 48
NEAR_DUPLICATE_LIKENESS = 0.98
"""Least correlation of two aligned views that are one picture."""
RELATED_LIKENESS = 0.90
"""Least correlation of two aligned views that look much the same."""

_TANGENT_COSINE = 0.85  # least share of a descriptor's length that lies in the other picture's subspace
_PROMISING, _COARSE_LIKENESS = 0.9, 0.93  # least correlation on 24 pixels after one step, and after all of them
_CANDIDATES = 8  # at most so many of a picture (and of its mirror image): frames of one film are all alike
_FRAME = 3  # pixels of a view at its edge that are not looked at
_LEAST_CONTRAST = 2.0  # grey levels of what is left without the coarse light; below it a picture shows nothing
_ROWS, _COLUMNS = 1024, 8192  # of the products that are held at once
_PAIRS_AT_A_TIME, _ALIGNED_AT_A_TIME = 16_384, 512


@dataclass(frozen=True)
class _Level:
    """A resolution: its edge, the margin that is left out, and the Gaussians between which details are kept."""

    edge: int
    margin: int
    finest: float
    coarsest: float

    @cached_property
    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of every pixel, from the centre: float32 [edge, edge]."""
        line = (np.arange(self.edge) - (self.edge - 1) / 2).astype(np.float32)
        y, x = np.meshgrid(line, line, indexing="ij")
        return x, y

    @property
    def inner(self) -> tuple[slice, slice, slice]:
        """Pictures [N, edge, edge] without their margins."""
        inside = slice(self.margin, self.edge - self.margin)
        return slice(None), inside, inside

    def details(self, views: np.ndarray) -> np.ndarray:
        """Views uint8 [N, 48, 48] at this resolution, without grain and coarse light: float32 [N, edge, edge]."""
        factor = VIEW_SIZE // self.edge
        # What a shift or turn brought in at the edge (black, a copy of the edge, the other side) is left out.
        inside = views[:, _FRAME:-_FRAME, _FRAME:-_FRAME]
        pictures = np.pad(inside, ((0, 0), (_FRAME, _FRAME), (_FRAME, _FRAME)), mode="edge").astype(np.float32)
        pictures = pictures.reshape(len(views), self.edge, factor, self.edge, factor).mean(axis=(2, 4))
        smooth, light = (
            ndimage.gaussian_filter(pictures, (0, sigma, sigma), mode="nearest")
            for sigma in (self.finest, self.coarsest)
        )
        return smooth - light


_COARSE = _Level(edge=24, margin=4, finest=1.0, coarsest=2.25)
_FINE = _Level(edge=48, margin=8, finest=1.0, coarsest=3.0)


def view_of(grey: Image.Image) -> np.ndarray:
    """The view that is compared: uint8 [48, 48]."""
    return np.asarray(grey.resize((VIEW_SIZE, VIEW_SIZE), Image.Resampling.BILINEAR), np.uint8)


def near_duplicate_pairs(first: np.ndarray, second: np.ndarray | None = None) -> np.ndarray:
    """Pairs of views that are one picture, moved by up to some 3 of 48 pixels, 4 degrees and a tenth of scale.

    Args:
        first: uint8 [N, 48, 48], from `view_of`.
        second: Other views [M, 48, 48]; without them the pairs are sought within `first`.

    Returns:
        int64 [P, 2], sorted, each pair once: positions in `first` and `second` (in `first`, ascending, without it).
        Of many copies of one picture these are the eight nearest of each. What hangs together by pairs does not depend
        on the order of the pictures: an export in another one has the same groups.
    """
    candidates = _candidates(first, second)
    others = first if second is None else second
    alike = likeness(first, others, candidates) >= NEAR_DUPLICATE_LIKENESS
    # What is laid over what makes a difference of hundredths, and one that was found must be found from either side.
    missed = np.flatnonzero(~alike)
    alike[missed] = likeness(others, first, candidates[missed][:, [1, 0, 2]]) >= NEAR_DUPLICATE_LIKENESS
    return np.unique(candidates[alike, :2], axis=0)


def likeness(first: np.ndarray, second: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """How much two views are one picture.

    Args:
        first: uint8 [N, 48, 48].
        second: uint8 [M, 48, 48].
        pairs: int64 [P, 2 or 3]: positions in both, and 1 where the second is looked at in the mirror (0: as it is).

    Returns:
        float32 [P], -1..1: the correlation of the aligned views. 0 where one shows nothing. Pairs that are already
        far apart on 24 pixels keep what they reach there.
    """
    found = np.zeros(len(pairs), np.float32)
    mirrored = pairs[:, 2] == 1 if pairs.shape[1] == 3 else np.zeros(len(pairs), bool)
    with track(desc="laying pictures over one another", unit="pairs", total=len(pairs), leave=False, delay=3) as bar:
        for start in range(0, len(pairs), _PAIRS_AT_A_TIME):
            part = slice(start, start + _PAIRS_AT_A_TIME)
            found[part] = _best_correlations(first, second, pairs[part, 0], pairs[part, 1], mirrored[part])
            bar.update(len(pairs[part]))
    return found


def _best_correlations(
    first: np.ndarray, second: np.ndarray, left: np.ndarray, right: np.ndarray, mirrored: np.ndarray
) -> np.ndarray:
    """Of P pairs; finer and longer where there is hope."""
    found = np.zeros(len(left), np.float32)
    moves = np.zeros((len(left), 4), np.float32)
    rows = np.arange(len(left))
    for level, rounds in ((_COARSE, ((1, _PROMISING), (2, _COARSE_LIKENESS))), (_FINE, ((3, 1.0),))):
        if not len(rows):
            break
        used, template_of = np.unique(left[rows], return_inverse=True)
        templates = _Templates.of(level.details(first[used]), level)
        used, picture_of = np.unique(right[rows], return_inverse=True)
        pictures = level.details(second[used])
        pictures = np.concatenate([pictures, pictures[:, :, ::-1]])
        picture_of = picture_of + len(used) * mirrored[rows]
        for steps, least in rounds:
            for start in range(0, len(rows), _ALIGNED_AT_A_TIME):
                part = slice(start, start + _ALIGNED_AT_A_TIME)
                found[rows[part]], moves[rows[part]] = _align(
                    templates.take(template_of[part]), pictures[picture_of[part]], level, moves[rows[part]], steps
                )
            hopeful = found[rows] >= least
            rows, template_of, picture_of = rows[hopeful], template_of[hopeful], picture_of[hopeful]
        moves[:, :2] *= _FINE.edge / level.edge
    return found


@dataclass(frozen=True)
class _Templates:
    """Of N pictures what others are laid over; worked out once for all that are laid over the same.

    Attributes:
        wanted: The inner details without their mean, of unit length: float32 [N, n].
        slopes: How these change with a shift to the side and downwards, a growth and a turn: [N, 4, n].
        inverse: Of the slopes' products with one another: [N, 4, 4].
        shows: bool [N]: there is enough contrast to compare.
    """

    wanted: np.ndarray
    slopes: np.ndarray
    inverse: np.ndarray
    shows: np.ndarray

    @classmethod
    def of(cls, details: np.ndarray, level: _Level) -> _Templates:
        """Those of a level's details [N, edge, edge]."""
        wanted, length = _unit(details[level.inner].reshape(len(details), -1))
        gradient_y, gradient_x = np.gradient(details, axis=(1, 2))
        across, down = (gradient[level.inner].reshape(len(details), -1) for gradient in (gradient_x, gradient_y))
        x, y = (axis[level.inner[1:]].ravel() for axis in level.grid)
        slopes = np.stack([across, down, across * x + down * y, down * x - across * y], axis=1)
        slopes /= np.maximum(length, 1e-6)[:, :, None]
        # Gain and offset of the grey levels are no movement.
        slopes -= slopes.mean(axis=2, keepdims=True)
        slopes -= (slopes @ wanted[:, :, None]) * wanted[:, None]
        bend = slopes @ slopes.transpose(0, 2, 1)
        ridge = 1e-4 * np.trace(bend, axis1=1, axis2=2) / 4 + 1e-9
        inverse = np.linalg.inv(bend + ridge[:, None, None] * np.eye(4, dtype=np.float32))
        return cls(wanted, slopes, inverse, length[:, 0] >= _LEAST_CONTRAST * np.sqrt(wanted.shape[1]))

    def take(self, places: np.ndarray) -> _Templates:
        """Those at some places, int64 [P]."""
        return _Templates(self.wanted[places], self.slopes[places], self.inverse[places], self.shows[places])


def _align(
    templates: _Templates, picture: np.ndarray, level: _Level, moves: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Lays pictures over templates by shift, scale and turn.

    Args:
        templates: P of them.
        picture: Details [P, edge, edge].
        level: Of which level.
        moves: float32 [P, 4] to begin with: shift x, shift y in pixels of the level, and of the factor of scale and
            turn, a complex number, the real part less 1 and the imaginary part.
        steps: How often the moves are bettered.

    Returns:
        The best correlation on the way [P], and the moves in the end [P, 4].
    """
    wanted, slopes, inverse, shows = templates.wanted, templates.slopes, templates.inverse, templates.shows
    x, y = (axis[level.inner[1:]].ravel() for axis in level.grid)
    limit = level.edge / 8
    best = np.full(len(picture), -1.0, np.float32)
    for step in range(steps + 1):
        factor, shift = (1 + moves[:, 2]) + 1j * moves[:, 3], moves[:, 0] + 1j * moves[:, 1]
        if moves.any():
            scale, turn = factor.real[:, None], factor.imag[:, None]
            moved = _sample(picture, scale * x - turn * y + moves[:, :1], turn * x + scale * y + moves[:, 1:2])
        else:
            moved = picture[level.inner].reshape(len(picture), -1)
        moved, contrast = _unit(moved)
        best = np.maximum(best, np.einsum("pn,pn->p", moved, wanted))
        if step == 0:
            shows = shows & (contrast[:, 0] >= _LEAST_CONTRAST * np.sqrt(wanted.shape[1]))
        if step < steps:
            change = (inverse @ (slopes @ (moved - wanted)[:, :, None]))[:, :, 0]
            undone = (1 + change[:, 2]) + 1j * change[:, 3]
            factor = factor / undone
            shift = shift - factor * (change[:, 0] + 1j * change[:, 1])
            moves = np.stack(
                [
                    np.clip(shift.real, -limit, limit),
                    np.clip(shift.imag, -limit, limit),
                    np.clip(factor.real - 1, -0.2, 0.2),
                    np.clip(factor.imag, -0.2, 0.2),
                ],
                axis=1,
            ).astype(np.float32)
    return np.where(shows, best, np.float32(0)), moves


def _unit(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without their mean, of length 1, and the lengths that they had [N, 1]."""
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(length, 1e-6), length


def _sample(pictures: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear values of pictures [P, e, e] at places [P, n] from their centres; beyond the edge, the edge's."""
    edge = pictures.shape[1]
    x, y = (np.clip(axis + np.float32((edge - 1) / 2), 0, np.float32(edge - 1.001)) for axis in (x, y))
    column, row = x.astype(np.intp), y.astype(np.intp)
    right, below = (x - column).astype(np.float32), (y - row).astype(np.float32)
    place = row * edge + column + (np.arange(len(pictures)) * edge * edge)[:, None]
    flat = pictures.ravel()
    # Clipping is never needed, but spares numpy the check of every place.
    corners = [np.take(flat, place + step, mode="clip") for step in (0, 1, edge, edge + 1)]
    top = corners[0] + (corners[1] - corners[0]) * right
    bottom = corners[2] + (corners[3] - corners[2]) * right
    return top + (bottom - top) * below


def _descriptors(views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coarse descriptors of views: [5, N, D] that span a picture's subspace, [N, D], and [N, D] of the mirror image.

    All are of unit length; zeros where a picture shows nothing.
    """
    size = (_COARSE.edge // 2 - 2) ** 2
    spans = np.zeros((5, len(views), size), np.float32)
    own, mirrored = np.zeros((len(views), size), np.float32), np.zeros((len(views), size), np.float32)
    x, y = _COARSE.grid
    for start in range(0, len(views), _ROWS):
        part = slice(start, start + _ROWS)
        details = _COARSE.details(views[part])
        down, across = np.gradient(details, axis=(1, 2))
        tangents = (details, across, down, across * x + down * y, down * x - across * y)
        basis = np.stack([_pooled(tangent) for tangent in tangents], axis=2)
        length = np.linalg.norm(basis, axis=1, keepdims=True)
        shows = length[:, 0, 0] >= _LEAST_CONTRAST * np.sqrt(size)
        basis = basis[shows] / np.maximum(length[shows], 1e-6)
        places = start + np.flatnonzero(shows)
        spans[:, places] = np.linalg.qr(basis)[0].transpose(2, 0, 1)
        own[places] = basis[:, :, 0]
        mirrored[places] = _pooled(details[shows, :, ::-1]) / length[shows, :, 0]
    return spans, own, mirrored


def _pooled(pictures: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels, without the outermost: [N, 24, 24] to [N, 100]."""
    half = _COARSE.edge // 2
    means = pictures.reshape(len(pictures), half, 2, half, 2).mean(axis=(2, 4))
    return means[:, 1:-1, 1:-1].reshape(len(pictures), (half - 2) ** 2)


def _candidates(first: np.ndarray, second: np.ndarray | None) -> np.ndarray:
    """int64 [P, 3]: positions in both, and whether the second is mirrored; each picture's most similar ones.

    Within one set these are sought among all others, before and after it, and a pair comes once, in ascending order.
    """
    if second is None:
        spans, own, mirrored = _descriptors(first)
    else:
        _, own, mirrored = _descriptors(second)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    with track(desc="looking for moved copies", unit="faces", total=len(first), leave=False, delay=3) as bar:
        for row in range(0, len(first), _ROWS):
            rows = slice(row, row + _ROWS)
            # Of 360,000 faces these take a gigabyte together.
            some_spans = spans[:, rows] if second is None else _descriptors(first[rows])[0]
            for is_mirrored, others in enumerate((own, mirrored)):
                left, right = _most_similar(some_spans, others, besides=row if second is None else None)
                found[is_mirrored].append(np.stack([left + row, right, np.full(len(left), is_mirrored)], axis=1))
            bar.update(len(first[rows]))
    pairs = np.concatenate([np.zeros((0, 3), np.int64), *found[0], *found[1]])
    if second is None:
        pairs[:, :2].sort(axis=1)
        pairs = np.unique(pairs, axis=0)
    return pairs


def _most_similar(spans: np.ndarray, others: np.ndarray, besides: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Positions of pictures, and of the descriptors nearest to each that lie nearly in its subspace.

    Args:
        spans: Of N pictures, [5, N, D].
        others: Descriptors [M, D].
        besides: Where the first picture stands among the others, which it isn't compared with; None: it doesn't.

    Returns:
        Two int64 [P]: positions in `spans`, ascending, and in `others`, the nearest first.
    """
    rows, columns, cosines = [], [], []
    for column in range(0, len(others), _COLUMNS):
        part = others[column : column + _COLUMNS].T
        inside = sum(np.square(span @ part) for span in spans)
        row, place = np.nonzero(inside >= _TANGENT_COSINE**2)
        cosines.append(inside[row, place])
        rows.append(row)
        columns.append(place + column)
    left, right, cosine = np.concatenate(rows), np.concatenate(columns), np.concatenate(cosines)
    if besides is not None:
        other = left + besides != right
        left, right, cosine = left[other], right[other], cosine[other]
    order = np.lexsort((-cosine, left))
    left, right = left[order], right[order]
    kept = np.arange(len(left)) - np.searchsorted(left, left, "left") < _CANDIDATES
    return left[kept], right[kept]
