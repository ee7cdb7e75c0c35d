"""The head of a one-file page: which components it carries, and all its arrays as text."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int

from flamehead.data import FlameParams, Track
from flamehead.errors import InputError
from flamehead.export.texture import built_in_texture
from flamehead.io import UvMap
from flamehead.model import is_builtin

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["HeadChoice", "head_data", "packed"]

_QUALITY = 90
"""Of the texture's JPEG."""
_USED = 1e-6
"""Coefficients of this size count as used."""
_FRAMING = (2.8, -0.01)
"""Distance of the eye, and how far below the head's middle it looks, in heights of the head."""
_MOUTH_BAG = 2
_DARK = 0.3
_RANGES = {"shape": (-3.0, 3.0), "expression": (-3.0, 3.0), "movement": (-0.5, 1.5), "eyelid": (0.0, 1.0)}
_TURNS = ("root", "neck", "jaw", "left_eye", "right_eye")


@dataclass(frozen=True)
class HeadChoice:
    """What of a model goes into a page, and how it stands at first."""

    shape: Float[np.ndarray, "S"]
    """The whole identity."""
    shape_rows: Int[np.ndarray, "A"]
    """Components with a slider; the others are built in."""
    expression_rows: Int[np.ndarray, "B"]
    eyelids: bool
    """Whether the model's eyelid fields are there."""
    start: dict[str, list[float]]
    """`coefficients` (shape, expression, eyelids), `pose`, `translation`."""

    @staticmethod
    def of(
        flame: Flame,
        head: FlameParams | Track | None,
        eyelids: Float[np.ndarray, "2"] | None,
        *,
        n_shape: int,
        n_expression: int,
    ) -> HeadChoice:
        """Choose the components that are asked for and those that are used.

        Raises:
            InputError: several heads that are no track, or numbers that are not finite.
        """
        params = flame.zeros() if head is None else head.params if isinstance(head, Track) else head
        rows = {name: _row(params, name) for name in ("shape", "expression", *_TURNS, "translation")}
        count = max(map(len, rows.values()))
        if count != 1 and not isinstance(head, Track):
            raise InputError(f"Got {count} heads, but a page shows one; choose one of them, or give a track.")
        if not all(np.isfinite(value).all() for value in rows.values()):
            raise InputError("The head holds NaN or infinite parameters; fit it again, or leave those frames out.")
        expression = _padded(rows["expression"], flame.n_expression)
        used = np.flatnonzero(np.abs(expression).max(0) > _USED)
        shown = np.union1d(np.arange(min(n_expression, flame.n_expression)), used).astype(np.int64)
        shape, shape_rows = _padded(rows["shape"], flame.n_shape)[0], np.arange(min(n_shape, flame.n_shape))
        has_lids = flame.eyelid_basis is not None and not is_builtin(flame)
        first = expression[0]
        if eyelids is not None and not has_lids:
            first = first + _blinks(flame, np.asarray(eyelids, dtype=np.float64)[None])[0]
        lids = np.zeros(2 if has_lids else 0)
        if eyelids is not None and has_lids:
            lids = np.asarray(eyelids, dtype=np.float64)
        start = {
            "coefficients": [*shape[shape_rows].tolist(), *first[shown].tolist(), *lids.tolist()],
            "pose": np.concatenate([rows[name][0] for name in _TURNS]).tolist(),
            "translation": [0.0, 0.0, 0.0],
        }
        return HeadChoice(shape, shape_rows, shown, has_lids, start)

    def expressions_of(self, flame: Flame, track: Track) -> Float[np.ndarray, "T B+L"]:
        """Coefficients of the page's expressions and eyelids in each frame."""
        expression = _padded(_row(track.params, "expression"), flame.n_expression)
        expression = np.broadcast_to(expression, (len(track), expression.shape[1]))
        lids = None if track.eyelids is None else np.asarray(track.eyelids, dtype=np.float64)
        if lids is not None and not self.eyelids:
            expression = expression + _blinks(flame, lids)
        shown = expression[:, self.expression_rows]
        if not self.eyelids:
            return shown
        return np.concatenate([shown, np.zeros((len(track), 2)) if lids is None else lids], axis=1)


def head_data(
    flame: Flame, choice: HeadChoice, uv_map: UvMap | None, head: FlameParams | Track | None
) -> dict[str, Any]:
    """Everything that the page needs to pose and draw the head."""
    arrays = flame.arrays
    hidden = choice.shape.copy()
    hidden[choice.shape_rows] = 0.0
    template = arrays.template + arrays.shape_basis @ hidden
    bases = [arrays.shape_basis[..., choice.shape_rows], arrays.expression_basis[..., choice.expression_rows]]
    if choice.eyelids and flame.eyelid_basis is not None:
        bases.append(flame.eyelid_basis.double().cpu().numpy().reshape(2, -1, 3).transpose(1, 2, 0))
    morphs = np.concatenate(bases, axis=2)
    regressor = arrays.joint_regressor
    joint_morphs = np.einsum("jv,vck->kjc", regressor, morphs, optimize=True)
    if choice.eyelids:
        # Eyelids close after the joints are found.
        joint_morphs[-2:] = 0.0
    return {
        "template": packed(template, np.float32),
        "weights": packed(arrays.skin_weights, np.float32),
        "joints": packed(regressor @ template, np.float32),
        "parents": list(arrays.parents),
        "faces": packed(arrays.faces, np.uint32),
        "reached": packed(_reached_by_light(flame), np.float32),
        "morphs": _quantised(morphs) | {"joints": packed(joint_morphs, np.float32)},
        "correctives": _quantised(arrays.pose_basis),
        "start": choice.start,
        **_names(flame, choice),
        **_surface(flame, uv_map, head),
        **_frame(flame, template),
    }


def packed(values: Any, dtype: Any) -> str:
    """Little-endian numbers as base64 text."""
    plain = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    return base64.b64encode(plain.tobytes()).decode("ascii")


def _quantised(basis: Float[np.ndarray, "V 3 K"]) -> dict[str, str]:
    """Fields as 16-bit integers, each with the scale that takes them back to metres."""
    rows = basis.reshape(-1, basis.shape[-1]).T
    scales = np.abs(rows).max(1) / 32767.0
    values = np.round(rows / np.where(scales > 0.0, scales, 1.0)[:, None])
    return {"values": packed(values, np.int16), "scales": packed(scales, np.float32)}


def _names(flame: Flame, choice: HeadChoice) -> dict[str, Any]:
    """Name, kind and slider range of each morph."""
    names = [f"shape {k + 1}" for k in choice.shape_rows] + [f"expression {k + 1}" for k in choice.expression_rows]
    kinds = ["shape"] * len(choice.shape_rows) + ["expression"] * len(choice.expression_rows)
    ranges = [_RANGES[kind] for kind in kinds]
    if is_builtin(flame):
        from flamehead.builtin import builtin_head

        head = builtin_head()
        moves = [head.expression_names[k] for k in choice.expression_rows]
        names = [*(head.shape_names[k] for k in choice.shape_rows), *moves]
        named = [_RANGES["expression" if name.startswith("local_") else "movement"] for name in moves]
        ranges[len(choice.shape_rows) :] = named
    if choice.eyelids:
        names, kinds = [*names, "eyelid_left", "eyelid_right"], [*kinds, "eyelid", "eyelid"]
        ranges += [_RANGES["eyelid"]] * 2
    return {"names": names, "kinds": kinds, "ranges": ranges}


def _surface(flame: Flame, uv_map: UvMap | None, head: FlameParams | Track | None) -> dict[str, Any]:
    """Corners with their texture coordinates, and the texture: a vertex on a seam is there once for each of its uv."""
    if uv_map is None and is_builtin(flame):
        uv_map = built_in_texture(head.albedo if isinstance(head, Track) else None)
    faces = flame.arrays.faces
    if uv_map is None:
        rows = np.arange(len(flame.arrays.template))
        return {
            "rows": packed(rows, np.uint32),
            "corners": packed(faces, np.uint32),
            "uv": packed(np.zeros((len(rows), 2)), np.float32),
        }
    if np.shape(uv_map.faces) != faces.shape:
        raise InputError(
            f"The texture has {len(uv_map.faces)} triangles, but {flame.source} has {len(faces)}; give the texture "
            "coordinates of this model."
        )
    both = np.stack([faces.ravel(), np.asarray(uv_map.faces).ravel()], axis=1)
    unique, corners = np.unique(both, axis=0, return_inverse=True)
    uv = np.asarray(uv_map.uv)[unique[:, 1]]
    out = {
        "rows": packed(unique[:, 0], np.uint32),
        "corners": packed(corners, np.uint32),
        # The first row of a picture is the lowest one to WebGL.
        "uv": packed(np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1), np.float32),
    }
    return out if uv_map.picture is None else out | {"texture": _jpeg(uv_map.picture)}


def _jpeg(picture: Float[np.ndarray, "H W 3"]) -> str:
    from PIL import Image

    pixels = np.round(255.0 * np.clip(np.asarray(picture), 0.0, 1.0)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _reached_by_light(flame: Flame) -> Float[np.ndarray, "V"]:
    """Share of the light that comes to each vertex: little inside of the mouth, as far as the model tells it apart."""
    out = np.ones(len(flame.arrays.template))
    if is_builtin(flame):
        from flamehead.builtin import builtin_head

        out[: len(builtin_head().part)][builtin_head().part == _MOUTH_BAG] = _DARK
    return out


def _frame(flame: Flame, template: Float[np.ndarray, "V 3"]) -> dict[str, Any]:
    """Where the eye looks and from how far."""
    used = template[np.unique(flame.arrays.faces)]
    low, high = used.min(0), used.max(0)
    distance, below = _FRAMING
    height = float(high[1] - low[1])
    middle = 0.5 * (low + high)
    center = [float(middle[0]), float(middle[1]) - below * height, float(middle[2])]
    return {"center": center, "distance": distance * height}


def _blinks(flame: Flame, eyelids: Float[np.ndarray, "T 2"]) -> Float[np.ndarray, "T E"]:
    """Eyelids as expressions, which they are on the built-in head."""
    if not is_builtin(flame):
        raise InputError(f"{flame.source} has no eyelids; leave them out.")
    from flamehead.builtin import builtin_head

    out = np.zeros((len(eyelids), flame.n_expression))
    names = builtin_head().expression_names
    for column, side in enumerate(("left", "right")):
        out[:, names.index(f"blink_{side}")] = eyelids[:, column]
    return out


def _row(params: FlameParams, name: str) -> Float[np.ndarray, "T N"]:
    value: torch.Tensor = getattr(params, name)
    return value.detach().cpu().double().reshape(-1, value.shape[-1]).numpy()


def _padded(values: Float[np.ndarray, "T k"], width: int) -> Float[np.ndarray, "T K"]:
    return np.pad(values, ((0, 0), (0, width - values.shape[1])))
