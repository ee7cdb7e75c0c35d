"""Which tensors the official checkpoints hold: names as `part.name`, shapes, and whether they are whole numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Literal

import torch
from torch import nn

from flamehead.regress._arcface import ArcFace
from flamehead.regress._detail import DetailDecoder
from flamehead.regress._mapping import Mapping as MappingNet
from flamehead.regress._resnet import Encoder

__all__ = ["DECA_PARTS", "MICA_PARTS", "Network", "layout"]

Network = Literal["MICA", "DECA"]

MICA_PARTS: Mapping[str, Callable[[], nn.Module]] = {"arcface": ArcFace, "flameModel.regressor": MappingNet}
DECA_PARTS: Mapping[str, Callable[[], nn.Module]] = {
    "E_flame": lambda: Encoder(236),
    "E_detail": lambda: Encoder(128),
    "D_detail": DetailDecoder,
}

_GENERATOR: Mapping[str, tuple[int, ...]] = {
    "eye_pose": (1, 6),
    "neck_pose": (1, 3),
    "faces_tensor": (9976, 3),
    "v_template": (5023, 3),
    "shapedirs": (5023, 3, 400),
    "posedirs": (36, 15069),
    "J_regressor": (5, 5023),
    "parents": (5,),
    "lbs_weights": (5023, 5),
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
    "full_lmk_faces_idx": (1, 68),
    "full_lmk_bary_coords": (1, 68, 3),
    "neck_kin_chain": (2,),
}
"""MICA's checkpoint carries FLAME 2020 itself."""
_WHOLE = ("num_batches_tracked", "faces_tensor", "parents", "faces_idx", "neck_kin_chain")


@lru_cache(maxsize=2)
def layout(network: Network) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Shape and type of every tensor of a network's checkpoint, by `part.name`; anything else in it is not read."""
    names: dict[str, tuple[int, ...]] = {}
    for part, build in (MICA_PARTS if network == "MICA" else DECA_PARTS).items():
        with torch.device("meta"):
            net = build()
        names |= {f"{part}.{name}": tuple(value.shape) for name, value in net.state_dict().items()}
    if network == "MICA":
        names |= {f"flameModel.generator.{name}": shape for name, shape in _GENERATOR.items()}
    return {n: (shape, torch.int64 if n.endswith(_WHOLE) else torch.float32) for n, shape in names.items()}
