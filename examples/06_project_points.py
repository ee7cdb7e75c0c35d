"""Project points with K, and with the cameras of other programs. `python examples/06_project_points.py --out DIR`"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from flamehead import load_flame, write_image
from flamehead.formats import (
    camera_to_opengl_matrices,
    camera_to_pytorch3d_ndc,
    camera_to_weak_perspective,
    flatten_camera,
    opencv_to_camera,
)
from flamehead.render import marks, render, tile

SIZE = (480, 560)
GREY = (0.89, 0.90, 0.91)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the picture")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    # In float64, so that the conventions can be compared to the last digits.
    flame = load_flame(dtype=torch.float64)
    with torch.no_grad():
        turned = replace(flame.zeros(), neck=torch.tensor([0.05, 0.35, 0.0]).double())
        vertices = flame(turned).vertices
    points = flame.landmarks(vertices, "mediapipe105")

    # OpenCV: x_camera = R x + t, then K. The camera stands 0.7 m in front of the face, y down.
    width, height = SIZE
    k = torch.tensor([[1150.0, 0.0, width / 2], [0.0, 1150.0, height / 2], [0.0, 0.0, 1.0]]).double()
    r = torch.diag(torch.tensor([1.0, -1.0, -1.0])).double()
    t = torch.tensor([0.0, -0.02, 0.7]).double()
    homogeneous = (points @ r.T + t) @ k.T
    by_hand = homogeneous[:, :2] / homogeneous[:, 2:]

    camera = opencv_to_camera(r, t, k, size=SIZE)
    pixels = camera.project(points)
    print(f"Camera.project and K by hand differ by {float((pixels - by_hand).abs().max()):.1e} pixels.")

    # The same camera for OpenGL: clip = projection view x, normalised coordinates y up.
    view, projection = camera_to_opengl_matrices(camera, near=0.1, far=10.0)
    clip = torch.cat([points, torch.ones(len(points), 1).double()], dim=1) @ (projection @ view).T
    ndc = clip[:, :2] / clip[:, 3:]
    gl = torch.stack([(ndc[:, 0] + 1) / 2 * width, (1 - ndc[:, 1]) / 2 * height], dim=1)
    print(f"OpenGL's matrices differ by {float((gl - pixels).abs().max()):.1e} pixels.")

    # And for PyTorch3D: row vectors, x left and y up, the shorter side spans [-1, 1].
    rotation, translation, focal, principal = camera_to_pytorch3d_ndc(camera)
    seen = points @ rotation + translation
    ndc = focal * seen[:, :2] / seen[:, 2:] + principal
    p3d = torch.tensor([width / 2, height / 2]) - min(SIZE) / 2 * ndc
    print(f"PyTorch3D's camera differs by {float((p3d - pixels).abs().max()):.1e} pixels.")
    assert max(float((other - pixels).abs().max()) for other in (by_hand, gl, p3d)) < 1e-9

    # Weak perspective has no depth: near the face's own depth it is close, elsewhere the head looks flatter.
    depth = float((points @ r.T + t)[:, 2].mean())
    parallel = flatten_camera(camera, depth)
    off = (parallel.project(points) - pixels).norm(dim=1)
    print(f"Weak perspective is off by {float(off.mean()):.1f} pixels on average, {float(off.max()):.1f} at most.")
    square = replace(parallel, size=(height, height), center=torch.full((2,), height / 2).double())
    print(f"As (s, tx, ty) of a square crop: {[round(x, 3) for x in camera_to_weak_perspective(square).tolist()]}")

    pictures = []
    for each, color in ((camera, (0.20, 0.75, 0.35)), (parallel, (0.95, 0.30, 0.30))):
        image = render(vertices, flame.faces, each, colors=flame.paint, background=GREY).image
        pictures.append(marks(image, each.project(points).numpy(), color, radius=2.4))
    write_image(out / "projected.png", tile(pictures, columns=2))
    print(f"Wrote {out / 'projected.png'}")


if __name__ == "__main__":
    main()
