"""What `flamehead export` hands to every format: a result, the model it belongs to, and what lies on its surface."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._heads import load_texture, open_flame, open_saved, uv_layout
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from flamehead.cli.export import Export
    from flamehead.data import FlameParams, Track
    from flamehead.io import SavedFit, UvMap
    from flamehead.model import Flame

__all__ = ["Exported", "open_exported", "surface_of"]


@dataclass(frozen=True)
class Exported:
    """A result that belongs to an open model."""

    path: Path
    """The params.npz or track.npz."""
    flame: Flame
    saved: SavedFit
    """Parameters and camera; of a track with a leading axis of frames."""
    track: Track | None
    """The whole track, where the result is one."""
    times: np.ndarray
    """Seconds of each frame; of a track its own, else `--fps`."""
    offsets: np.ndarray | None
    """Displacements of the head at rest, metres, as a scan leaves them."""

    @property
    def params(self) -> FlameParams:
        """In the model's dtype."""
        return self.saved.params.to(dtype=self.flame.template.dtype)

    @property
    def eyelids(self) -> np.ndarray | None:
        """Of a track."""
        return None if self.track is None else self.track.eyelids


def open_exported(command: Export) -> Exported:
    """Find, read and check the result.

    Raises:
        InputError: There is none, or it belongs to another model.
    """
    import numpy as np

    from flamehead.io import is_track_file, load_track
    from flamehead.io.results import load_arrays

    path = _result_file(command.result)
    flame = open_flame(command.model, variant=command.flame_variant, quiet=command.quiet)
    saved = open_saved(path, flame)
    track = load_track(path) if is_track_file(path) else None
    count = max(1, saved.params.root[..., 0].numel())
    times = np.arange(count) / command.fps if track is None else track.times
    return Exported(path, flame, saved, track, times, load_arrays(path).get("offsets"))


def _result_file(path: Path) -> Path:
    """The file itself, or the one in a folder of results."""
    if not path.is_dir():
        return path
    for name in ("track.npz", "params.npz"):
        if (path / name).is_file():
            return path / name
    raise InputError(f"The folder {path} holds neither track.npz nor params.npz; name a result of flamehead.")


def surface_of(command: Export, found: Exported) -> UvMap | None:
    """The texture: the one asked for, that of the fit, or the built-in head's; None where the model has no layout."""
    from flamehead.io import UvMap

    flame = found.flame
    if command.texture not in (None, "none"):
        return load_texture(command.texture, flame, command.uv)
    if command.texture is None and command.uv is None:
        own = _fitted_texture(found)
        if own is not None:
            return own
        from flamehead.model import is_builtin

        if is_builtin(flame):
            return _albedo(found)
    layout = uv_layout(flame, command.uv)
    return None if layout is None else UvMap(layout.uv, layout.faces)


def _fitted_texture(found: Exported) -> UvMap | None:
    """What a photometric fit's mesh wears: its photo, unwrapped."""
    import numpy as np

    from flamehead.io import read_mesh

    path = found.path.parent / "mesh.obj"
    if found.saved.albedo is None or not path.is_file():
        return None
    mesh = read_mesh(path, texture=True)
    same = np.array_equal(mesh.faces, found.flame.faces.cpu().numpy())
    return mesh.uv_map if same and mesh.uv_map is not None and mesh.uv_map.picture is not None else None


def _albedo(found: Exported) -> UvMap:
    """The built-in head's albedo, with the coefficients of the fit if it has some."""
    from flamehead.builtin.albedo_space import builtin_albedo, decode
    from flamehead.io import UvMap

    space = builtin_albedo()
    fitted = found.saved.albedo
    coefficients = [] if fitted is None or fitted.ndim != 1 or fitted.numel() > len(space.names) else fitted.numpy()
    return UvMap(space.uv, space.uv_faces, decode(space, coefficients))  # pyright: ignore[reportArgumentType]
