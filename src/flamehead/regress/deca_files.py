"""The files of DECA's reconstruction demo, and ours beside them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._types import StrPath
from flamehead.formats import deca_to_params, write_deca
from flamehead.geometry.rotation import exp
from flamehead.io import atomic_folder, save_params, write_image, write_json
from flamehead.model import Flame
from flamehead.regress._deca_crop import SIDE
from flamehead.regress._sheet import side_by_side
from flamehead.regress.deca import Deca, Encoded, telephoto
from flamehead.regress.deca_assets import DecaAssets, builtin_deca_assets
from flamehead.regress.deca_decode import Decoded
from flamehead.regress.deca_photo import photo_pictures
from flamehead.render import links, marks, render, side_view

__all__ = ["overview", "save_decoded"]

_IN_MAT = (
    *("verts", "trans_verts", "landmarks2d", "landmarks3d", "landmarks3d_world", "grid", "rendered_images"),
    *("alpha_images", "normal_images", "uv_texture", "normals", "uv_detail_normals", "displacement_map"),
    *("uv_texture_gt", "albedo"),
)
_GREEN, _RED = (0.20, 0.86, 0.38), (0.94, 0.24, 0.30)
_LINES = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
_RINGS = ((36, 42), (42, 48), (48, 60), (60, 68))
_BACKGROUND = (0.88, 0.89, 0.90)
_FACE = 300.0
"""Pixels of a face over which dots of radius 2 look right."""
_TALLEST = 1080


def save_decoded(
    deca: Deca,
    encoded: Encoded,
    decoded: Decoded,
    folder: StrPath,
    *,
    stem: str,
    assets: DecaAssets | None = None,
    photo: Float[np.ndarray, "H W 3"] | None = None,
    report: Mapping[str, Any] | None = None,
) -> None:
    """Write what DECA's demo writes, and our `codes.npz` and `params.npz`; all or nothing.

    As DECA: `STEM.obj` with `STEM.mtl`, `STEM.png` and `STEM_normals.png` (metres), `STEM_detail.obj` (dense, with
    colours 0..255), `STEM.mat`, `STEM_kpt2d.txt`, `STEM_kpt3d.txt`, `STEM_depth.jpg`, `STEM_vis.jpg` and the single
    pictures; over the whole photo `STEM_vis_original_size.jpg` and `orig_STEM_*.jpg`. Landmarks are in
    [-1, 1] over the crop, as DECA writes them on a graphics card; `trans_verts` lacks the 30 that its renderer adds to
    z by mistake. The camera in `params.npz` is `telephoto`'s.

    Args:
        deca: the model that decoded.
        encoded: the photo.
        decoded: what to write.
        folder: where to; files of other names in it stay.
        stem: the photo's name without its suffix.
        assets: the tables that `decode` was given.
        photo: the whole photo; with it the pictures over it are written, too.
        report: what `report.json` shall hold; None writes none.

    Raises:
        InputError: the folder cannot be written.
    """
    chosen = builtin_deca_assets() if assets is None else assets
    with atomic_folder(folder) as stage:
        _write_numbers(stage, stem, decoded)
        _write_meshes(stage, stem, decoded, deca.flame, chosen)
        pictures = {
            "inputs": torch.from_numpy(encoded.crop),
            "rendered_images": decoded.rendered_images,
            "shape_images": decoded.shape_images,
            "shape_detail_images": decoded.shape_detail_images,
            "depth": decoded.depth_images.expand(3, -1, -1),
        }
        images = {name: _picture(value) for name, value in pictures.items()}
        images["landmarks2d"] = _with_marks(images["inputs"], decoded.landmarks2d)
        images["vis"] = overview(encoded, decoded, deca.flame)
        for name, image in images.items():
            write_image(stage / f"{stem}_{name}.jpg", image)
        if photo is not None:
            for name, image in _over_photo(deca, encoded, decoded, photo, chosen).items():
                write_image(stage / name.format(stem=stem), image)
        write_deca(stage / "codes.npz", encoded.codes)
        if report is not None:
            write_json(stage / "report.json", report)
        save_params(
            stage / "params.npz",
            deca_to_params(encoded.codes),
            telephoto(encoded),
            fingerprint=deca.flame.fingerprint,
            model_source=deca.flame.arrays.source,
            status=f"Regressed by DECA from landmarks of {encoded.points_source}; the distance is a guess.",
        )


def overview(encoded: Encoded, decoded: Decoded, flame: Flame) -> Float[np.ndarray, "h w 3"]:
    """The crop, both sets of landmarks, the shape, the shape with details, and the head from its side."""
    crop = _picture(torch.from_numpy(encoded.crop))
    turn = exp(encoded.codes.pose[:3])
    camera = side_view(decoded.verts, (2 * SIDE, 2 * SIDE), rotation=turn, angle=math.radians(80))
    side = render(decoded.verts, flame.faces.cpu(), camera, colors=flame.colors, background=_BACKGROUND).image
    panels = [
        crop,
        _with_marks(crop, decoded.landmarks2d),
        _with_marks(crop, decoded.landmarks3d),
        _picture(decoded.shape_images),
        _picture(decoded.shape_detail_images),
        side,
    ]
    if bool(decoded.albedo.any()):
        panels.insert(5, _picture(decoded.rendered_images))
    return side_by_side(panels, 2 * SIDE)


def _over_photo(
    deca: Deca, encoded: Encoded, decoded: Decoded, photo: Float[np.ndarray, "H W 3"], assets: DecaAssets
) -> dict[str, Float[np.ndarray, "h w 3"]]:
    """The pictures of the whole photo by the names of their files, and all of them in one row."""
    whole = photo_pictures(deca.flame, encoded, decoded, photo, assets)
    images = {name: _picture(value) for name, value in whole.pictures.items()}
    landmarks2d, landmarks3d = (_with_dots(photo, points) for points in (whole.landmarks2d, whole.landmarks3d))
    panels = [photo, landmarks2d, landmarks3d, images["shape_images"], images["shape_detail_images"]]
    if bool(decoded.albedo.any()):
        panels.append(images["rendered_images"])
    sheet = side_by_side(panels, min(photo.shape[0], _TALLEST))
    images |= {"inputs": photo, "landmarks2d": landmarks2d}
    return {"{stem}_vis_original_size.jpg": sheet} | {f"orig_{{stem}}_{n}.jpg": i for n, i in images.items()}


def _picture(image: Float[Tensor, "3 H W"]) -> Float[np.ndarray, "H W 3"]:
    return image.permute(1, 2, 0).clamp(0, 1).numpy()


def _with_marks(image: Float[np.ndarray, "H W 3"], points: Float[Tensor, "68 C"]) -> Float[np.ndarray, "h w 3"]:
    """Twice as large, so that the dots can be told apart."""
    large = side_by_side([image], 2 * image.shape[0])
    places = torch.cat([(points[:, :2] + 1) * (large.shape[0] / 2), points[:, 2:]], dim=1)
    return _with_dots(large, places)


def _with_dots(image: Float[np.ndarray, "H W 3"], points: Float[Tensor, "68 C"]) -> Float[np.ndarray, "H W 3"]:
    """Landmarks in pixels, joined by lines; points that are not seen are red."""
    places = points[:, :2].numpy()
    scale = max(float(np.ptp(places, axis=0).max()) / _FACE, 0.5)
    chains = [range(*ends) for ends in _LINES] + [(*range(*ends), ends[0]) for ends in _RINGS]
    pairs = np.array([pair for chain in map(list, chains) for pair in itertools.pairwise(chain)])
    image = links(image, places[pairs[:, 0]], places[pairs[:, 1]], (1.0, 1.0, 1.0), width=0.8 * scale)
    seen = np.ones(len(places), bool) if points.shape[1] < 4 else points[:, 3].numpy() > 0
    image = marks(image, places[seen], _GREEN, radius=2.0 * scale)
    return marks(image, places[~seen], _RED, radius=2.0 * scale)


def _write_numbers(stage: Path, stem: str, decoded: Decoded) -> None:
    from scipy.io import savemat

    savemat(stage / f"{stem}.mat", {name: getattr(decoded, name).numpy() for name in _IN_MAT})
    np.savetxt(stage / f"{stem}_kpt2d.txt", decoded.landmarks2d.numpy())
    np.savetxt(stage / f"{stem}_kpt3d.txt", decoded.landmarks3d.numpy())


def _write_meshes(stage: Path, stem: str, decoded: Decoded, flame: Flame, assets: DecaAssets) -> None:
    write_image(stage / f"{stem}.png", _picture(decoded.uv_texture_gt))
    write_image(stage / f"{stem}_normals.png", _picture(decoded.uv_detail_normals * 0.5 + 0.5))
    (stage / f"{stem}.mtl").write_text(
        f"newmtl FaceTexture\nmap_Kd {stem}.png\ndisp {stem}_normals.png\n", encoding="utf-8", newline="\n"
    )
    _write_textured(stage / f"{stem}.obj", decoded.verts.numpy(), flame.faces.cpu().numpy(), assets, stem)
    dense = decoded.dense
    columns = np.column_stack([dense.vertices.numpy(), np.rint(255 * dense.colors.numpy())])
    with (stage / f"{stem}_detail.obj").open("w", encoding="ascii", newline="\n") as file:
        np.savetxt(file, columns, fmt="v %.8g %.8g %.8g %d %d %d")
        np.savetxt(file, dense.faces + 1, fmt="f %d %d %d")


def _write_textured(
    path: Path, vertices: Float[np.ndarray, "V 3"], faces: Int[np.ndarray, "F 3"], assets: DecaAssets, stem: str
) -> None:
    corners = np.stack([faces, assets.uv_faces], axis=-1).reshape(len(faces), 6) + 1
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"mtllib {stem}.mtl\n")
        np.savetxt(file, vertices, fmt="v %.8g %.8g %.8g")
        np.savetxt(file, assets.uv, fmt="vt %.8g %.8g")
        file.write("usemtl FaceTexture\n")
        np.savetxt(file, corners, fmt="f %d/%d %d/%d %d/%d")
