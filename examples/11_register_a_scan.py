"""Register the model to a scan. `python examples/11_register_a_scan.py --out DIR`

The scan is made here: a random person in centimetres, lying on the side, cut off behind the ears, with noise, and with
wrinkles that no component of the model can make.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import Flame, fit_scan, load_flame, save_scan_fit, write_image
from flamehead.geometry.rotation import exp
from flamehead.io import Mesh, write_ply
from flamehead.render import field_colors, grid, orbit_camera, render

SIZE = (360, 420)
GREY = (0.89, 0.90, 0.91)
TURN = torch.tensor([0.4, 0.3, 1.3])
"""Axis-angle of the scanner's frame."""


def make_scan(flame: Flame) -> tuple[Mesh, np.ndarray, np.ndarray]:
    """The scan in centimetres, its 51 landmarks, and the rotation from the model's frame to its own."""
    random = torch.Generator().manual_seed(3)
    person = replace(
        flame.zeros(),
        shape=0.9 * torch.randn(flame.n_shape, generator=random),
        jaw=torch.tensor([0.1, 0.0, 0.0]),
    )
    with torch.no_grad():
        surface = flame(person).vertices
    landmarks = flame.landmarks(surface, "ibug51").numpy()

    # Every triangle is divided into four, so that the scan shares neither vertices nor triangles with the model.
    faces = flame.faces.numpy()
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    unique, number = np.unique(edges, axis=0, return_inverse=True)
    points = np.concatenate([surface.numpy(), surface.numpy()[unique].mean(axis=1)])
    ab, bc, ca = number.reshape(3, -1) + len(surface)
    a, b, c = faces.T
    fine = np.concatenate(
        [np.stack(corner, axis=1) for corner in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )

    # Wrinkles on the forehead, noise of the scanner, and nothing behind the ears.
    x, y, z = points.T
    forehead = np.exp(-(((y - landmarks[0:10, 1].mean() - 0.03) / 0.018) ** 2) - (x / 0.05) ** 2) * (z > 0.0)
    points[:, 2] += 0.0012 * forehead * np.sin(900 * y)
    points += np.random.default_rng(0).normal(scale=1e-4, size=points.shape)
    fine = fine[(points[fine, 2] > landmarks[:, 2].min() - 0.09).all(axis=1)]
    used, fine = np.unique(fine, return_inverse=True)
    turn = exp(TURN).numpy()
    place = np.array([12.0, -40.0, 150.0])
    return Mesh(100 * points[used] @ turn.T + place, fine.reshape(-1, 3)), 100 * landmarks @ turn.T + place, turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame()
    scan, landmarks, turn = make_scan(flame)
    write_ply(out / "scan.ply", scan.vertices, scan.faces)

    # With a texture on the scan and the extra `detect` the landmarks would be found; here they are given.
    pictures, captions = [], []
    upright = torch.from_numpy(scan.vertices @ turn)
    camera = orbit_camera(upright, SIZE, yaw=0.5)
    pictures.append(render(upright, torch.from_numpy(scan.faces), camera, background=GREY).image)
    captions.append("scan")
    for offsets in (False, True):
        result = fit_scan(scan, flame=flame, landmarks=landmarks, offsets=offsets)
        millimetres = 1000 * result.distances.distances
        median = float(np.median(millimetres[result.distances.in_face]))
        name = "with offsets" if offsets else "parameters only"
        print(f"{name}: unit {result.unit}, median distance of the face {median:.2f} mm")
        head = torch.from_numpy(result.vertices @ turn)
        pictures.append(render(head, flame.faces, camera, background=GREY).image)
        colors = field_colors(millimetres, limits=(0.0, 1.0), colormap="heat")
        pictures.append(render(upright, torch.from_numpy(scan.faces), camera, colors=colors, background=GREY).image)
        captions += [name, f"median {median:.2f} mm (colours 0 to 1 mm)"]
        save_scan_fit(result, out / ("offsets" if offsets else "parameters"))
    write_image(out / "registered.png", grid(pictures, captions=captions, columns=5))
    for name in ("scan.ply", "parameters/params.npz", "offsets/params.npz", "registered.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
