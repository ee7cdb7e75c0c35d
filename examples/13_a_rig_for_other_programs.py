"""An animated head as glTF, for Blender, three.js, Unity, Unreal.

`python examples/13_a_rig_for_other_programs.py --out DIR`
"""

from __future__ import annotations

import argparse
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import FlameParams, load_flame, write_image
from flamehead.builtin import builtin_head
from flamehead.export import build_rig, motion_of, write_gltf_rig
from flamehead.io import UvMap
from flamehead.model import load_texture
from flamehead.render import grid, orbit_camera, render

SIZE = (300, 340)
GREY = (0.89, 0.90, 0.91)
FRAMES, FPS = 50, 25


def frames(neutral: FlameParams) -> tuple[FlameParams, np.ndarray]:
    """Two seconds of one person, and the times."""
    names = builtin_head().expression_names
    times = np.arange(FRAMES) / FPS
    wave = torch.from_numpy(0.5 - 0.5 * np.cos(np.pi * times)).float()
    x, y = torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0])
    expression = torch.zeros(FRAMES, neutral.expression.shape[-1])
    for name in ("smile_left", "smile_right", "brow_raise_outer_left"):
        expression[:, names.index(name)] = wave
    moving = FlameParams(*(getattr(neutral, name).expand(FRAMES, -1) for name in neutral.__dataclass_fields__))
    turned = replace(moving, expression=expression, jaw=0.35 * wave[:, None] * x, neck=0.5 * wave[:, None] * y)
    return turned, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the file and the picture")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame, space, head = load_flame(), load_texture(n_components=0), builtin_head()
    shape = 0.8 * torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(7))
    params, times = frames(replace(flame.zeros(), shape=shape))
    uv_map = UvMap(head.uv, head.uv_faces, space(space.zeros()).clamp(0, 1).numpy())

    rig = build_rig(flame, params)
    write_gltf_rig(out / "head.glb", rig, motion_of(rig, params, times=times), uv_map=uv_map)

    # What is inside: a glb is a header of 12 bytes, then a chunk of JSON.
    content = (out / "head.glb").read_bytes()
    gltf = json.loads(content[20 : 20 + struct.unpack_from("<I", content, 12)[0]])
    targets = gltf["meshes"][0]["extras"]["targetNames"]
    print(f"{len(content) / 1e6:.1f} MB; joints {[gltf['nodes'][k]['name'] for k in gltf['skins'][0]['joints']]}")
    print(f"{len(targets)} morph targets: {', '.join(targets[:4])}, ..., {', '.join(targets[-2:])}")

    # The file does what the model does, to a micrometre: pose correctives are morph targets, too.
    with torch.no_grad():
        vertices = flame(params).vertices
    camera, shown = orbit_camera(vertices, SIZE, yaw=0.2), (0, 6, 12, 18, 25)
    pictures = [render(vertices[k], flame.faces, camera, colors=flame.paint, background=GREY).image for k in shown]
    write_image(out / "animation.png", grid(pictures, captions=[f"{times[k]:.2f} s" for k in shown], columns=5))
    for name in ("head.glb", "animation.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
