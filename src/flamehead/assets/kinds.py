"""What the files around a FLAME model hold: one frozen dataclass for each kind.

Everything is in one convention, whatever the file's own: metres, colours as RGB in [0, 1], images with row 0 at v = 1,
ids from 0, columns of a basis per standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int, UInt8

from flamehead.assets.model_file import ContourEmbedding, FlameArrays, LandmarkEmbedding

__all__ = [
    "AlbedoSpace",
    "Asset",
    "BfmAlbedo",
    "BfmCorrespondence",
    "BfmModel",
    "BfmTexels",
    "BfmToFlame",
    "Checkpoint",
    "DisplacementMap",
    "EyelidOffsets",
    "ImageLandmarks",
    "InpaintingSpace",
    "LandmarkFile",
    "PickedPoints",
    "Regions",
    "ScanLandmarks",
    "Segmentation",
    "Template",
    "TexelTable",
    "TextureSpace",
    "UvMaskImage",
    "UvMasks",
]


@dataclass(frozen=True)
class LandmarkFile:
    """A landmark embedding: the fixed points by scheme, and what else the file holds."""

    sets: Mapping[str, LandmarkEmbedding]
    """By scheme: `ibug51`, `ibug68`, `mediapipe105`."""
    contour: ContourEmbedding | None
    eyes: LandmarkEmbedding | None
    """The fronts of the right and of the left eyeball."""


@dataclass(frozen=True)
class Regions:
    """`FLAME_masks.pkl`: vertex ids by region, sorted and unique."""

    vertices: Mapping[str, Int[np.ndarray, "N"]]


@dataclass(frozen=True)
class Template:
    """A template mesh. Its own vertices may be another neutral head than the model's; its triangles are the model's."""

    vertices: Float[np.ndarray, "V 3"]
    faces: Int[np.ndarray, "F 3"]
    uv: Float[np.ndarray, "T 2"] | None
    """v up."""
    uv_faces: Int[np.ndarray, "F 3"] | None


@dataclass(frozen=True)
class TextureSpace:
    """`FLAME_texture.npz`: display (gamma) sRGB = `mean + basis @ c`, c ~ N(0, 1), clipped to [0, 1]; float32."""

    mean: Float[np.ndarray, "H W 3"]
    basis: Float[np.ndarray, "H W 3 K"]
    uv: Float[np.ndarray, "T 2"]
    uv_faces: Int[np.ndarray, "F 3"]
    n_stored: int
    """Components in the file, of which `basis` holds the first K."""


@dataclass(frozen=True)
class AlbedoSpace:
    """AlbedoMM: linear RGB; diffuse and specular albedo are of the same coefficients; float32."""

    diffuse_mean: Float[np.ndarray, "H W 3"]
    diffuse_basis: Float[np.ndarray, "H W 3 K"]
    specular_mean: Float[np.ndarray, "H W 3"]
    specular_basis: Float[np.ndarray, "H W 3 K"]
    uv: Float[np.ndarray, "T 2"]
    uv_faces: Int[np.ndarray, "F 3"]
    n_stored: int
    """Components in the file, of which the bases hold the first K."""


@dataclass(frozen=True)
class BfmAlbedo:
    """`FLAME_albedo_from_BFM.npz`: the colours of the Basel Face Model on FLAME's texture; it holds no UV; float32."""

    mean: Float[np.ndarray, "512 512 3"]
    basis: Float[np.ndarray, "512 512 3 K"]
    n_stored: int
    """Components in the file, of which `basis` holds the first K."""


@dataclass(frozen=True)
class InpaintingSpace:
    """`mask_inpainting.npz`: a small texture space for the texels that the Basel Face Model does not cover; float32."""

    mean: Float[np.ndarray, "R R 3"]
    basis: Float[np.ndarray, "R R 3 K"]
    n_stored: int
    """Components in the file, of which `basis` holds the first K."""


@dataclass(frozen=True)
class TexelTable:
    """`texture_data_*.npy`: which point of the mesh lies under each texel."""

    size: int
    """Texels on a side."""
    x: Float[np.ndarray, "R2"]
    """Column of each listed texel, in the file's order."""
    y: Float[np.ndarray, "R2"]
    texel_ids: Int[np.ndarray, "N"]
    """Positions in `x` and `y` of the texels that the mesh covers."""
    vertex_ids: Int[np.ndarray, "N 3"]
    """Corners of the triangle under each of them."""
    barycentric: Float[np.ndarray, "N 3"]
    uv: Float[np.ndarray, "T 2"] | None
    uv_faces: Int[np.ndarray, "F 3"] | None
    dense_faces: Int[np.ndarray, "D 3"] | None
    """Triangles between texels, in DECA's copy."""


@dataclass(frozen=True)
class UvMasks:
    """`uv_masks.npz`: regions of the texture."""

    masks: Mapping[str, Bool[np.ndarray, "H W"]]


@dataclass(frozen=True)
class UvMaskImage:
    """`uv_face_mask.png` and the like: a soft region of the texture."""

    mask: Float[np.ndarray, "H W"]
    """0..1, from the first channel."""


@dataclass(frozen=True)
class DisplacementMap:
    """`fixed_displacement_256.npy`: offsets along the normals, metres, for each texel."""

    offsets: Float[np.ndarray, "H W"]


@dataclass(frozen=True)
class EyelidOffsets:
    """`l_eyelid.npy`, `r_eyelid.npy`: vertex offsets, metres; times 1 closes the lid."""

    offsets: Float[np.ndarray, "V 3"]
    side: Literal["left", "right", "unknown"]
    """What the file's name says; the offsets themselves do not."""


@dataclass(frozen=True)
class BfmModel:
    """The Basel Face Model: `mean + basis @ c` with c ~ N(0, 1); float32."""

    release: Literal["2009", "2017"]
    shape_mean: Float[np.ndarray, "B 3"]
    """Metres."""
    shape_basis: Float[np.ndarray, "B 3 S"]
    color_mean: Float[np.ndarray, "B 3"]
    color_basis: Float[np.ndarray, "B 3 C"]
    expression_mean: Float[np.ndarray, "B 3"] | None
    """An offset; the 2009 model has no expressions."""
    expression_basis: Float[np.ndarray, "B 3 E"] | None
    faces: Int[np.ndarray, "F 3"]


@dataclass(frozen=True)
class BfmToFlame:
    """FLAME vertices as weighted sums of another model's: `flame = matrix @ bfm`."""

    matrix: scipy.sparse.csr_matrix
    """V rows, one column for each vertex of the other model."""
    input_faces: Int[np.ndarray, "F 3"]
    output_faces: Int[np.ndarray, "G 3"]


@dataclass(frozen=True)
class BfmCorrespondence:
    """`BFM_to_FLAME_corr.npz`."""

    maps: Mapping[str, BfmToFlame]
    """By model: `BFM2017`, `BFM2009`, `BFM2009_cropped`."""
    flame_ids: Int[np.ndarray, "N"]
    """FLAME vertices that the Basel Face Model covers."""


@dataclass(frozen=True)
class BfmTexels:
    """`cached_data.npy` of BFM_to_FLAME: which point of BFM 2017 lies under each texel of FLAME."""

    size: tuple[int, int]
    """Width and height."""
    x: Float[np.ndarray, "R"]
    """Column of each texel, centres at .5; the slow index."""
    y: Float[np.ndarray, "R"]
    texel_ids: Int[np.ndarray, "N"]
    vertex_ids: Int[np.ndarray, "N 3"]
    barycentric: Float[np.ndarray, "N 3"]


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a network, described without loading them."""

    network: Literal["MICA", "DECA", "unknown"]
    parts: Mapping[str, int]
    """Number of tensors by entry."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of every tensor, by `entry.name`."""


@dataclass(frozen=True)
class PickedPoints:
    """A `.pp` file of MeshLab: points that a person picked on a scan, in the scan's unit."""

    names: tuple[str, ...]
    points: Float[np.ndarray, "N 3"]
    active: Bool[np.ndarray, "N"]


@dataclass(frozen=True)
class ScanLandmarks:
    """`scan_lmks.npy`: points 17..67 of the 68 on a scan, in the scan's unit (metres in the published one)."""

    points: Float[np.ndarray, "51 3"]


@dataclass(frozen=True)
class ImageLandmarks:
    """The 68 points of a photo, pixels."""

    points: Float[np.ndarray, "68 2"]


@dataclass(frozen=True)
class Segmentation:
    """Classes of a photo's pixels; above zero: skin that a fit may use."""

    classes: UInt8[np.ndarray, "H W"]


Asset = (
    FlameArrays
    | LandmarkFile
    | ContourEmbedding
    | Regions
    | Template
    | TextureSpace
    | AlbedoSpace
    | BfmAlbedo
    | InpaintingSpace
    | TexelTable
    | UvMasks
    | UvMaskImage
    | DisplacementMap
    | EyelidOffsets
    | BfmModel
    | BfmCorrespondence
    | BfmTexels
    | Checkpoint
    | PickedPoints
    | ScanLandmarks
    | ImageLandmarks
    | Segmentation
)
"""Whatever `open_asset` returns."""
