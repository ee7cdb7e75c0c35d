"""One head in three calibrated views, as of an own camera rig. `python examples/10_several_views.py --out DIR`

The photos are renderings of a random person, so that the truth is known; their landmarks get a detector's noise.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import Camera, load_flame, write_image
from flamehead.data import Observation
from flamehead.evaluate import vertex_error
from flamehead.fit import fit_landmarks, fit_views
from flamehead.formats import read_camera_rig
from flamehead.render import field_colors, grid, orbit_camera, render, wireframe

SIZE = (480, 560)
GREY = (0.89, 0.90, 0.91)
NOISE = 1.5
"""Pixels."""


def save_rig(path: Path, cameras: dict[str, Camera]) -> None:
    """The cameras as `flamehead fit --cameras` reads them, too."""
    rows = []
    for image, camera in cameras.items():
        (fx, fy), (cx, cy) = camera.focal.tolist(), camera.center.tolist()
        k = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
        pose = {"R": camera.rotation.tolist(), "t": camera.translation.tolist()}
        rows.append({"image": image, "K": k, **pose, "size": list(camera.size)})
    path.write_text(json.dumps({"unit": "m", "cameras": rows}, indent=1), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame()
    random = torch.Generator().manual_seed(4)
    person = replace(
        flame.zeros(),
        shape=torch.randn(flame.n_shape, generator=random),
        expression=0.3 * torch.randn(flame.n_expression, generator=random),
        jaw=torch.tensor([0.12, 0.0, 0.0]),
    )
    with torch.no_grad():
        truth = flame(person).vertices

    # Three cameras of one rig, and what a detector would see in them.
    cameras, photos, seen = {}, {}, []
    for name, yaw in (("left.png", -0.5), ("middle.png", 0.0), ("right.png", 0.5)):
        camera = orbit_camera(truth, SIZE, yaw=yaw, pitch=0.1)
        cameras[name] = camera
        photos[name] = render(truth, flame.faces, camera, colors=flame.paint, background=GREY).image
        write_image(out / name, photos[name])
        points = camera.project(flame.landmarks(truth, "mediapipe478"))
        noisy = points + NOISE * torch.randn(points.shape, generator=random)
        seen.append(Observation(noisy.numpy().astype(np.float64), "mediapipe478", SIZE))
    save_rig(out / "cameras.json", cameras)

    rig = read_camera_rig(out / "cameras.json")
    result = fit_views(flame, seen, [rig.of(name) for name in cameras])
    together = flame(result.fits[0].params).vertices
    one = fit_landmarks(flame, seen[1], focal=float(cameras["middle.png"].focal[0]))
    alone = flame(one.params).vertices
    print(result.status)

    # How far each vertex of the face is off, as it stands in the world and after a rigid alignment.
    face, pictures, captions = flame.regions["face"], [], []
    for (name, photo), fit in zip(photos.items(), result.fits, strict=True):
        pictures.append(wireframe(photo, together, flame.faces, fit.camera, color=(0.1, 0.35, 0.6), alpha=0.35))
        captions.append(name.removesuffix(".png"))
    for caption, head in (("middle photo alone", alone), ("three views", together)):
        error = vertex_error(head.numpy(), truth.numpy(), align="rigid", ids=face)
        millimetres = np.full(len(truth), math.nan)
        millimetres[face] = 1000 * error.distances
        print(f"{caption}: {np.nanmean(millimetres):.2f} mm on average over the face")
        colors = field_colors(millimetres, limits=(0.0, 5.0), colormap="heat")
        camera = orbit_camera(truth, SIZE, yaw=0.3)
        pictures.append(render(truth, flame.faces, camera, colors=colors, background=GREY).image)
        captions.append(f"{caption}: {np.nanmean(millimetres):.1f} mm off")
    write_image(out / "views.png", grid(pictures, captions=captions, columns=5))
    for name in (*photos, "cameras.json", "views.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
