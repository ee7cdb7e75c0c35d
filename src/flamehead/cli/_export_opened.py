"""What `flamehead export` hands to every format, a result with its model and surface, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from flamehead.cli._heads import load_texture, open_flame, open_saved, uv_layout, widened
from flamehead.cli._usage import UsageError
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from flamehead.cli.export import Export
    from flamehead.data import FlameParams, Track
    from flamehead.io import UvMap
    from flamehead.model import Flame

__all__ = ["Opened", "Written", "open_result", "surface_of"]

_RATE = 25.0


@dataclass(frozen=True)
class Opened:
    """A result that belongs to an open model."""

    name: str
    """Of its file or folder."""
    place: Path | None
    """The folder that it lies in; None for the mean head."""
    flame: Flame
    params: FlameParams
    """In the model's dtype; of a track with a leading axis of frames."""
    times: np.ndarray
    """Seconds of each frame; of a track its own, else by `--fps`."""
    fps: float
    track: Track | None = None
    """The whole track, with the same `params`, where the result is one."""
    albedo: np.ndarray | None = None
    """Coefficients of the texture space."""
    offsets: np.ndarray | None = None
    """Displacements of the head at rest, metres, as a scan leaves them."""
    notes: tuple[str, ...] = ()
    """What was assumed of another program's files, one sentence each."""

    @property
    def eyelids(self) -> np.ndarray | None:
        """Of a track."""
        return None if self.track is None else self.track.eyelids

    @property
    def head(self) -> FlameParams | Track:
        """The track where there is one."""
        return self.params if self.track is None else self.track


@dataclass(frozen=True)
class Written:
    """What a format wrote."""

    path: Path
    count: int | None = None
    """Frames, where each has files of its own."""
    beside: tuple[Path, ...] = ()
    """More files."""
    said: tuple[str, ...] = ()
    """How it went."""
    notes: tuple[str, ...] = ()
    """What a user should know, one sentence each."""

    def sentences(self) -> list[str]:
        """What the command prints."""
        first = f"Wrote {self.path}" if self.count is None else f"Wrote {self.count} frames to {self.path}"
        return [*self.said, first, *(f"Wrote {path}" for path in self.beside)]


def open_result(command: Export) -> Opened:
    """Find, read and check the result, whoever made it.

    Raises:
        InputError: There is none, or it belongs to another model.
    """
    import numpy as np

    from flamehead.formats import is_track

    flame = open_flame(command.model, variant=command.flame_variant, quiet=command.quiet)
    rate, path = command.fps or _RATE, command.result
    if path is None:
        return Opened("mean head", None, flame, flame.zeros(), np.zeros(1), rate)
    return _open_track(command, flame, path) if is_track(path) else _open_fit(command, flame, path, rate)


def _open_track(command: Export, flame: Flame, path: Path) -> Opened:
    from flamehead.formats import open_track
    from flamehead.io import is_track_file

    file = path / "track.npz" if path.is_dir() else path
    own = is_track_file(file)
    if command.fps is not None and own:
        raise UsageError(f"--fps is for heads without times, and {file} knows its own; leave it out.")
    track = open_track(path, flame, fps=command.fps, force=command.force)
    # With --force the model is taken for theirs from here on.
    track = replace(track, params=widened(track.params, flame), fingerprint=flame.fingerprint)
    place = path if path.is_dir() else path.parent
    notes = () if own else track.warnings
    return Opened(
        path.name, place, flame, track.params, track.times, track.fps, track=track, albedo=track.albedo, notes=notes
    )  # fmt: skip


def _open_fit(command: Export, flame: Flame, path: Path, rate: float) -> Opened:
    import numpy as np

    from flamehead.io import load_params
    from flamehead.io.results import load_arrays

    file = path / "params.npz" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        raise InputError(
            f"The folder {path} holds no result that is known here: no params.npz or track.npz of flamehead, no "
            "checkpoint/*.frame of metrical-tracker, no run or export of VHAP; name the folder that does."
        )
    saved = load_params(file) if command.force else open_saved(file, flame)
    params = widened(saved.params, flame)
    times = np.arange(max(1, params.root[..., 0].numel())) / rate
    albedo = None if saved.albedo is None else saved.albedo.numpy()
    offsets = load_arrays(file).get("offsets")
    return Opened(file.name, file.parent, flame, params, times, rate, albedo=albedo, offsets=offsets)


def surface_of(command: Export, found: Opened) -> UvMap | None:
    """The texture: the one asked for, that of the fit, or the built-in head's; None where the model has no layout."""
    from flamehead.export import built_in_texture
    from flamehead.io import UvMap
    from flamehead.model import is_builtin

    flame, asked, uv = found.flame, command.surface.texture, command.surface.uv
    if asked not in (None, "none"):
        return load_texture(asked, flame, uv)
    if asked is None and uv is None:
        own = _fitted_texture(found)
        if own is not None:
            return own
        if is_builtin(flame):
            return built_in_texture(found.albedo)
    layout = uv_layout(flame, uv)
    return None if layout is None else UvMap(layout.uv, layout.faces)


def _fitted_texture(found: Opened) -> UvMap | None:
    """What a photometric fit's mesh wears: its photo, unwrapped."""
    import numpy as np

    from flamehead.io import read_mesh

    if found.albedo is None or found.place is None or found.track is not None:
        return None
    path = found.place / "mesh.obj"
    if not path.is_file():
        return None
    mesh = read_mesh(path, texture=True)
    same = np.array_equal(mesh.faces, found.flame.faces.cpu().numpy())
    return mesh.uv_map if same and mesh.uv_map is not None and mesh.uv_map.picture is not None else None
