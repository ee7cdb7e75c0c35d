"""Fit every pixel of a portrait: finer shape, albedo, light. `python examples/09_fit_by_pixels.py --out DIR`

The portrait is the one that comes with the package (NASA's of Eileen Collins, public domain); needs the extra `detect`.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib import resources
from pathlib import Path

import torch

from flamehead import fit_image, load_flame, read_image, save_image_fit, write_image
from flamehead.builtin import builtin_head
from flamehead.pipeline import PixelOptions
from flamehead.render import UNLIT, Texture, grid, orbit_camera, render

SIZE = (360, 420)
GREY = (0.89, 0.90, 0.91)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    flame = load_flame()
    with resources.as_file(resources.files("flamehead.cli") / "demo_data" / "astronaut.jpg") as photo:
        result = fit_image(photo, flame=flame, photometric=PixelOptions())
    assert result.pixels is not None
    before, after = result.pixels.result.before, result.pixels.result.after
    print(f"Inside the face: {before.psnr:.1f} dB before, {after.psnr:.1f} dB after; L1 {after.l1:.3f}")
    save_image_fit(result, out / "fit")

    # The head at rest, wearing the photo as its texture, from three sides. The photo's light is in the texture already.
    head = builtin_head()
    worn = Texture.of(read_image(out / "fit" / "photo_texture.png"), head.uv, head.uv_faces)
    names = builtin_head().expression_names
    rest = replace(flame.zeros(), shape=result.fit.params.shape)
    other = replace(rest, expression=torch.zeros(flame.n_expression))
    other.expression[[names.index("blink_left"), names.index("pucker")]] = 1.0
    pictures = []
    for params, yaw in ((rest, -0.6), (rest, 0.0), (rest, 0.6), (other, 0.0)):
        with torch.no_grad():
            vertices = flame(params).vertices
        camera = orbit_camera(vertices[flame.regions["face"]], SIZE, yaw=yaw, fill=0.66)
        pictures.append(
            render(vertices, flame.faces, camera, colors=worn, lighting=UNLIT, background=GREY, supersample=2).image
        )
    write_image(out / "pixels.png", grid(pictures, columns=4, color=GREY))
    # The sheet that belongs to every fit, at half its size: the mean of two by two pixels.
    sheet = read_image(out / "fit" / "overlay.png")
    sheet = sheet[: len(sheet) // 2 * 2, : sheet.shape[1] // 2 * 2]
    write_image(out / "pixels_overlay.png", sheet.reshape(len(sheet) // 2, 2, -1, 2, 3).mean(axis=(1, 3)))
    for name in ("fit/params.npz", "pixels.png", "pixels_overlay.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
