"""Head parameters as ARKit's 52 coefficients, and back. `python examples/14_arkit_curves.py --out DIR`"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from flamehead import load_flame, write_image
from flamehead.export import arkit_index, arkit_rig, arkit_take, from_arkit, to_arkit, write_live_link
from flamehead.render import Curve, grid, orbit_camera, render, timeline

SIZE = (240, 270)
GREY = (0.89, 0.90, 0.91)
FRAMES, FPS = 48, 24
SHOWN = (4, 14, 22, 30, 42)
PEAKS = {
    # Coefficient: second at which it is 1, and how long it takes to come and go.
    "mouthSmileLeft": (0.2, 0.5),
    "mouthSmileRight": (0.35, 0.5),
    "jawOpen": (0.9, 0.5),
    "browInnerUp": (0.9, 0.5),
    "eyeBlinkLeft": (1.25, 0.25),
    "mouthPucker": (1.75, 0.5),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the table and the picture")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    times = np.arange(FRAMES) / FPS
    played = np.zeros((FRAMES, 52))
    for name, (second, width) in PEAKS.items():
        played[:, arkit_index(name)] = np.clip(1 - np.abs(times - second) / width, 0, 1) ** 0.7

    # Coefficients become a head, and the head becomes coefficients again, by a bounded least-squares solve.
    flame = load_flame()
    rig = arkit_rig(flame)
    params, eyelids = from_arkit(rig, played)
    fit = to_arkit(rig, params, eyelids=eyelids)
    print(f"The round trip is off by {np.abs(fit.coefficients - played).mean():.4f} on average,")
    print(f"and leaves at most {fit.residual_mm.max():.2f} mm of a frame unexplained.")
    write_live_link(out / "take.csv", arkit_take(fit, params, fps=float(FPS)))

    vertices = flame(params, eyelids=eyelids).vertices
    camera = orbit_camera(vertices, SIZE, yaw=0.15)
    heads = [render(vertices[k], flame.faces, camera, colors=flame.paint, background=GREY).image for k in SHOWN]
    strip = grid(heads, captions=[f"{times[k]:.2f} s" for k in SHOWN], columns=len(SHOWN), gap=8)
    curves = [Curve(name, fit.coefficients[:, arkit_index(name)]) for name in PEAKS]
    chart = timeline(times, curves, width=strip.shape[1], height=90, lines=[float(times[k]) for k in SHOWN])
    write_image(out / "arkit.png", np.concatenate([strip, chart]))
    for name in ("take.csv", "arkit.png"):
        print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
