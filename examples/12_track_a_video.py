"""Track a short video whose truth is known. `python examples/12_track_a_video.py --out DIR` (needs the extra `detect`)

The video is a folder of renderings: a random person turns, opens the mouth and comes nearer.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from flamehead import Camera, Flame, FlameParams, load_flame, track_video, write_image
from flamehead.builtin import builtin_head
from flamehead.evaluate import vertex_error
from flamehead.model import load_texture
from flamehead.render import Texture, field_colors, grid, render
from flamehead.track import TrackSettings

SIZE = 320
FRAMES, FPS = 24, 12
GREY = (0.66, 0.70, 0.74)


def performance(flame: Flame) -> FlameParams:
    """One person in front of a camera at the origin that looks along -z, one row per frame."""
    names = builtin_head().expression_names
    t = torch.linspace(0, 1, FRAMES)
    params = flame.zeros(batch=(FRAMES,))
    params.shape[:] = 0.7 * torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(12))
    params.root[:, 1] = 0.5 * torch.sin(2 * torch.pi * t)
    params.root[:, 0] = 0.1 * torch.sin(4 * torch.pi * t)
    params.jaw[:, 0] = 0.15 * (1 - torch.cos(4 * torch.pi * t)) / 2
    for side in ("smile_left", "smile_right"):
        params.expression[:, names.index(side)] = (1 - torch.cos(2 * torch.pi * t)) / 2
    with torch.no_grad():
        middle = flame(flame.zeros()).vertices.mean(0)
    place = torch.stack([0 * t, 0 * t, -0.75 + 0.1 * torch.sin(torch.pi * t)], dim=1)
    return replace(params, translation=place - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    out: Path = parser.parse_args().out
    (out / "frames").mkdir(parents=True, exist_ok=True)

    flame, space, head = load_flame(), load_texture(n_components=0), builtin_head()
    texture = Texture.of(space(space.zeros()).clamp(0, 1).numpy(), head.uv, head.uv_faces)
    truth = performance(flame)
    looks_along_minus_z = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    focal, center = torch.full((2,), 2.4 * SIZE), torch.full((2,), SIZE / 2)
    camera = Camera(looks_along_minus_z, torch.zeros(3), focal, center, (SIZE, SIZE))
    with torch.no_grad():
        vertices = flame(truth).vertices
    frames = [render(frame, flame.faces, camera, colors=texture, background=GREY).image for frame in vertices]
    for k, frame in enumerate(frames):
        write_image(out / "frames" / f"{k:03d}.png", frame)

    # An earlier run in the same folder would be gone on with; these frames are new.
    settings = TrackSettings(keyframes=4)
    track = track_video(
        out / "frames", out / "track", flame=flame, fps=FPS, focal=2.4 * SIZE, settings=settings, restart=True
    )
    with torch.no_grad():
        found = flame(track.params, eyelids=track.eyelids).vertices
    error = torch.rad2deg((track.params.root + track.params.neck - truth.root)[:, 1]).abs()
    jaw = torch.rad2deg(track.params.jaw[:, 0] - truth.jaw[:, 0]).abs()
    print(f"{int(track.tracked.sum())} of {len(track)} frames tracked")
    print(f"Yaw is off by {float(error.mean()):.1f} degrees, the jaw by {float(jaw.mean()):.1f}, on average.")

    # Above the video, in the middle the track, below how far each vertex of the face is off.
    face = flame.regions["face"]
    rows: list[list[np.ndarray]] = [[], [], []]
    for k in range(0, FRAMES, FRAMES // 6):
        off = vertex_error(found[k].numpy(), vertices[k].numpy(), align="rigid", ids=face).distances
        millimetres = np.full(len(found[k]), np.nan)
        millimetres[face] = 1000 * off
        heat = field_colors(millimetres, limits=(0.0, 5.0), colormap="heat")
        rows[0].append(frames[k])
        rows[1].append(render(found[k], flame.faces, camera, colors=flame.paint, background=GREY).image)
        rows[2].append(render(found[k], flame.faces, camera, colors=heat, background=GREY).image)
    write_image(out / "tracked.png", grid([*rows[0], *rows[1], *rows[2]], columns=len(rows[0]), gap=4))
    for name in ("track/track.npz", "track/report.json", "tracked.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
