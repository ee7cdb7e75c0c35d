"""Picture of the built-in head's albedo: mean looks, the UV layout over its texture, each component at -2 and +2.

python tools/albedo_sheet.py albedo.png
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageDraw, ImageFont

from flamehead.builtin import builtin_head
from flamehead.builtin.albedo_space import BuiltinAlbedo, builtin_albedo, decode
from flamehead.render import render, side_view

BACKGROUND = (0.82, 0.84, 0.87)
Pixels = Float[np.ndarray, "H W 3"]


def texture_colors(
    albedo: BuiltinAlbedo, texture: Pixels
) -> Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]:
    """Bilinear look-up of a texture, as `render` wants its colours."""
    size = len(texture)

    def colors(face_ids: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        uv = np.einsum("nk,nkc->nc", barycentric, albedo.uv[albedo.uv_faces[face_ids]])
        x = np.clip(uv[:, 0] * size - 0.5, 0.0, size - 1.001)
        y = np.clip((1.0 - uv[:, 1]) * size - 0.5, 0.0, size - 1.001)
        column, row = x.astype(int), y.astype(int)
        across, down = (x - column)[:, None], (y - row)[:, None]
        top = texture[row, column] * (1.0 - across) + texture[row, column + 1] * across
        bottom = texture[row + 1, column] * (1.0 - across) + texture[row + 1, column + 1] * across
        return top * (1.0 - down) + bottom * down

    return colors


class _Studio:
    """Renders the neutral head with one texture or another."""

    def __init__(self, albedo: BuiltinAlbedo) -> None:
        arrays = builtin_head().arrays
        self.albedo = albedo
        self.vertices = torch.from_numpy(arrays.template).float()
        self.faces = torch.from_numpy(arrays.faces.astype(np.int64))

    def __call__(self, texture: Pixels, size: int, *, angle: float = 0.0, face_only: bool = False) -> Pixels:
        seen = self.vertices[self.vertices[:, 1] > -0.095] if face_only else self.vertices
        camera = side_view(seen, (size, size), angle=angle, fill=0.96)
        colors = texture_colors(self.albedo, texture)
        return render(self.vertices, self.faces, camera, colors=colors, background=BACKGROUND).image


def uv_picture(albedo: BuiltinAlbedo, size: int) -> Image.Image:
    """The layout's edges over the mean texture."""
    picture = _image(decode(albedo, np.zeros(0))).resize((size, size), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(picture, "RGBA")
    for corners in (albedo.uv * [size, -size] + [0.0, size])[albedo.uv_faces]:
        pen.line([tuple(p) for p in corners[[0, 1, 2, 0]]], fill=(255, 255, 255, 90))
    return picture


def components_picture(albedo: BuiltinAlbedo, studio: _Studio, *, size: int, columns: int) -> Image.Image:
    """Each component at -2 and +2 standard deviations, side by side under its name."""
    rows = math.ceil(len(albedo.names) / columns)
    gap, title = 8, 18
    picture = Image.new("RGB", (columns * (2 * size + gap), rows * (size + title)), "white")
    pen = ImageDraw.Draw(picture)
    for k, name in enumerate(albedo.names):
        x, y = (k % columns) * (2 * size + gap), (k // columns) * (size + title)
        pen.text((x + 4, y + 2), f"{name}: -2, +2", fill="black", font=ImageFont.load_default(12))
        for side, amount in enumerate((-2.0, 2.0)):
            texture = decode(albedo, amount * np.eye(len(albedo.names))[k])
            picture.paste(_image(studio(texture, size, face_only=True)), (x + side * size, y + title))
    return picture


def random_picture(albedo: BuiltinAlbedo, studio: _Studio, *, size: int, count: int) -> Image.Image:
    """Random looks, N(0, 1)."""
    rng = np.random.default_rng(5)
    draws = rng.standard_normal((count, len(albedo.names)))
    return _beside([_image(studio(decode(albedo, draw), size, face_only=True, angle=0.35)) for draw in draws])


def sheet(*, size: int) -> Image.Image:
    """Everything, one below the other."""
    albedo = builtin_albedo()
    studio = _Studio(albedo)
    mean, big = decode(albedo, np.zeros(0)), int(2.6 * size)
    views = [_image(studio(mean, big, angle=angle)) for angle in (0.0, 0.6, math.pi / 2, math.pi)]
    specular = np.clip(8.0 * albedo.mean_specular, 0.0, 1.0)
    textures = [uv_picture(albedo, big), _image(mean).resize((big, big)), _image(specular).resize((big, big))]
    parts = [
        _beside(views),
        _beside(textures),
        components_picture(albedo, studio, size=size, columns=5),
        random_picture(albedo, studio, size=size, count=10),
    ]
    picture = Image.new("RGB", (max(p.width for p in parts), sum(p.height + 8 for p in parts)), "white")
    y = 0
    for part in parts:
        picture.paste(part, (0, y))
        y += part.height + 8
    return picture


def _image(pixels: Pixels) -> Image.Image:
    return Image.fromarray((255.0 * np.clip(pixels, 0.0, 1.0) + 0.5).astype(np.uint8))


def _beside(images: list[Image.Image]) -> Image.Image:
    out = Image.new("RGB", (sum(image.width for image in images), max(image.height for image in images)), "white")
    x = 0
    for image in images:
        out.paste(image, (x, 0))
        x += image.width
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", type=int, default=200, help="pixels of one small picture")
    arguments = parser.parse_args()
    sheet(size=arguments.size).save(arguments.picture)


if __name__ == "__main__":
    main()
