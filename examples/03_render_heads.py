"""Render random heads and a turntable, without a display. `python examples/03_render_heads.py --out DIR`"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import Flame, load_flame, write_image
from flamehead.render import render, side_view, wireframe

SIZE = (300, 360)
GREY = (0.87, 0.88, 0.90)


def random_head(flame: Flame, seed: int) -> torch.Tensor:
    """Vertices of a random identity with a little expression."""
    generator = torch.Generator().manual_seed(seed)
    shape = 0.7 * torch.randn(flame.n_shape, generator=generator)
    expression = 0.12 * torch.randn(flame.n_expression, generator=generator)
    with torch.no_grad():
        return flame(replace(flame.zeros(), shape=shape, expression=expression)).vertices


def picture(flame: Flame, vertices: torch.Tensor, angle: float) -> np.ndarray:
    """The painted head on grey, seen from `angle` radians to its left."""
    camera = side_view(vertices, SIZE, angle=angle)
    return render(vertices, flame.faces, camera, colors=flame.paint, background=GREY).image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    flame = load_flame()

    heads = [random_head(flame, seed) for seed in (3, 6, 7, 12, 14)]
    write_image(out / "heads.png", np.hstack([picture(flame, head, 0.35) for head in heads]))

    angles = np.linspace(-math.pi / 2, math.pi / 2, 5)
    write_image(out / "turntable.png", np.hstack([picture(flame, heads[0], float(angle)) for angle in angles]))

    # Plain clay instead of paint, and the edges of the mesh over it.
    camera = side_view(heads[0], (600, 720), angle=0.5)
    clay = render(heads[0], flame.faces, camera, background=GREY).image
    edges = wireframe(clay, heads[0], flame.faces, camera, color=(0.15, 0.18, 0.22), alpha=0.5)
    write_image(out / "clay.png", edges)

    for name in ("heads.png", "turntable.png", "clay.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
