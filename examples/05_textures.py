"""The mean texture and what its components change. `python examples/05_textures.py --out DIR`"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from flamehead import load_flame, write_image
from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.render import Texture, orbit_camera, render, tile

SIZE = (240, 280)
GREY = (0.89, 0.90, 0.91)
SHOWN = ("lightness", "yellowness", "blush", "lip_redness", "brow_darkness", "eye_blueness")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame, albedo = load_flame(), builtin_albedo()
    print(f"{len(albedo.names)} components: {', '.join(albedo.names)}")
    with torch.no_grad():
        vertices = flame(flame.zeros()).vertices
    # Closer than a whole head: colours are to be seen.
    camera = orbit_camera(vertices[flame.regions["face"]], SIZE, yaw=0.3, fill=0.8)

    def head(coefficients: np.ndarray) -> np.ndarray:
        texture = Texture.of(decode(albedo, coefficients), albedo.uv, albedo.uv_faces)
        return render(vertices, flame.faces, camera, colors=texture, background=GREY).image

    # Above, each component at plus, below at minus two standard deviations.
    rows = []
    for amount in (2.0, -2.0):
        for name in SHOWN:
            coefficients = np.zeros(len(albedo.names))
            coefficients[albedo.names.index(name)] = amount
            rows.append(head(coefficients))
    write_image(out / "components.png", tile(rows, columns=len(SHOWN)))

    # The texture itself, beside the head that wears it, and three random ones.
    mean = decode(albedo, np.zeros(0))
    write_image(out / "texture.png", mean)
    random = [head(np.random.default_rng(seed).normal(size=len(albedo.names))) for seed in (2, 3, 4)]
    # The texture comes down to the height of a head by leaving out rows and columns.
    step = np.linspace(0, len(mean) - 1, SIZE[1]).round().astype(int)
    beside = [mean[step][:, step], head(np.zeros(0)), *random]
    write_image(out / "textures.png", np.hstack(beside))
    for name in ("texture.png", "textures.png", "components.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
