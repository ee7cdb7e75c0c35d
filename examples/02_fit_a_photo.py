"""Fit the built-in head to a photo and use the result. `python examples/02_fit_a_photo.py --out DIR`

With MediaPipe (`pip install flamehead[detect]`) the photo is the portrait that comes with the package. Without it, a
picture of the head itself is fitted, with its landmarks from a file, as those of any other detector would be.
"""

from __future__ import annotations

import argparse
import importlib.util
from dataclasses import replace
from importlib import resources
from pathlib import Path

import torch

from flamehead import Camera, Flame, fit_image, load_flame, load_params, save_image_fit, write_image
from flamehead.geometry.camera import project, world_to_camera
from flamehead.io import write_landmarks
from flamehead.render import render


def make_photo(flame: Flame, folder: Path) -> tuple[Path, Path]:
    """A rendered head as the photo, and the file with its landmarks."""
    turned = replace(flame.zeros(), root=torch.tensor([0.05, 0.35, 0.0]), jaw=torch.tensor([0.15, 0.0, 0.0]))
    vertices = flame(turned).vertices
    # The camera stands one metre in front of the face: OpenCV's x and z axes, y down.
    axes = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    camera = Camera(axes, torch.tensor([0.0, 0.0, 1.0]), torch.full((2,), 900.0), torch.full((2,), 256.0), (512, 512))
    picture = render(vertices, flame.faces, camera, colors=flame.paint, background=(0.85, 0.86, 0.88))
    write_image(folder / "photo.png", picture.image)
    points = world_to_camera(flame.landmarks(vertices, "mediapipe478"), camera.rotation, camera.translation)
    seen = project(points, camera.focal, camera.center).numpy()
    write_landmarks(folder / "seen.npz", detected=seen, scheme="mediapipe478", size=camera.size)
    return folder / "photo.png", folder / "seen.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    flame = load_flame()

    if importlib.util.find_spec("mediapipe"):
        with resources.as_file(resources.files("flamehead.cli") / "demo_data" / "astronaut.jpg") as photo:
            result = fit_image(photo, flame=flame)
    else:
        photo, landmarks = make_photo(flame, out)
        result = fit_image(photo, flame=flame, landmarks=landmarks)

    report = save_image_fit(result, out / "fit")
    print(result.fit.status)
    print(f"Landmark error: {report['landmark_error_percent']:.2f} % of the eye distance")

    # Later, or in another program: the parameters again, checked against the model they belong to.
    saved = load_params(out / "fit" / "params.npz")
    assert saved.fingerprint == flame.fingerprint
    frontal = flame(replace(saved.params, root=torch.zeros(3))).vertices
    print(f"The same face turned to the front has {len(frontal)} vertices.")
    for path in sorted((out / "fit").iterdir()):
        print(f"Wrote {path}")


if __name__ == "__main__":
    main()
