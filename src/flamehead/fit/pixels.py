"""Refine a head by every pixel of its face: geometry, albedo and light together, by Gauss-Newton.

The surface points that the pixels show carry the model's colour through the picture. Normal equations with respect to
the vertices come from `_cpu_pixels`; the chain rule to the parameters is one product with the derivative of the
vertices, D^T H D, so that the cost of an iteration hardly depends on the picture's size. Landmarks and priors of the
landmark fit stay in the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from flamehead._srgb import decode, decode_slope
from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.fit.landmark_model import (
    HeadState,
    LandmarkModel,
    build_landmark_model,
    by_rotations,
    joint_drift,
    pose_joints,
)
from flamehead.fit.residuals import CAMERA_FROM_MODEL
from flamehead.solve import NormalEquations

if TYPE_CHECKING:
    from flamehead.assets.model_file import FlameArrays

__all__ = [
    "FaceSurface",
    "PixelState",
    "PixelTerm",
    "Shown",
    "TextureSpace",
    "face_surface",
    "image_level",
    "linear_about",
    "pixel_equations",
    "see",
    "texture_space",
]

_N_LIGHT = 27
_DEPTH_STEP = 0.01
"""Metres between neighbouring pixels that tell two parts of the head apart."""


@dataclass(frozen=True)
class TextureSpace:
    """Linear RGB colours of a head in its UV layout: mean + basis c, c ~ N(0, 1)."""

    mean: Float[np.ndarray, "H W 3"]
    basis: Float[np.ndarray, "H W 3 K"]
    uv: Float[np.ndarray, "F 3 2"]
    """Of each face's corners, in texels: u from the left, v from the top."""
    encoded: bool = False
    """Whether mean and basis are sRGB instead; see `linear_about`."""


@dataclass(frozen=True)
class FaceSurface:
    """The part of a head whose pixels are compared, with the model reduced to it."""

    model: LandmarkModel
    """Every vertex of the part as a landmark."""
    faces: Int[np.ndarray, "F 3"]
    """Of the whole head."""
    local: Int[np.ndarray, "F"]
    """Row of a face within the part, or -1."""
    corners: Int[np.ndarray, "K 3"]
    """Of the part's faces, as rows of `model`."""
    vertex_ids: Int[np.ndarray, "M"]
    basis: Float[np.ndarray, "M 3 C"]
    """Of the part's vertices at rest by the coefficients, float32."""
    weights: Float[np.ndarray, "M J"]
    """Their share of each joint."""
    pattern: _Pattern


@dataclass(frozen=True)
class _Pattern:
    """Where the numbers of the 9 x 9 blocks stand in the sparse matrix over the part's coordinates."""

    indices: Int[np.ndarray, "nnz"]
    starts: Int[np.ndarray, "N+1"]
    sum: sparse.csr_matrix
    """Adds up the numbers of all blocks, (nnz, 81 K)."""


def face_surface(
    arrays: FlameArrays, faces_seen: Int[np.ndarray, "K"], *, n_shape: int, n_expression: int
) -> FaceSurface:
    """Reduce a model to some of its faces; depends on no image.

    Args:
        arrays: The model.
        faces_seen: Rows of its faces.
        n_shape: Leading identity components to keep.
        n_expression: Leading expression components to keep.
    """
    faces = np.ascontiguousarray(arrays.faces, dtype=np.int32)
    chosen = faces[faces_seen]
    ids, corners = np.unique(chosen, return_inverse=True)
    corners = corners.reshape(-1, 3)
    local = np.full(len(faces), -1, dtype=np.int32)
    local[faces_seen] = np.arange(len(faces_seen))
    # A vertex is a landmark in a corner of any of its faces.
    flat = faces.ravel()
    first = np.full(len(arrays.template), -1)
    first[flat[::-1]] = np.arange(flat.size)[::-1]
    where = first[ids]
    embedding = LandmarkEmbedding(where // 3, np.eye(3)[where % 3])
    model = build_landmark_model(arrays, embedding, n_shape=n_shape, n_expression=n_expression)
    basis = np.concatenate(
        [
            arrays.shape_basis[ids, :, : model.columns.n_shape],
            arrays.expression_basis[ids, :, : model.columns.n_expression],
        ],
        axis=2,
    )
    weights = np.ascontiguousarray(arrays.skin_weights[ids], dtype=np.float32)
    basis = np.ascontiguousarray(basis, dtype=np.float32)
    return FaceSurface(model, faces, local, corners, ids, basis, weights, _pattern(corners, len(ids)))


def _pattern(corners: Int[np.ndarray, "K 3"], n: int) -> _Pattern:
    rows = (3 * corners[:, :, None] + np.arange(3)).reshape(-1, 9)
    pairs = (rows[:, :, None] * (3 * n) + rows[:, None, :]).ravel()
    cells, places = np.unique(pairs, return_inverse=True)
    starts = np.searchsorted(cells // (3 * n), np.arange(3 * n + 1))
    ones = np.ones(len(places), np.float32)
    adder = sparse.csr_matrix((ones, (places, np.arange(len(places)))), shape=(len(cells), len(places)))
    return _Pattern(cells % (3 * n), starts, adder)


@dataclass(frozen=True)
class PixelTerm:
    """A picture at one size, and how its pixels are weighed."""

    image: Float[np.ndarray, "H W 3"]
    """sRGB, float32."""
    along_x: Float[np.ndarray, "H W 3"]
    along_y: Float[np.ndarray, "H W 3"]
    zoom: float
    """Its pixels per pixel of the photo."""
    corner: Float[np.ndarray, "2"]
    """Of the photo, where it begins."""
    center: Float[np.ndarray, "2"]
    """Principal point in the photo, pixels."""
    allowed: Bool[np.ndarray, "H W"] | None
    """Pixels that may count; None allows all."""
    sigma: float
    outlier: float
    worth: float
    """How many independent pixels all of them stand for: neighbouring errors are not independent."""
    most: int
    """Pixels that are looked at; more of them are thinned out evenly."""


def image_level(
    image: Float[np.ndarray, "H W 3"], *, zoom: float, corner: Float[np.ndarray, "2"], center: Float[np.ndarray, "2"],
    sigma: float, outlier: float, worth: float, most: int = 10_000, allowed: Bool[np.ndarray, "H W"] | None = None,
) -> PixelTerm:  # fmt: skip
    """A picture with its derivatives by central differences; arguments as in `PixelTerm`."""
    image = np.ascontiguousarray(image, dtype=np.float32)
    along_y, along_x = np.gradient(image, axis=(0, 1))
    return PixelTerm(
        image, np.ascontiguousarray(along_x), np.ascontiguousarray(along_y), zoom, corner, center, allowed, sigma,
        outlier, worth, most,
    )  # fmt: skip


@dataclass(frozen=True)
class PixelState:
    """A head, its colours and its light."""

    head: HeadState
    albedo: Float[np.ndarray, "K"]
    """Coefficients of the texture space."""
    light: Float[np.ndarray, "9 3"]
    """Spherical harmonics in the camera's frame, linear RGB."""


@dataclass(frozen=True)
class Shown:
    """What the rasterizer says of a state at one picture's size."""

    ids: Int[np.ndarray, "H W"]
    barycentric: Float[np.ndarray, "3 H W"]
    inside: Bool[np.ndarray, "H W"]
    points: Float[np.ndarray, "V 3"]
    normals: Float[np.ndarray, "V 3"]
    focal: float
    """In this picture's pixels."""


def see(
    vertices: Float[np.ndarray, "V 3"],
    surface: FaceSurface,
    term: PixelTerm,
    *,
    focal: float,
    threads: int | None = None,
) -> Shown:
    """Rasterize the whole head at a picture's size and say which pixels count.

    Args:
        vertices: World coordinates; the camera of these fits stands in the origin.
        surface: Which faces are compared.
        term: The picture.
        focal: Of the photo, pixels.
        threads: For the rasterizer.
    """
    import torch

    from flamehead.fit import _cpu_pixels as kernels
    from flamehead.geometry.normals import vertex_normals
    from flamehead.raster import rasterize

    points = torch.from_numpy((vertices @ CAMERA_FROM_MODEL.T).astype(np.float32))
    scaled = float(focal * term.zoom)
    center = torch.from_numpy(((term.center - term.corner) * term.zoom).astype(np.float32))
    screen = torch.cat([scaled * points[:, :2] / points[:, 2:] + center, points[:, 2:]], dim=1)
    height, width = term.image.shape[:2]
    faces = torch.from_numpy(surface.faces)
    found = rasterize(screen, faces, (width, height), cull=True, threads=threads)
    inside = np.empty((height, width), dtype=np.bool_)
    ids = found.face_ids.numpy()
    kernels.interior(ids, surface.local, found.depth.numpy(), np.float32(_DEPTH_STEP), inside)
    if term.allowed is not None:
        inside &= term.allowed
    planes = found.barycentric.movedim(-1, 0).numpy()
    return Shown(ids, planes, inside, points.numpy(), vertex_normals(points, faces).numpy(), scaled)


def pixel_equations(
    state: PixelState,
    vertices: Float[np.ndarray, "V 3"],
    surface: FaceSurface,
    texture: TextureSpace,
    term: PixelTerm,
    *,
    n_geometry: int,
    with_focal: bool = False,
) -> tuple[NormalEquations, int]:
    """Normal equations of all pixels, by the first `n_geometry` columns of the head's model, then albedo, then light.

    Args:
        state: Where.
        vertices: Its posed head.
        surface: What is compared.
        texture: Its colours.
        term: The picture.
        n_geometry: 0 leaves the geometry out, which is much cheaper.
        with_focal: Whether a last row belongs to the logarithm of the focal length, the head staying where it is.

    Returns:
        The equations, and the number of pixels that count.
    """
    from flamehead.fit import _cpu_pixels as kernels

    focal = float(np.exp(state.head.log_focal))
    seen = see(vertices, surface, term, focal=focal)
    kernels.thin(seen.inside, np.count_nonzero(seen.inside), term.most)
    n_own, n = len(state.albedo) + _N_LIGHT + with_focal, 3 * len(surface.vertex_ids)
    # Whole registers: the few zeros at the end cost less than a loop's rest. The kernel always fills the lens's column.
    width = -(-(n_own + (not with_focal)) // 16) * 16
    most = np.count_nonzero(seen.inside)
    rows, pulls = np.zeros((3 * most, width), np.float32), np.empty(3 * most, np.float32)
    blocks = np.zeros((len(surface.corners), 9, 9), np.float32)
    slopes, cross = np.zeros(n, np.float32), np.zeros((n, width), np.float32)
    albedo = state.albedo.astype(np.float32)
    light = np.ascontiguousarray(state.light.T, dtype=np.float32)
    along_x, along_y = term.along_x, term.along_y
    if n_geometry:
        along_x, along_y = _slopes(seen, surface, texture, term, albedo, light)
    cost, count = kernels.accumulate(
        term.image, along_x, along_y, seen.ids, seen.barycentric, seen.inside, surface.local, surface.faces,
        seen.points, seen.normals, texture.uv, texture.mean, texture.basis, albedo, light, np.float32(seen.focal),
        np.float32(1 / term.sigma), np.float32(term.outlier), n_geometry > 0, rows, pulls, surface.corners,
        blocks, slopes, cross,
    )  # fmt: skip
    share = term.worth / max(count, 1)
    own, own_slope = (rows.T @ rows)[:n_own, :n_own], (pulls @ rows)[:n_own]
    hessian, gradient = np.zeros((n_geometry + n_own,) * 2), np.zeros(n_geometry + n_own)
    hessian[n_geometry:, n_geometry:], gradient[n_geometry:] = own, own_slope
    if n_geometry:
        by_head = _by_head(surface, state.head, n_geometry)
        pattern = surface.pattern
        matrix = sparse.csr_matrix((pattern.sum @ blocks.ravel(), pattern.indices, pattern.starts), shape=(n, n))
        hessian[:n_geometry, :n_geometry] = by_head.T @ (matrix @ by_head)
        hessian[:n_geometry, n_geometry:] = (by_head.T @ cross)[:, :n_own]
        hessian[n_geometry:, :n_geometry] = hessian[:n_geometry, n_geometry:].T
        gradient[:n_geometry] = by_head.T @ slopes
    return NormalEquations(share * cost, share * hessian, share * gradient), count


def _slopes(
    seen: Shown, surface: FaceSurface, texture: TextureSpace, term: PixelTerm, albedo: Float[np.ndarray, "K"],
    light: Float[np.ndarray, "3 9"],
) -> tuple[Float[np.ndarray, "H W 3"], Float[np.ndarray, "H W 3"]]:  # fmt: skip
    """Derivatives of the picture along x and y, as a step shall see them."""
    from flamehead.fit import _cpu_pixels as kernels

    painted = np.zeros_like(term.image)
    shown = (seen.ids >= 0) & (surface.local[seen.ids] >= 0)
    kernels.shade_pixels(
        seen.ids, seen.barycentric, shown, surface.faces, seen.normals, texture.uv, texture.mean, texture.basis,
        albedo, light, painted,
    )  # fmt: skip
    # The mean of both pictures' slopes makes the steps of second order (Malis 2004, "efficient second-order
    # minimization"): the photo's alone trusts its noise, the model's alone does not see what it lacks.
    model_y, model_x = np.gradient(painted, axis=(0, 1))
    return 0.5 * (term.along_x + model_x), 0.5 * (term.along_y + model_y)


def _by_head(surface: FaceSurface, head: HeadState, n: int) -> Float[np.ndarray, "M3 n"]:
    """Derivative of the part's coordinates in the camera's frame: `landmark_points` in single precision."""
    from flamehead.fit import _cpu_pixels as kernels

    model = surface.model
    posed, columns = pose_joints(model, head), model.columns
    out = np.empty((len(surface.basis), 3, len(columns)), np.float32)
    single = (np.ascontiguousarray(x, dtype=np.float32) for x in (posed.rotations, joint_drift(model, posed)))
    kernels.by_coefficients(surface.basis, surface.weights, *single, out)
    out[..., columns.translation] = np.eye(3)
    out[..., columns.rotations] = by_rotations(model, posed, head)
    out[:, 1:] *= np.float32(-1)
    return out.reshape(-1, len(columns))[:, :n]


def texture_space(
    mean: Float[np.ndarray, "H W 3"],
    basis: Float[np.ndarray, "H W 3 K"],
    uv: Float[np.ndarray, "T 2"],
    uv_faces: Int[np.ndarray, "F 3"],
    *,
    encoded: bool = False,
) -> TextureSpace:
    """A texture space as the kernels want it.

    Args:
        mean: Linear RGB, row 0 at the top (v = 1).
        basis: Its change per standard deviation.
        uv: Texture coordinates, v up.
        uv_faces: Their rows at each face's corners.
        encoded: Mean and basis are sRGB; a fit decodes them about the coefficients it has found so far.
    """
    height, width = mean.shape[:2]
    corners = uv[uv_faces] * np.array([width, -height]) + np.array([0, height])
    mean, basis, corners = (np.ascontiguousarray(each, dtype=np.float32) for each in (mean, basis, corners))
    return TextureSpace(mean, basis, corners, encoded)


def linear_about(texture: TextureSpace, coefficients: Float[np.ndarray, "K"]) -> TextureSpace:
    """An encoded space in linear light, to first order about some coefficients; others are returned as they are."""
    if not texture.encoded:
        return texture
    c = coefficients.astype(np.float32)
    color = np.maximum(texture.mean + texture.basis @ c, np.float32(0))
    linear, slope = decode(color), decode_slope(color)
    basis = texture.basis * slope[..., None]
    return TextureSpace(linear - basis @ c, basis, texture.uv)
