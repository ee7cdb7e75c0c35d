"""Codes of the networks as starts of a fit, and which models they may drive."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from flamehead.assets.fingerprint import BUILTIN
from flamehead.data import FlameParams, Observation
from flamehead.errors import InputError
from flamehead.model import Flame
from flamehead.regress._layout import Network
from flamehead.regress.deca import Deca, encode
from flamehead.regress.mica import Mica, identity_code

__all__ = ["check_release", "start_of"]


def check_release(flame: Flame, network: Network, *, force: bool = False) -> tuple[str, ...]:
    """Refuse to drive another model than FLAME 2020 with codes that were made for it.

    A file of unknown release passes with a warning, because files before 2023 do not say what they are. `load_mica`
    looks closer: its checkpoint holds the model that its codes are for.

    Args:
        flame: the model that the codes are to drive.
        network: who made the codes.
        force: let them drive it all the same; the head then looks like somebody else.

    Returns:
        Warnings, one sentence each.

    Raises:
        InputError: the model is the built-in head or says that it is of another release.
    """
    source, variant = flame.arrays.source, flame.arrays.variant
    if flame.fingerprint.startswith(BUILTIN):
        name = "the built-in head"
    elif variant == "2020":
        return ()
    elif variant == "unknown":
        return (f"{network}'s codes are for FLAME 2020, and {source} does not say of which release it is.",)
    else:
        name = f"{source}, FLAME {variant},"
    if not force:
        raise InputError(
            f"{network}'s codes are for FLAME 2020 and would make {name} look like somebody else; pass FLAME 2020 with "
            "--model, or --force to use them all the same."
        )
    return (
        f"{network}'s codes are for FLAME 2020 and were forced on {name.rstrip(',')}; they mean something else there.",
    )


def start_of(network: Mica | Deca, image: Float[np.ndarray, "H W 3"], seen: Observation) -> FlameParams:
    """What a network says of a face, as the start of a fit: MICA its identity, DECA identity, expression and jaw.

    The pose is left out, because a fit finds it from the landmarks.

    Args:
        network: MICA or DECA.
        image: RGB in [0, 1].
        seen: landmarks of the face.

    Raises:
        InputError: the landmarks do not show enough of the face.
    """
    if isinstance(network, Mica):
        rest = FlameParams.zeros(0, 0)
        return replace(rest, shape=torch.from_numpy(identity_code(network, image, seen)))
    codes = encode(network, image, seen=seen).codes
    return replace(FlameParams.zeros(0, 0), shape=codes.shape, expression=codes.exp, jaw=codes.pose[3:])
