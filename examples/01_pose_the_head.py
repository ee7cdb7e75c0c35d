"""Open the jaw, smile, turn: parameters become meshes and a picture. `python examples/01_pose_the_head.py --out DIR`"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from flamehead import load_flame, write_image
from flamehead.builtin import builtin_head
from flamehead.io import write_obj
from flamehead.render import orbit_camera, render, tile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the meshes and the picture")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame()
    print(f"{flame.arrays.source}: {flame.n_shape} identity and {flame.n_expression} expression components")

    # A batch of three heads: at rest, with an open jaw, and one that smiles and looks to its left.
    names = builtin_head().expression_names
    params = flame.zeros(batch=(3,))
    params.jaw[1, 0] = 0.3
    params.expression[2, [names.index("smile_left"), names.index("smile_right")]] = 1.0
    params = replace(params, root=torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.5, 0.0]]))

    output = flame(params)
    chin = flame.landmarks(output.vertices, "ibug68")[:, 8]
    print(f"The open jaw lowers the chin by {1000 * float(chin[0, 1] - chin[1, 1]):.0f} mm.")

    # Everything is differentiable: how far does the chin move per radian of jaw?
    jaw = torch.zeros(3, requires_grad=True)
    vertices = flame(replace(flame.zeros(), jaw=jaw)).vertices
    flame.landmarks(vertices, "ibug68")[8, 1].backward()
    assert jaw.grad is not None
    print(f"At rest it would sink by {-1000 * float(jaw.grad[0]):.0f} mm per radian.")

    for name, posed in zip(("rest", "open", "smile"), output.vertices, strict=True):
        path = out / f"{name}.obj"
        write_obj(path, posed.numpy(), flame.faces.numpy(), colors=flame.colors)
        print(f"Wrote {path}")

    # One camera for all three, so that they can be compared.
    camera = orbit_camera(output.vertices, (340, 400))
    heads = [render(v, flame.faces, camera, colors=flame.paint, background=(0.89, 0.9, 0.91)) for v in output.vertices]
    write_image(out / "posed.png", tile([head.image for head in heads], columns=3))
    print(f"Wrote {out / 'posed.png'}")


if __name__ == "__main__":
    main()
