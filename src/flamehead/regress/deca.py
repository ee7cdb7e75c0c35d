"""DECA: one photo to a posed head with expression, light and wrinkles (Feng, Feng, Black, Bolkart, SIGGRAPH 2021)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from flamehead._types import StrPath
from flamehead.data import Camera, Observation
from flamehead.detect import detect_face
from flamehead.errors import InputError
from flamehead.formats import DecaCodes, deca_from_vector
from flamehead.model import Flame, load_flame
from flamehead.regress._deca_crop import SIDE, crop_image, crop_matrix, points68
from flamehead.regress._detail import DetailDecoder
from flamehead.regress._engine import Engine, Quick, quick
from flamehead.regress._folded import folded
from flamehead.regress._resnet import Encoder
from flamehead.regress.checkpoint import load_network, read_weights

__all__ = ["Deca", "Encoded", "encode", "load_deca", "telephoto", "transfer"]

_LATENT = 181
_AWAY = 20.0
"""Metres: from there the weak perspective of the codes and a pinhole camera differ by half a percent."""


class Deca(torch.nn.Module):
    """The three networks and a FLAME model; made by `load_deca`."""

    def __init__(
        self,
        coarse: Encoder | Quick,
        detail: Encoder | Quick,
        decoder: DetailDecoder | Quick,
        flame: Flame,
        *,
        source: str,
    ) -> None:
        """Put the parts together.

        Args:
            coarse: `E_flame`.
            detail: `E_detail`.
            decoder: `D_detail`.
            flame: the model that codes are decoded with.
            source: the checkpoint, for messages.
        """
        super().__init__()
        self.coarse, self.detail, self.decoder = coarse, detail, decoder
        self.flame, self.source = flame, source

    def forward(self, crop: Float[Tensor, "B 3 224 224"]) -> DecaCodes:
        """Crops, RGB in [0, 1], to all codes."""
        return deca_from_vector(self.coarse(crop), detail=self.detail(crop))

    def displacement(self, codes: DecaCodes) -> Float[Tensor, "B 1 256 256"]:
        """The detail decoder's map, metres along the normals; wrinkles follow jaw and expression.

        Raises:
            InputError: the codes have no detail.
        """
        if codes.detail is None:
            raise InputError("These codes hold no detail; encode the photo again with both encoders.")
        return self.decoder(torch.cat([codes.pose[..., 3:], codes.exp, codes.detail], dim=-1))


@dataclass(frozen=True)
class Encoded:
    """What DECA says of a photo."""

    codes: DecaCodes
    """One face, without batch axis."""
    crop: Float[np.ndarray, "3 224 224"]
    """What the networks saw, RGB in [0, 1]."""
    matrix: Float[np.ndarray, "3 3"]
    """Image to crop, pixels with the first centre at (0, 0)."""
    size: tuple[int, int]
    """Of the photo, (width, height)."""
    points_source: str
    """Who saw the landmarks."""


def load_deca(
    checkpoint: StrPath,
    *,
    flame: Flame | None = None,
    force: bool = False,
    device: torch.device | str | None = None,
    engine: Engine = "auto",
    half: bool = False,
) -> Deca:
    """Open the official checkpoint `deca_model.tar`, see `read_weights`.

    Args:
        checkpoint: the file.
        flame: the user's FLAME 2020, for which the codes were made. Without it the built-in head, which shows what the
            codes do, but not the person.
        force: accept a model of another release.
        device: of the networks.
        engine: what runs them on a processor: `"auto"` takes onnxruntime where it and `onnx` are installed, and spends
            some seconds when it meets a checkpoint for the first time.
        half: float16 on CUDA where torch thinks it safe; the outputs then differ by about a hundredth.

    Raises:
        InputError: `flame` says that it is of another release, or has fewer than 100 + 50 coefficients.
        AssetNotFound, UnsafeFile, InputError: as `read_weights`.
    """
    if flame is None:
        flame = load_flame(device=device)
    elif not force and flame.arrays.variant.startswith("2023"):
        raise InputError(
            f"{flame.arrays.source} is FLAME {flame.arrays.variant}, but DECA's codes are for FLAME 2020; pass that "
            "model, or force it to get the head of somebody else."
        )
    if flame.n_shape < 100 or flame.n_expression < 50:
        raise InputError(
            f"{flame.arrays.source} has {flame.n_shape} identity and {flame.n_expression} expression coefficients, "
            "but DECA's codes hold 100 and 50; pass a full model."
        )
    weights = read_weights(checkpoint, "DECA")
    with torch.device("meta"):
        coarse, detail, decoder = Encoder(236), Encoder(128), DetailDecoder()
    for net, part in ((coarse, "E_flame"), (detail, "E_detail"), (decoder, "D_detail")):
        load_network(net, weights.part(part))
    # Wide pictures of few channels: this order of memory saves the decoder a third of its time.
    light = folded(decoder).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def fast(net: nn.Module, name: str, *shape: int) -> Quick:
        return quick(net, torch.rand(2, *shape), name=name, engine=engine, device=device, half=half)

    deca = Deca(
        fast(folded(coarse), "e_flame", 3, SIDE, SIDE),
        fast(folded(detail), "e_detail", 3, SIDE, SIDE),
        fast(light, "d_detail", _LATENT),
        flame,
        source=weights.source,
    )
    return deca if device is None else deca.to(device)


def encode(deca: Deca, image: Float[np.ndarray, "H W 3"], *, seen: Observation | None = None) -> Encoded:
    """The codes of the face in a photo.

    Args:
        deca: the networks.
        image: RGB in [0, 1].
        seen: landmarks that hold the 68; without them those of the largest face that MediaPipe sees.

    Raises:
        NoFaceFound: the detector sees none.
        InputError: the landmarks cannot be used.
    """
    seen = detect_face(image) if seen is None else seen
    matrix = crop_matrix(points68(seen))
    crop = crop_image(image, matrix)
    like = next(deca.coarse.parameters())
    with torch.no_grad():
        codes = deca(torch.from_numpy(crop)[None].to(like))
    codes = _each(codes, lambda value: value[0].float().cpu())
    codes = dataclasses.replace(codes, fingerprint=deca.flame.fingerprint)
    return Encoded(codes, crop, matrix, (image.shape[1], image.shape[0]), seen.source)


def transfer(identity: DecaCodes, source: DecaCodes) -> DecaCodes:
    """The person of `identity` with the jaw and the expression of `source`; all else is kept, the detail code too.

    The detail decoder sees jaw and expression, so that the wrinkles follow.
    """
    pose = torch.cat([identity.pose[..., :3], source.pose[..., 3:]], dim=-1)
    return dataclasses.replace(identity, pose=pose, exp=source.exp)


def telephoto(encoded: Encoded) -> Camera:
    """A pinhole camera 20 m away that sees the head where the photo shows it, to half a percent of its size.

    The codes themselves know a scale and a shift only: how far away the head is cannot be said.
    """
    scale, tx, ty = (float(value) for value in encoded.codes.cam)
    # Crop pixels per metre, and where the model's origin lies: DECA was trained with n = pixel / 112 - 1.
    per_metre = scale * SIDE / 2
    middle = np.array([(1 + scale * tx) * SIDE / 2, (1 - scale * ty) * SIDE / 2, 1.0])
    back = np.linalg.inv(encoded.matrix)
    center = (back @ middle)[:2] + 0.5
    focal = per_metre * back[0, 0] * _AWAY
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    away = torch.tensor([0.0, 0.0, _AWAY])
    numbers = (torch.tensor(pair, dtype=torch.float32) for pair in ((focal, focal), center.tolist()))
    return Camera(flip, away, *numbers, size=encoded.size)


def _each(codes: DecaCodes, change: Callable[[Tensor], Tensor]) -> DecaCodes:
    names = ("shape", "tex", "exp", "pose", "cam", "light")
    detail = None if codes.detail is None else change(codes.detail)
    return dataclasses.replace(codes, **{name: change(getattr(codes, name)) for name in names}, detail=detail)
