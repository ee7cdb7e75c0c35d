"""Draw the pictures of docs/rendering.md: `python tools/make_rendering_pictures.py [--out DIR]`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import flamehead
from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.render import (
    STUDIO,
    DirectionalLight,
    Lighting,
    PointLight,
    Texture,
    constant_light,
    draw,
    maps,
    normals_to_bytes,
    orbit_camera,
    render,
    tile,
)

SIZE = (280, 340)


def lights(vertices: torch.Tensor, faces: torch.Tensor, texture: Texture) -> np.ndarray:
    """The studio, one light from the side, and a lamp close by."""
    camera = orbit_camera(vertices, SIZE, yaw=0.4)
    dim = (0.08, 0.08, 0.1)
    side = Lighting((DirectionalLight((-1.0, -0.3, 0.2), (1.0, 0.9, 0.75)),), dim, dim)
    middle = camera.rotation @ vertices.mean(0) + camera.translation
    near = middle + torch.tensor([0.12, -0.1, -0.16])
    lamp = Lighting((PointLight(tuple(near.tolist()), (0.035, 0.025, 0.02)),), dim, dim)
    pictures = (
        render(vertices, faces, camera, colors=texture, lighting=each, background=(0.93, 0.93, 0.93)).image
        for each in (STUDIO, side, lamp)
    )
    return tile(pictures, columns=3)


def channels(vertices: torch.Tensor, faces: torch.Tensor, texture: Texture) -> np.ndarray:
    """Depth, normals, texture coordinates."""
    camera = orbit_camera(vertices, SIZE, yaw=0.4)
    seen = maps(vertices, faces, camera, want=["depth", "normals", "uv"], uv=texture)
    assert seen.depth is not None and seen.normals is not None and seen.uv is not None
    inside = np.isfinite(seen.depth)
    near, far = seen.depth[inside].min(), seen.depth[inside].max()
    depth = np.where(inside, 1.0 - 0.85 * (np.where(inside, seen.depth, far) - near) / (far - near), 0.0)
    uv = np.nan_to_num(np.concatenate([seen.uv, np.full((*inside.shape, 1), 0.4)], axis=2)) * inside[..., None]
    return tile([np.repeat(depth[..., None], 3, axis=2), normals_to_bytes(seen.normals) / 255.0, uv], columns=3)


def gradients(vertices: torch.Tensor, faces: torch.Tensor, texture: Texture) -> np.ndarray:
    """A picture under coloured light, the one of a grey start, and the texture that 60 steps find from it."""
    camera = orbit_camera(vertices, SIZE)
    light = constant_light(torch.tensor([0.75, 0.7, 0.65]))
    light[1] += torch.tensor([0.25, 0.1, -0.05])
    light[3] += 0.2
    wanted = draw(vertices, faces, camera, albedo=texture, light=light)
    image = torch.full_like(texture.image, 0.5).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.03)
    shown = []
    for _ in range(60):
        drawn = draw(vertices, faces, camera, albedo=replace(texture, image=image), light=light)
        shown.append(drawn.image.detach())
        optimizer.zero_grad()
        (drawn.image - wanted.image).square().sum().backward()
        optimizer.step()
    flat = constant_light(torch.ones(3))
    side = orbit_camera(vertices, SIZE, yaw=0.5)
    found = draw(vertices, faces, side, albedo=replace(texture, image=image.detach().clamp(0, 1)), light=flat)
    pictures = [wanted.image, shown[0], shown[-1], found.image]
    return tile([np.clip(picture.numpy(), 0.0, 1.0) for picture in pictures], columns=4)


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    flame, albedo = flamehead.load_flame(), builtin_albedo()
    vertices = flame(flame.zeros()).vertices.detach()
    texture = Texture.of(decode(albedo, np.zeros(1)), albedo.uv, albedo.uv_faces)
    for name, picture in (("lights", lights), ("maps", channels), ("draw", gradients)):
        path = out / f"rendering_{name}.png"
        flamehead.write_image(path, picture(vertices, flame.faces, texture).astype(np.float32))
        print(f"Wrote {path}")


if __name__ == "__main__":
    main()
