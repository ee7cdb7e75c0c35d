"""Draw the contact sheets of the built-in head for the documentation.

    python tools/make_head_sheet.py docs/images

Writes head_views.png, head_identities.png, head_expressions.png, head_regions.png, head_landmarks.png and
head_albedo.png.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import albedo_sheet
from flamehead.builtin import builtin_head
from flamehead.data import Camera, FlameParams
from flamehead.geometry.camera import project, world_to_camera
from flamehead.geometry.rotation import exp
from flamehead.model import Flame, load_flame
from flamehead.render import marks, render

BACKGROUND = (0.86, 0.87, 0.885)


def camera(yaw: float, pitch: float, *, center: tuple[float, float, float], reach: float, size: int) -> Camera:
    """Look at the head from the front after turning it; `reach` metres fill the picture."""
    turn = exp(torch.tensor([np.deg2rad(pitch), 0.0, 0.0]).float()) @ exp(
        torch.tensor([0.0, np.deg2rad(yaw), 0.0]).float()
    )
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn
    translation = -rotation @ torch.tensor(center) + torch.tensor([0.0, 0.0, 1.2])
    focal = torch.full((2,), 1.2 * size / reach)
    return Camera(rotation, translation, focal, torch.full((2,), size / 2.0), (size, size))


WHOLE = {"center": (0.0, -0.012, -0.045), "reach": 0.33}
FACE = {"center": (0.0, -0.012, 0.0), "reach": 0.22}


def shot(flame: Flame, params: FlameParams, yaw: float, pitch: float, *, size: int, colors=None, **frame) -> np.ndarray:
    with torch.no_grad():
        vertices = flame(params).vertices
    view = camera(yaw, pitch, size=size, **frame)
    return render(
        vertices, flame.faces, view, colors=flame.paint if colors is None else colors, background=BACKGROUND
    ).image


def labelled(image: np.ndarray, text: str) -> np.ndarray:
    picture = Image.fromarray((image * 255 + 0.5).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(11, picture.width // 17))
    draw.text((picture.width / 2, picture.height - 4), text, fill=(40, 42, 46), font=font, anchor="mb")
    return np.asarray(picture) / 255.0


def grid(pictures: list[np.ndarray], columns: int) -> Image.Image:
    size = pictures[0].shape[0]
    rows = -(-len(pictures) // columns)
    sheet = np.empty((rows * size, columns * size, 3))
    sheet[:] = BACKGROUND
    for k, picture in enumerate(pictures):
        r, c = divmod(k, columns)
        sheet[r * size : (r + 1) * size, c * size : (c + 1) * size] = picture
    return Image.fromarray((sheet * 255 + 0.5).astype(np.uint8))


def views(flame: Flame) -> Image.Image:
    angles = ((0, 0), (-30, 0), (-60, 0), (-90, 0), (-140, 0), (180, 0), (0, 25), (0, -25))
    return grid([shot(flame, flame.zeros(), y, p, size=400, **WHOLE) for y, p in angles], 4)


def identities(flame: Flame) -> Image.Image:
    generator = torch.Generator().manual_seed(3)
    pictures = []
    for k in range(12):
        shape = torch.randn(flame.n_shape, generator=generator)
        pictures.append(
            shot(flame, dataclasses.replace(flame.zeros(), shape=shape), (-25, 0, 25)[k % 3], 0, size=320, **WHOLE)
        )
    return grid(pictures, 6)


def expressions(flame: Flame) -> Image.Image:
    names = builtin_head().expression_names
    pictures = []
    for k, name in enumerate(names):
        if name.startswith("local_") or name.endswith("_right"):
            continue
        expression = torch.zeros(flame.n_expression)
        expression[k] = 1.0
        picture = shot(flame, dataclasses.replace(flame.zeros(), expression=expression), -15, 0, size=250, **FACE)
        pictures.append(labelled(picture, name))
    for text, jaw in (("jaw 0.15", 0.15), ("jaw 0.35", 0.35)):
        params = dataclasses.replace(flame.zeros(), jaw=torch.tensor([jaw, 0.0, 0.0]))
        pictures.append(labelled(shot(flame, params, -15, 0, size=250, **FACE), text))
    return grid(pictures, 7)


def regions(flame: Flame) -> Image.Image:
    pictures = []
    for name, ids in builtin_head().regions.items():
        colors = np.tile(np.array([[0.80, 0.78, 0.76]]), (len(flame.template), 1))
        colors[ids] = (0.93, 0.42, 0.20)
        back = name in ("neck", "scalp", "boundary", "hair")
        yaw = -130 if back else 40 if name.startswith("right_ear") else -40 if "ear" in name else -20
        params = flame.zeros()
        if name == "lip_inside":
            params = dataclasses.replace(params, jaw=torch.tensor([0.3, 0.0, 0.0]))
        frame = WHOLE if back or name in ("face", "left_ear", "right_ear", "forehead") else FACE
        pictures.append(labelled(shot(flame, params, yaw, 0, size=250, colors=colors, **frame), name))
    return grid(pictures, 7)


def landmarks(flame: Flame) -> Image.Image:
    pictures = []
    for scheme in ("ibug68", "mediapipe105", "mediapipe478"):
        for yaw in (0, -35):
            view = camera(yaw, 0, size=560, **FACE)
            points = flame.landmarks(flame(flame.zeros()).vertices, scheme)
            seen = project(world_to_camera(points, view.rotation, view.translation), view.focal, view.center)
            picture = shot(flame, flame.zeros(), yaw, 0, size=560, **FACE)
            picture = marks(picture, seen.numpy(), (0.15, 0.85, 0.40), radius=2.4)
            pictures.append(labelled(picture, f"{scheme}, {len(points)} points"))
    return grid(pictures, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    plain, toothed = load_flame(), load_flame(teeth=True)
    for name, picture in (
        ("views", views(plain)),
        ("identities", identities(plain)),
        ("expressions", expressions(toothed)),
        ("regions", regions(plain)),
        ("landmarks", landmarks(plain)),
        ("albedo", albedo_sheet.sheet(size=150)),
    ):
        picture.quantize(256, dither=Image.Dither.NONE).save(folder / f"head_{name}.png", optimize=True)
        print(f"wrote {folder / f'head_{name}.png'}")


if __name__ == "__main__":
    main()
