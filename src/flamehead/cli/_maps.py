"""What `flamehead render --map` gives: a picture to look at, or the numbers themselves in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from flamehead.cli._subjects import Subject
    from flamehead.data import Camera
    from flamehead.render import Maps, Picture

__all__ = ["NUMBERS", "map_numbers", "map_picture", "view_depth", "write_numbers"]

NUMBERS = (".npy", ".npz")
"""Files that hold numbers rather than pictures."""

_FINE = 2
"""Samples per pixel along each axis, so that a picture's outlines are smooth."""


def map_picture(subject: Subject, vertices: torch.Tensor, camera: Camera, what: str) -> Picture:
    """A map as a picture: sRGB, and how much of each pixel is covered."""
    import numpy as np

    from flamehead.render import Picture

    width, height = camera.size
    fine = replace(
        camera, focal=_FINE * camera.focal, center=_FINE * camera.center, size=(_FINE * width, _FINE * height)
    )
    seen = _read(subject, vertices, fine, what)
    assert seen.alpha is not None
    weights = seen.alpha[..., None]
    shown = np.where(weights > 0, _colors(seen, what, subject, vertices, camera), 0.0)
    sums, counts = (value.reshape(height, _FINE, width, _FINE, -1).sum(axis=(1, 3)) for value in (shown, weights))
    image = sums / np.maximum(counts, 1.0)
    return Picture(image.astype(np.float32), counts[..., 0] / np.float32(_FINE**2))


def map_numbers(subject: Subject, vertices: torch.Tensor, camera: Camera, what: str) -> dict[str, np.ndarray]:
    """A map and `alpha`, one sample per pixel, with the camera that saw them."""
    from flamehead.render import depth_to_millimetres

    name = "depth" if what == "depth-mm" else what
    seen = _read(subject, vertices, camera, name)
    assert seen.alpha is not None
    values = getattr(seen, name)
    out = {what: depth_to_millimetres(values) if what == "depth-mm" else values, "alpha": seen.alpha}
    out |= {f"camera_{key}": _plain(getattr(camera, key)) for key in ("rotation", "translation", "focal", "center")}
    return out


def write_numbers(path: Path, found: Sequence[Mapping[str, np.ndarray]], names: Sequence[str], what: str) -> str:
    """Write the numbers of one head, or of several one behind the other; says what was written.

    Args:
        path: `.npy` takes the map alone, `.npz` also the rest, `.png` and `.tif` one map of whole numbers.
        found: Of `map_numbers`, for each head.
        names: Of the regions.
        what: The map.
    """
    import numpy as np

    from flamehead.io import atomic_path, write_grey16

    shapes = {each[what].shape for each in found}
    if len(shapes) > 1:
        raise InputError(f"The cameras have different picture sizes, {sorted(shapes)}; render one head at a time.")
    stacked = {key: np.stack([each[key] for each in found]) if len(found) > 1 else found[0][key] for key in found[0]}
    values = stacked[what]
    if path.suffix.lower() not in NUMBERS:
        if len(found) > 1:
            raise InputError(f"{path} takes one depth map, not {len(found)}; render one head, or write .npy or .npz.")
        write_grey16(path, values)
    else:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            if path.suffix.lower() == ".npy":
                np.save(file, values)
            else:
                extra = {"region_names": np.array(names)} if what == "regions" else {}
                np.savez(file, **stacked, **extra)
    return f"{what}, {values.dtype} of shape {values.shape}"


def view_depth(vertices: torch.Tensor, camera: Camera) -> torch.Tensor:
    """View depth of each vertex, float64: heads and saved cameras may be of different types."""
    from flamehead.geometry.camera import world_to_camera

    points, rotation, translation = (x.detach().cpu().double() for x in (vertices, camera.rotation, camera.translation))
    return world_to_camera(points, rotation, translation)[..., 2]


def _read(subject: Subject, vertices: torch.Tensor, camera: Camera, what: str) -> Maps:
    from flamehead.render import maps

    given: dict[str, Any] = {}
    if what == "uv":
        if subject.layout is None:
            raise InputError(f"{subject.name} has no known texture coordinates; give an OBJ with them by --uv.")
        given["uv"] = subject.layout.uv, subject.layout.faces
    elif what == "regions":
        if not subject.regions:
            raise InputError(f"{subject.name} has no named regions; put FLAME_masks.pkl beside the model file.")
        given["regions"] = subject.regions
    elif what == "color":
        given["colors"] = subject.colors
    want: Any = (what, "alpha")
    return maps(vertices, subject.faces, camera, want=want, **given)


def _colors(seen: Maps, what: str, subject: Subject, vertices: torch.Tensor, camera: Camera) -> np.ndarray:
    """sRGB of each sample; anything where nothing is seen."""
    import numpy as np

    if what == "depth":
        assert seen.depth is not None
        z = view_depth(vertices, camera)
        low, high = float(z.min()), float(z.max())
        # Bright is near; the farthest vertex is dark grey, to be told from a black background.
        grey = 1.0 - 0.9 * (np.where(np.isfinite(seen.depth), seen.depth, high) - low) / max(high - low, 1e-12)
        return np.repeat(grey[..., None], 3, axis=-1)
    if what == "normals":
        # x right, y up, z to the viewer, the habit of normal maps.
        return 0.5 + 0.5 * np.asarray(seen.normals) * np.array([1, -1, -1], dtype=np.float32)
    if what == "uv":
        assert seen.uv is not None
        return np.concatenate([np.clip(seen.uv, 0.0, 1.0), np.zeros_like(seen.uv[..., :1])], axis=-1)
    from flamehead.render import region_colors

    chosen = region_colors(seen.region_names)
    # The last row is that of index -1.
    table = np.array([*(chosen[name] for name in seen.region_names), (0.62, 0.62, 0.62)], dtype=np.float32)
    return table[seen.regions]


def _plain(value: torch.Tensor) -> np.ndarray:
    return value.detach().cpu().numpy()
