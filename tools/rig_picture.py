"""The picture of docs/rigs.md: the model beside its own .glb, evaluated by the reader that the tests use.

`python tools/rig_picture.py --out docs/images/rig.png`
"""

from __future__ import annotations

import argparse
import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from flamehead import Flame, FlameParams, load_flame, write_image
from flamehead.builtin import builtin_head
from flamehead.export import build_rig, motion_of, write_gltf_rig
from flamehead.io import UvMap
from flamehead.model import load_texture
from flamehead.render import Texture, field_colors, grid, orbit_camera, render

SIZE = (300, 330)
GREY = (0.9, 0.91, 0.92)
READER = Path(__file__).parents[1] / "tests/export/conftest.py"
FAR = 2e-3
"""Metres at which the picture of differences is brightest."""


def reader() -> ModuleType:
    """The evaluator written from the glTF specification."""
    spec = importlib.util.spec_from_file_location("gltf_reader", READER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def frames(neutral: FlameParams) -> FlameParams:
    """Four frames of one person: at rest, open, looking aside, smiling over a turned neck."""
    names = builtin_head().expression_names
    count = 4
    expression = torch.zeros(count, neutral.expression.shape[-1])
    for frame, name, amount in [(1, "brow_raise_inner", 1.0), (2, "pucker", 1.0), (3, "smile", 1.2)]:
        rows = [row for row, known in enumerate(names) if known.startswith(name)]
        expression[frame, rows] = amount
    eyes = torch.tensor([[0.0, 0, 0], [0, 0, 0], [-0.1, 0.45, 0], [0, 0, 0]])
    shape = 0.8 * torch.randn(neutral.shape.shape[-1], generator=torch.Generator().manual_seed(7))
    return FlameParams(
        shape=shape.expand(count, -1),
        expression=expression,
        root=torch.zeros(count, 3),
        neck=torch.tensor([[0.0, 0, 0], [0.0, 0, 0], [0, 0, 0.2], [0.1, 0.5, 0]]),
        jaw=torch.tensor([[0.0, 0, 0], [0.4, 0, 0], [0, 0, 0], [0.12, 0, 0]]),
        left_eye=eyes,
        right_eye=eyes,
        translation=torch.zeros(count, 3),
    )


def evaluated(flame: Flame, params: FlameParams, uv_map: UvMap, *, correctives: bool) -> torch.Tensor:
    """The vertices of every frame as another program would have them from the file, in the model's order."""
    rig = build_rig(flame, params, correctives=correctives)
    path = Path(tempfile.mkdtemp()) / "head.glb"
    write_gltf_rig(path, rig, motion_of(rig, params), uv_map=uv_map)
    file = reader().Gltf.read(path)
    rows = np.zeros(len(rig.vertices), dtype=np.int64)
    rows[file.flame_rows] = np.arange(len(file.flame_rows))
    points = np.stack([file.vertices(k / 25)[rows] for k in range(len(params.root))])
    return torch.from_numpy(points).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the picture")
    out: Path = parser.parse_args().out
    flame, space = load_flame(), load_texture(n_components=0)
    head, picture = builtin_head(), space(space.zeros()).clamp(0, 1).numpy()
    params = frames(flame.zeros())
    uv_map = UvMap(head.uv, head.uv_faces, picture)
    whole, plain = (evaluated(flame, params, uv_map, correctives=correctives) for correctives in (True, False))

    texture = Texture.of(picture, head.uv, head.uv_faces)
    wanted = flame(params).vertices
    camera = orbit_camera(wanted[0], SIZE, yaw=0.35)
    top, middle, bottom = [], [], []
    for k in range(len(wanted)):
        missed, distance = ((found[k] - wanted[k]).norm(dim=1).numpy() for found in (whole, plain))
        print(f"frame {k}: off by {1e3 * missed.max():.5f} mm, without correctives by {1e3 * distance.max():.2f} mm")
        top.append(render(wanted[k], flame.faces, camera, colors=texture, background=GREY).image)
        middle.append(render(whole[k], flame.faces, camera, colors=texture, background=GREY).image)
        colors = field_colors(distance, limits=(0.0, FAR), colormap="heat")
        bottom.append(render(plain[k], flame.faces, camera, colors=colors, background=GREY).image)
    captions = ["model"] * 4 + ["the .glb"] * 4 + [f"no correctives: 0-{1e3 * FAR:g} mm off"] * 4
    write_image(out, grid([*top, *middle, *bottom], captions=captions, columns=4))
    print(f"Wrote {out}")


if __name__ == "__main__":
    main()
