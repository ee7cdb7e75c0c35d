"""A depth map, and the point cloud it becomes, beside the mesh. `python examples/07_depth_and_points.py --out DIR`"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import Camera, load_flame, write_image
from flamehead.geometry.camera import world_to_camera
from flamehead.io import write_ply
from flamehead.raster import interpolate, rasterize
from flamehead.render import orbit_camera, render, tile

SIZE = (420, 500)
GREY = (0.89, 0.90, 0.91)


def unproject(depth: torch.Tensor, camera: Camera) -> torch.Tensor:
    """World points of the pixels with a finite depth: x_camera = ((u - cx) / fx, (v - cy) / fy, 1) depth."""
    rows, columns = torch.nonzero(torch.isfinite(depth), as_tuple=True)
    z = depth[rows, columns]
    pixels = torch.stack([columns, rows], dim=1) + 0.5
    x_camera = torch.cat([(pixels - camera.center) / camera.focal, torch.ones(len(z), 1)], dim=1) * z[:, None]
    return (x_camera - camera.translation) @ camera.rotation


def splat(points: torch.Tensor, colors: torch.Tensor, camera: Camera) -> np.ndarray:
    """Points as squares of two pixels, near ones over far ones."""
    image = np.tile(np.array(GREY, dtype=np.float32), (camera.size[1], camera.size[0], 1))
    depth = world_to_camera(points, camera.rotation, camera.translation)[:, 2]
    order = torch.argsort(depth, descending=True)
    corner = (camera.project(points) - 0.5).round().long()[order].numpy()
    for dx, dy in ((0, 0), (-1, 0), (0, -1), (-1, -1)):
        image[corner[:, 1] + dy, corner[:, 0] + dx] = colors[order].numpy()
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture and the point cloud")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame()
    with torch.no_grad():
        vertices = flame(replace(flame.zeros(), jaw=torch.tensor([0.15, 0.0, 0.0]))).vertices
    scanner = orbit_camera(vertices, SIZE, yaw=-0.35)

    # What a depth camera would measure: metres along the view, infinite beside the head.
    x_camera = world_to_camera(vertices, scanner.rotation, scanner.translation)
    on_screen = torch.cat([scanner.project(vertices), x_camera[:, 2:]], dim=1)
    fragments = rasterize(on_screen, flame.faces, SIZE)
    assert flame.colors is not None
    seen = interpolate(torch.as_tensor(flame.colors, dtype=torch.float32), flame.faces, fragments)[fragments.covered]

    points = unproject(fragments.depth, scanner)
    on_surface = interpolate(vertices, flame.faces, fragments)[fragments.covered]
    error = 1000 * (points - on_surface).norm(dim=1)
    print(f"{len(points)} points, at most {float(error.max()):.3f} mm from the surface they were measured on")
    write_ply(out / "scan.ply", points, torch.zeros(0, 3, dtype=torch.int64), colors=seen)

    depth = fragments.depth.numpy()
    finite = np.isfinite(depth)
    near, far = depth[finite].min(), depth[finite].max()
    grey = np.where(finite, 1.0 - 0.85 * (depth - near) / (far - near), 0.0)
    beside = orbit_camera(vertices, SIZE, yaw=0.5)
    pictures = [
        np.repeat(grey[..., None], 3, axis=2).astype(np.float32),
        splat(points, seen, beside),
        render(vertices, flame.faces, beside, background=GREY).image,
    ]
    write_image(out / "scan.png", tile(pictures, columns=3))
    for name in ("scan.ply", "scan.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
