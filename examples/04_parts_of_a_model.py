"""Open a model, list its parts, show its masks and landmarks. `python examples/04_parts_of_a_model.py --out DIR`

With `--model PATH` it is a licensed FLAME file instead of the built-in head.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from flamehead import Flame, load_flame, write_image
from flamehead.render import UNLIT, marks, orbit_camera, region_paint, render, tile

SIZE = (420, 500)
GREY = (0.89, 0.90, 0.91)
BLUE = (0.36, 0.62, 0.85)
SHOWN = ("face", "scalp", "neck", "forehead", "eye_region", "nose", "lips", "left_ear", "right_ear")
"""Drawn one over the other, so the large ones come first."""


def list_parts(flame: Flame) -> None:
    """Print what the model consists of."""
    print(f"{flame.arrays.source}, fingerprint {flame.fingerprint}")
    print(f"{len(flame.template)} vertices, {len(flame.faces)} triangles, joints: root, neck, jaw, left and right eye")
    print(f"{flame.n_shape} identity and {flame.n_expression} expression components")
    for name, ids in sorted(flame.regions.items()):
        print(f"    region {name}: {len(ids)} vertices")
    for scheme, embedding in flame.embeddings.items():
        print(f"    landmarks {scheme}: {len(embedding.face_ids)} points on the surface")


def masks(flame: Flame, vertices: torch.Tensor, yaw: float) -> np.ndarray:
    """The regions as flat colours over a shaded head."""
    camera = orbit_camera(vertices, SIZE, yaw=yaw)
    names = [name for name in SHOWN if name in flame.regions]
    paint = region_paint(flame.faces, {name: flame.regions[name] for name in names})
    flat = render(vertices, flame.faces, camera, colors=paint, lighting=UNLIT, background=GREY).image
    lit = render(vertices, flame.faces, camera, colors=paint, background=GREY).image
    return 0.5 * flat + 0.5 * lit


def landmarks(flame: Flame, vertices: torch.Tensor, scheme: str, yaw: float) -> np.ndarray:
    """The landmarks of a scheme on a clay head; those on its far side are left out."""
    camera = orbit_camera(vertices, SIZE, yaw=yaw)
    clay = render(vertices, flame.faces, camera, background=GREY).image
    points = flame.landmarks(vertices, scheme)
    # Deeper than 3 cm behind the middle of the head: on the cheek that is turned away.
    front = camera.rotation[2] @ (points - vertices.mean(0)).T < 0.03
    pixels = camera.project(points)[front].numpy()
    return marks(clay, pixels, BLUE, radius=2.6 if len(points) < 200 else 1.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--model", type=Path, help="a FLAME file; by default the built-in head")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame(arguments.model)
    list_parts(flame)
    with torch.no_grad():
        vertices = flame(flame.zeros()).vertices
    tiles = [masks(flame, vertices, yaw) for yaw in (0.0, 0.9)] if flame.regions else []
    tiles += [landmarks(flame, vertices, name, 0.35) for name in ("ibug68", "mediapipe478") if name in flame.embeddings]
    write_image(out / "parts.png", tile(tiles, columns=4, background=GREY))
    print(f"Wrote {out / 'parts.png'}")


if __name__ == "__main__":
    main()
