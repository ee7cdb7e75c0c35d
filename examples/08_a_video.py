"""A head that talks, looks around and turns, as a video. `python examples/08_a_video.py --out DIR`

With the extra `video` it is an mp4 (H.264, encoded by PyAV), without it a gif of fewer frames.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
import torch

from flamehead import Flame, FlameParams, load_flame, write_image
from flamehead.builtin import builtin_head
from flamehead.io import write_video
from flamehead.render import orbit_camera, render, tile

SIZE = (320, 360)
GREY = (0.89, 0.90, 0.91)
SECONDS, FPS = 6.0, 15
KEYS = {
    # Component: (time, amount) pairs, joined by smooth curves.
    "smile": ((0.3, 0), (0.9, 1.2), (1.6, 1.2), (2.1, 0), (5.0, 0), (5.5, 0.7), (6.0, 0)),
    "brow_raise_inner": ((1.9, 0), (2.3, 1.0), (3.0, 0)),
    "brow_raise_outer": ((1.9, 0), (2.3, 1.0), (3.0, 0)),
    "pucker": ((2.4, 0), (2.8, 1.0), (3.3, 0.0)),
    "brow_lower": ((3.6, 0), (4.0, 1.0), (4.6, 0)),
    "nose_wrinkle": ((3.6, 0), (4.0, 0.8), (4.6, 0)),
    "blink": ((1.7, 0), (1.78, 1), (1.9, 0), (4.7, 0), (4.78, 1), (4.9, 0)),
}
JAW = ((2.0, 0), (2.35, 0.28), (2.6, 0.03), (2.9, 0.05), (3.2, 0.3), (3.6, 0.0))
YAW = ((0, -0.3), (1.5, 0.25), (3.0, 0.0), (4.3, -0.5), (6.0, -0.3))
GAZE = ((0.5, 0), (0.7, 0.25), (1.5, 0.25), (1.7, 0), (3.8, 0), (4.0, 0.45), (4.6, 0.45), (4.8, 0))


def curve(keys: tuple[tuple[float, float], ...], times: np.ndarray) -> torch.Tensor:
    """Values at the times; between two keys s^2 (3 - 2 s), which starts and ends at rest."""
    at, values = np.array(keys, dtype=float).T
    row = np.clip(np.searchsorted(at, times, side="right") - 1, 0, len(at) - 2)
    s = np.clip((times - at[row]) / (at[row + 1] - at[row]), 0.0, 1.0)
    mixed = values[row] + s * s * (3 - 2 * s) * (values[row + 1] - values[row])
    return torch.from_numpy(mixed.astype(np.float32))


def performance(flame: Flame, times: np.ndarray) -> FlameParams:
    """One person, one row of parameters for each time."""
    names = builtin_head().expression_names
    params = flame.zeros(batch=(len(times),))
    params.shape[:] = 0.7 * torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(12))
    for name, keys in KEYS.items():
        both = [name] if name in names else [f"{name}_left", f"{name}_right"]
        for each in both:
            params.expression[:, names.index(each)] = curve(keys, times)
    params.jaw[:, 0] = curve(JAW, times)
    params.neck[:, 1] = curve(YAW, times)
    params.left_eye[:, 1] = params.right_eye[:, 1] = curve(GAZE, times)
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the video and a strip of its frames")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    mp4 = importlib.util.find_spec("av") is not None
    fps = FPS if mp4 else 5
    flame = load_flame(teeth=True)
    with torch.no_grad():
        vertices = flame(performance(flame, np.arange(round(SECONDS * fps)) / fps)).vertices
    camera = orbit_camera(vertices, SIZE, fill=0.95)
    pictures = [render(frame, flame.faces, camera, colors=flame.paint, background=GREY).image for frame in vertices]

    path = out / ("performance.mp4" if mp4 else "performance.gif")
    write_video(path, pictures, fps=fps)
    strip = [pictures[round(second * fps)] for second in (0, 1.2, 2.3, 2.8, 4.1)]
    write_image(out / "performance.png", tile(strip, columns=5))
    print(f"Wrote {path}")
    print(f"Wrote {out / 'performance.png'}")


if __name__ == "__main__":
    main()
