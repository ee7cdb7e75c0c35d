"""Files that a browser downloads: meshes, parameters and pictures of the head as it stands."""

from __future__ import annotations

import io
import math
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8

from flamehead.data import Camera, FlameParams
from flamehead.geometry.rotation import from_quaternion
from flamehead.io import UvMap, save_params, write_glb, write_obj, write_ply, write_textured_obj
from flamehead.model import Flame
from flamehead.render import Texture, orbit_camera, render

if TYPE_CHECKING:
    import viser

__all__ = ["mesh_file", "params_file", "picture_file", "png_bytes", "view_camera"]


def mesh_file(kind: str, vertices: Float[np.ndarray, "V 3"], flame: Flame, uv_map: UvMap | None) -> tuple[str, bytes]:
    """The head as `head.glb`, `head.ply` or `head.obj`; an OBJ with a texture is three files in `head.zip`.

    Args:
        kind: `"glb"`, `"ply"` or `"obj"`.
        vertices: Metres.
        flame: The model.
        uv_map: Texture coordinates and picture, where there are any.

    Returns:
        The name and what is in the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, faces = Path(folder) / f"head.{kind}", flame.faces.cpu().numpy()
        if kind == "glb":
            write_glb(path, vertices, faces, colors=flame.colors, uv_map=uv_map)
        elif kind == "ply":
            write_ply(path, vertices, faces, colors=flame.colors)
        elif uv_map is None:
            write_obj(path, vertices, faces, colors=flame.colors)
        else:
            files = write_textured_obj(path, vertices, faces, uv_map=uv_map)
            return "head.zip", _zipped(files)
        return path.name, path.read_bytes()


def params_file(params: FlameParams, vertices: Float[np.ndarray, "V 3"], flame: Flame) -> bytes:
    """`params.npz` as the other commands read it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.npz"
        camera = orbit_camera(torch.from_numpy(vertices), (512, 512))
        source = flame.arrays.source
        save_params(
            path, params, camera, fingerprint=flame.fingerprint, model_source=source, status="Posed in the viewer."
        )
        return path.read_bytes()


def picture_file(
    vertices: Float[np.ndarray, "V 3"], flame: Flame, camera: Camera, uv_map: UvMap | None
) -> UInt8[np.ndarray, "H W 3"]:
    """The head as our own renderer draws it, in its texture or its own colours, over white."""
    colors = flame.paint if flame.paint is not None else flame.colors
    if uv_map is not None and uv_map.picture is not None:
        colors = Texture.of(uv_map.picture, uv_map.uv, uv_map.faces)
    points = torch.from_numpy(np.ascontiguousarray(vertices, dtype=np.float32))
    drawn = render(points, flame.faces.cpu(), camera, colors=colors, background=(1.0, 1.0, 1.0))
    return np.rint(255.0 * drawn.image.clip(0.0, 1.0)).astype(np.uint8)


def view_camera(view: viser.CameraHandle, *, longest: int = 1600) -> Camera:
    """What a browser looks with, as one of our cameras.

    Args:
        view: The browser's; x right, y down, z forward, like ours.
        longest: Pixels of the picture's longer side at most.
    """
    width, height = max(1, int(view.image_width)), max(1, int(view.image_height))
    scale = min(1.0, longest / max(width, height))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    turn = from_quaternion(torch.tensor(np.asarray(view.wxyz), dtype=torch.float64)).mT
    place = torch.tensor(np.asarray(view.position), dtype=torch.float64)
    focal = size[1] / 2 / math.tan(float(view.fov) / 2)
    values = turn, -turn @ place, torch.tensor([focal, focal]), torch.tensor([size[0] / 2, size[1] / 2])
    return Camera(*(value.float() for value in values), size=size)


def png_bytes(image: UInt8[np.ndarray, "H W C"]) -> bytes:
    """A picture as PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _zipped(files: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return buffer.getvalue()
