"""MICA: one photo to the metrical identity of a head (Zielonka, Bolkart, Thies, ECCV 2022).

Five points, an aligned crop of 112 pixels, ArcFace, a small network, 300 identity coefficients of FLAME 2020. There is
no pose, no expression, no camera and no texture in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from flamehead._types import StrPath
from flamehead.assets import LandmarkEmbedding
from flamehead.assets.model_file import ContourEmbedding
from flamehead.assets.read_model import model_in
from flamehead.data import FlameParams, Observation
from flamehead.detect import detect_face
from flamehead.errors import InputError, NoFaceFound
from flamehead.model import Flame
from flamehead.regress._align import TEMPLATE, blob_of, similarity, warp
from flamehead.regress._arcface import ArcFace
from flamehead.regress._engine import Engine, Quick, quick
from flamehead.regress._five_points import five_points
from flamehead.regress._folded import folded
from flamehead.regress._mapping import Mapping, normalised
from flamehead.regress._scrfd import Scrfd, most_central
from flamehead.regress.checkpoint import Weights, load_network, read_weights

__all__ = ["KPT7", "Identity", "Mica", "identify", "identity_code", "load_mica", "median_identity"]

KPT7 = (36, 39, 42, 45, 33, 48, 54)
"""Rows of the 68 points that the NoW evaluation wants: right eye outer, inner, left eye inner, outer, base of the nose,
right and left mouth corner."""

_SIDE = 112
_ROOT = 4294967295


class Mica(torch.nn.Module):
    """The two networks, and the FLAME model that its checkpoint carries; made by `load_mica`."""

    def __init__(self, arcface: ArcFace | Quick, mapping: Mapping, flame: Flame, *, source: str) -> None:
        """Put the parts together.

        Args:
            arcface: the backbone.
            mapping: embedding to identity.
            flame: the model that the identity belongs to.
            source: the checkpoint, for messages.
        """
        super().__init__()
        self.arcface, self.mapping, self.flame, self.source = arcface, mapping, flame, source

    def forward(self, blob: Float[Tensor, "B 3 112 112"]) -> Float[Tensor, "B 300"]:
        """Aligned crops, RGB in [-1, 1], to identity coefficients in standard deviations."""
        return self.mapping(normalised(self.arcface(blob)))


@dataclass(frozen=True)
class Identity:
    """What MICA says of a photo, or of several: a neutral head."""

    shape: Float[np.ndarray, "300"]
    """Identity coefficients, float32."""
    vertices: Float[np.ndarray, "V 3"]
    """Of the neutral head, metres."""
    landmarks: Float[np.ndarray, "68 3"]
    """The fixed 68 points on it, metres."""
    flame: Flame
    points: Float[np.ndarray, "5 2"] | None = None
    """By which the face was aligned, pixels with the first centre at (0, 0); None for a median."""
    points_source: str = ""
    """Who saw them."""
    blob: Float[np.ndarray, "3 112 112"] | None = None
    """What the network saw, RGB in [-1, 1]."""
    crop: UInt8[np.ndarray, "224 224 3"] | None = None
    """The aligned face at twice the size, for the eye only."""

    @property
    def params(self) -> FlameParams:
        """The neutral head as parameters."""
        return dataclasses.replace(self.flame.zeros(), shape=torch.from_numpy(self.shape).to(self.flame.template))

    @property
    def fingerprint(self) -> str:
        """Of the model that `shape` belongs to."""
        return self.flame.fingerprint


def load_mica(
    checkpoint: StrPath,
    *,
    flame: Flame | None = None,
    force: bool = False,
    device: torch.device | str | None = None,
    engine: Engine = "auto",
    half: bool = False,
) -> Mica:
    """Open the official checkpoint `mica.tar`, see `read_weights`.

    Args:
        checkpoint: the file.
        flame: the user's own FLAME 2020; its landmarks and fingerprint are then used. Without it, those in the
            checkpoint, which carries FLAME itself.
        force: accept another model than the one in the checkpoint; the head then looks like somebody else.
        device: of the networks.
        engine: what runs them on a processor: `"auto"` takes onnxruntime where it and `onnx` are installed, and spends
            some seconds when it meets a checkpoint for the first time.
        half: float16 on CUDA where torch thinks it safe; the outputs then differ by about a hundredth.

    Raises:
        InputError: `flame` is not the model of the checkpoint.
        AssetNotFound, UnsafeFile, InputError: as `read_weights`.
    """
    weights = read_weights(checkpoint, "MICA")
    own = _embedded_flame(weights, device)
    if flame is not None:
        if not force:
            _check_model(flame, own, weights.source)
        own = flame
    with torch.device("meta"):
        arcface, mapping = ArcFace(), Mapping()
    load_network(arcface, weights.part("arcface"))
    load_network(mapping, weights.part("flameModel.regressor"))
    net = quick(
        folded(arcface), torch.rand(2, 3, _SIDE, _SIDE), name="arcface", engine=engine, device=device, half=half
    )
    mica = Mica(net, mapping, own, source=weights.source)
    return mica if device is None else mica.to(device)


def identify(
    mica: Mica,
    image: Float[np.ndarray, "H W 3"],
    *,
    detector: Scrfd | None = None,
    seen: Observation | None = None,
) -> Identity:
    """The neutral head of the face in a photo.

    Args:
        mica: the networks.
        image: RGB in [0, 1].
        detector: insightface's, as MICA uses it; of several faces the one nearest to the middle is taken.
        seen: landmarks to align by instead; without both the largest face that MediaPipe sees.

    Raises:
        NoFaceFound: the detector sees none.
        InputError: the landmarks lack the five points.
    """
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    if detector is not None and seen is None:
        points, source = _detected(detector, pixels), detector.source
    else:
        seen = detect_face(image) if seen is None else seen
        points, source = five_points(seen), seen.source
    blob = blob_of(warp(pixels, similarity(points, TEMPLATE), _SIDE))
    crop = warp(pixels, similarity(points, 2 * TEMPLATE), 2 * _SIDE)
    found = _neutral(mica.flame, _code(mica, blob))
    return dataclasses.replace(found, points=points, points_source=source, blob=blob, crop=crop)


def identity_code(mica: Mica, image: Float[np.ndarray, "H W 3"], seen: Observation) -> Float[np.ndarray, "300"]:
    """The coefficients alone, whatever model they are to drive; the face is aligned by its landmarks.

    Raises:
        InputError: the landmarks lack the five points.
    """
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return _code(mica, blob_of(warp(pixels, similarity(five_points(seen), TEMPLATE), _SIDE)))


def _code(mica: Mica, blob: Float[np.ndarray, "3 112 112"]) -> Float[np.ndarray, "300"]:
    like = mica.mapping.output.weight
    with torch.no_grad():
        return mica(torch.from_numpy(blob)[None].to(like))[0].float().cpu().numpy()


def median_identity(identities: Sequence[Identity]) -> Identity:
    """One head for several photos of one person: the median of each coefficient.

    Raises:
        InputError: there are none, or they belong to different models.
    """
    if not identities:
        raise InputError("A median needs at least one identity; no photo gave one.")
    if len({identity.fingerprint for identity in identities}) > 1:
        raise InputError("The identities belong to different models; make all of them with one checkpoint.")
    shape = np.median([identity.shape for identity in identities], axis=0).astype(np.float32)
    sources = ", ".join(dict.fromkeys(identity.points_source for identity in identities))
    return dataclasses.replace(_neutral(identities[0].flame, shape), points_source=sources)


def _detected(detector: Scrfd, pixels: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "5 2"]:
    faces = detector(pixels)
    height, width = pixels.shape[:2]
    if not len(faces.scores):
        raise NoFaceFound(
            f"{detector.source} sees no face in the image of {width} x {height} pixels; crop it to the head, or leave "
            "out --detector to use MediaPipe."
        )
    return faces.points[most_central(faces, (width, height))]


def _neutral(flame: Flame, shape: Float[np.ndarray, "300"]) -> Identity:
    like = flame.template
    params = dataclasses.replace(flame.zeros(), shape=torch.from_numpy(shape).to(like))
    with torch.no_grad():
        vertices = flame(params).vertices
        landmarks = flame.landmarks(vertices, "ibug68")
    return Identity(shape, vertices.float().cpu().numpy(), landmarks.float().cpu().numpy(), flame)


def _embedded_flame(weights: Weights, device: torch.device | str | None) -> Flame:
    """FLAME 2020 as the checkpoint carries it, in float32."""
    held = {name: value.numpy() for name, value in weights.part("flameModel.generator").items()}
    parents = [_ROOT if parent < 0 else int(parent) for parent in held["parents"]]
    entries: dict[str, Any] = {
        "v_template": held["v_template"],
        "f": held["faces_tensor"],
        "shapedirs": held["shapedirs"],
        "posedirs": held["posedirs"].T.reshape(*held["v_template"].shape, -1),
        "weights": held["lbs_weights"],
        "J_regressor": held["J_regressor"],
        "kintree_table": np.array([parents, range(len(parents))], dtype=np.int64),
    }
    arrays = model_in(entries, weights.source)
    embeddings = {
        "ibug51": LandmarkEmbedding(held["lmk_faces_idx"], held["lmk_bary_coords"]),
        "ibug68": LandmarkEmbedding(held["full_lmk_faces_idx"][0], held["full_lmk_bary_coords"][0]),
    }
    contour = ContourEmbedding(held["dynamic_lmk_faces_idx"], held["dynamic_lmk_bary_coords"])
    return Flame(arrays, embeddings=embeddings, contour=contour, device=device)


def _check_model(flame: Flame, own: Flame, source: str) -> None:
    """Another basis would turn the coefficients into another person's; rounding to float32 is no difference."""
    near = flame.template.shape == own.template.shape and flame.shape_basis.shape[0] >= own.shape_basis.shape[0]
    for name in ("template", "shape_basis"):
        mine, theirs = (cast(Tensor, getattr(model, name)).cpu().double() for model in (own, flame))
        near = near and bool(torch.allclose(theirs[: len(mine)], mine, rtol=0, atol=1e-6))
    if not near:
        raise InputError(
            f"{source} was made for FLAME 2020 and carries it, but {flame.arrays.source} is another model, to which "
            "its identities do not apply; use the model of the checkpoint, or --force to get the head of somebody else."
        )
