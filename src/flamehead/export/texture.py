"""What the built-in head wears."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from flamehead.io import UvMap

__all__ = ["built_in_texture"]


def built_in_texture(coefficients: Float[np.ndarray, "K"] | None = None) -> UvMap:
    """The albedo of the built-in head as a picture, with its layout.

    Args:
        coefficients: Of its albedo space, as a photometric fit or a track finds them; None, or more of them than the
            space has, which are another space's, are the mean.
    """
    from flamehead.builtin.albedo_space import builtin_albedo, decode

    space = builtin_albedo()
    if coefficients is None or coefficients.ndim != 1 or len(coefficients) > len(space.names):
        coefficients = np.zeros(0)
    return UvMap(space.uv, space.uv_faces, decode(space, coefficients))
