"""What `flamehead render` draws: heads and meshes with everything that lies on their surface."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flamehead.cli._heads import Layout, load_texture, open_flame, open_saved, uv_layout, widened
from flamehead.cli._outputs import check_not_read
from flamehead.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from flamehead.cli.render import Render
    from flamehead.data import Camera, FlameParams
    from flamehead.io import Mesh
    from flamehead.model import Flame

__all__ = ["Subject", "draw_subject", "open_subjects"]


@dataclass(frozen=True)
class Subject:
    """Something to draw."""

    name: str
    vertices: torch.Tensor
    """(T, V, 3): one mesh, or the frames of a track."""
    faces: torch.Tensor
    colors: Any = None
    """Of the surface, as `render` wants them; `None` is clay."""
    layout: Layout | None = None
    regions: Mapping[str, np.ndarray] = field(default_factory=dict)
    cameras: Camera | None = None
    """That the head was fitted with, one or one per frame."""

    def camera(self, k: int) -> Camera:
        """The saved camera of a frame."""
        if self.cameras is None:
            raise InputError(
                f"{self.name} holds no camera; leave out --saved-camera and --photo, or give a params.npz."
            )
        values = {}
        for name, rank in (("rotation", 2), ("translation", 1), ("focal", 1), ("center", 1)):
            value = getattr(self.cameras, name)
            value = value.reshape(-1, *value.shape[value.ndim - rank :])
            values[name] = value[min(k, len(value) - 1)]
        return replace(self.cameras, **values)


def open_subjects(command: Render) -> list[Subject]:
    """Open every input; the model is loaded when one needs it."""
    needs_model = command.texture is not None or command.uv is not None or command.map in ("uv", "regions")
    saved = [_is_saved(path) for path in command.inputs]
    flame = None
    if needs_model or not command.inputs or any(saved) or command.model is not None or command.sweep:
        flame = open_flame(command.model, variant=command.flame_variant, quiet=command.quiet)
    if not command.inputs:
        assert flame is not None
        return [_head(command, flame, flame.zeros(), flame.arrays.source, None)]
    out = []
    for path, is_saved in zip(command.inputs, saved, strict=True):
        if is_saved:
            assert flame is not None
            stored = open_saved(path, flame)
            out.append(_head(command, flame, widened(stored.params, flame), str(path), stored.camera))
        else:
            out.append(_mesh(command, flame, path))
    return out


def draw_subject(
    subject: Subject,
    vertices: torch.Tensor,
    camera: Camera,
    what: str,
    background: tuple[float, float, float] | np.ndarray,
    *,
    opacity: float = 1.0,
) -> np.ndarray:
    """One picture of a subject, over one colour or a photo."""
    from flamehead.cli._maps import map_picture
    from flamehead.render import blend, render, wireframe

    if what not in ("color", "clay", "wireframe"):
        layer = map_picture(subject, vertices, camera, what)
        return blend(background, layer.image, opacity * layer.alpha)
    colors = subject.colors if what == "color" else None
    picture = render(vertices, subject.faces, camera, colors=colors, background=background, alpha=opacity).image
    if what == "wireframe":
        picture = wireframe(picture, vertices, subject.faces, camera, color=(0.13, 0.16, 0.2), alpha=0.6)
    return picture


def _head(command: Render, flame: Flame, params: FlameParams, name: str, cameras: Camera | None) -> Subject:
    import torch

    if command.sweep:
        params = _swept(command, flame, params, name)
    with torch.no_grad():
        vertices = flame(params).vertices
    shape = vertices.shape[-2:]
    return Subject(
        name, vertices.reshape(-1, *shape), flame.faces, *_surface(command, flame, flame.paint), cameras=cameras
    )


def _surface(command: Render, flame: Flame, colors: Any) -> tuple[Any, Layout | None, Mapping[str, np.ndarray]]:
    """Colours, layout and regions of something with the model's triangles."""
    from flamehead.render import Texture

    layout = uv_layout(flame, command.uv)
    if command.texture is not None:
        uv_map = load_texture(command.texture, flame, command.uv)
        assert uv_map.picture is not None
        layout = Layout(uv_map.uv, uv_map.faces)
        colors = Texture.of(uv_map.picture, uv_map.uv, uv_map.faces)
    return colors, layout, flame.regions


def _mesh(command: Render, flame: Flame | None, path: Path) -> Subject:
    import torch

    from flamehead.io import read_mesh
    from flamehead.render import Texture

    if command.sweep:
        raise InputError(f"{path} is a mesh, which has no {command.sweep!r} to sweep; give a params.npz, or nothing.")
    mesh = read_mesh(path, texture=True)
    if not len(mesh.faces):
        raise InputError(f"{path} is a point cloud without triangles, which is not drawn; give a mesh.")
    # A mesh with the model's triangles is one of its heads: what is known of the model holds for it.
    rows = None if flame is None else _rows_of_model(mesh, flame)
    points = mesh.vertices if rows is None else mesh.vertices[rows]
    vertices, colors, layout = torch.from_numpy(points).float()[None], None, None
    if mesh.colors is not None:
        colors = torch.from_numpy(mesh.colors if rows is None else mesh.colors[rows])
    if mesh.uv_map is not None:
        layout = Layout(mesh.uv_map.uv, mesh.uv_map.faces)
        if mesh.uv_map.picture is not None:
            assert command.out is not None
            check_not_read(command.out, [mesh.uv_map.file], what=f"the texture of {path}")
            colors = Texture.of(mesh.uv_map.picture, layout.uv, layout.faces)
    if flame is not None and rows is not None:
        colors = flame.paint if colors is None else colors
        painted, known, regions = _surface(command, flame, colors)
        own = layout is not None and command.texture is None and command.uv is None
        return Subject(str(path), vertices, flame.faces, painted, layout if own else known, regions)
    if command.texture is not None:
        raise InputError(f"{path} has not the triangles of the model that the texture belongs to; see --model.")
    return Subject(str(path), vertices, torch.from_numpy(mesh.faces), colors, layout)


def _rows_of_model(mesh: Mesh, flame: Flame) -> np.ndarray | None:
    """Which vertex of the mesh is each of the model, if the mesh has the model's triangles in their order.

    Files such as GLB repeat a vertex at the seams of its texture; the repetitions become one vertex again.
    """
    import numpy as np

    faces = flame.faces.cpu().numpy()
    if mesh.faces.shape != faces.shape:
        return None
    count = len(flame.template)
    if np.array_equal(mesh.faces, faces):
        return np.arange(count) if len(mesh.vertices) >= count else None
    mine, theirs = mesh.faces.reshape(-1), faces.reshape(-1)
    meant = np.full(len(mesh.vertices), -1)
    meant[mine] = theirs
    # Vertices without a triangle stand in for one that has some, where they change no picture.
    rows = np.full(count, mine[0])
    rows[theirs] = mine
    same = np.array_equal(meant[mine], theirs) and np.array_equal(mesh.vertices[rows[theirs]], mesh.vertices[mine])
    return rows if same else None


def _swept(command: Render, flame: Flame, params: FlameParams, name: str) -> FlameParams:
    """The heads of a sweep as one batch."""
    import torch

    from flamehead.data import FlameParams
    from flamehead.model import Direction, directions, move_along
    from flamehead.render import swing

    if params.shape.ndim > 1:
        raise InputError(f"{name} holds several heads, and a sweep moves one; pick one with `flamehead pose --frame`.")
    assert command.sweep is not None
    kind, _, text = command.sweep.partition(":")
    width = {"shape": flame.n_shape, "expression": flame.n_expression}.get(kind, 0)
    direction = directions(flame).get(command.sweep)
    if width and text:
        if not (text.isdecimal() and int(text) < width):
            raise InputError(f"There is no component {command.sweep!r}; {kind}:K counts from 0 to {width - 1}.")
        direction = Direction((kind,), (int(text),), 1.0)
    if direction is None:
        # Only to say which names are near.
        move_along(params, {command.sweep: 1.0}, flame)
        raise AssertionError(command.sweep)
    count = command.frames or (72 if command.out and command.out.suffix.lower() in (".mp4", ".gif") else 8)
    moved = {}
    for each in direction.fields:
        steps = swing(getattr(params, each), direction.rows, frames=count, reach=command.reach * direction.unit)
        moved[each] = torch.stack(list(steps))
    swept = replace(params, **moved)
    # The other fields keep one row each; the model broadcasts them.
    values = {key: getattr(swept, key) for key in FlameParams.__dataclass_fields__}
    return FlameParams(**{key: value.expand(count, value.shape[-1]) for key, value in values.items()})


def _is_saved(path: Path) -> bool:
    """Whether a file holds parameters rather than a mesh."""
    if path.is_dir():
        from flamehead.formats import is_track

        if is_track(path):
            return True
        raise InputError(f"Cannot draw {path}, it is a folder; name a params.npz or a mesh in it.")
    if path.suffix.lower() == ".npz":
        return True
    if path.suffix.lower() in (".obj", ".ply", ".stl", ".glb", ".gltf", ".off"):
        return False
    if not path.exists():
        raise InputError(f"There is no file {path}; check the name.")
    if zipfile.is_zipfile(path):
        raise InputError(f"Cannot draw {path}; give a params.npz, or a mesh as OBJ, PLY, STL or GLB.")
    return False
