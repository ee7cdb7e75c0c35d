"""How fast triangles become pixels: `python benchmarks/raster.py [--peers FOLDER] [--quick] [--json FILE]`.

The built-in head (9,976 triangles) fills 60 % of a square picture; every frame has new vertices, and face ids, depth
and perspective-correct barycentrics are wanted. Beside `flamehead.raster.rasterize`, with and without culling on one
and two threads, run the renderers that PyPI has, in the same rounds: pyrender on EGL and on OSMesa, Open3D and embreex
with their trees rebuilt, pyvista. FOLDER holds an environment for each, named like it, made with
`python -m venv FOLDER/NAME; FOLDER/NAME/bin/pip install -r benchmarks/peers/NAME.txt` (pyrender: its file says how).
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from _common import machine, options, write_figures
from flamehead.geometry.camera import project
from flamehead.model import load_flame
from flamehead.raster import rasterize

WORKER = Path(__file__).parent / "peers/raster_worker.py"
PEERS = ("open3d", "embreex", "pyrender-egl", "pyrender-osmesa", "pyvista")
SIZES = (256, 512, 1024)
OURS = tuple((cull, threads) for cull in (True, False) for threads in (1, 2))


@dataclass(frozen=True)
class Scene:
    """The head in front of a camera that looks along +z."""

    vertices: torch.Tensor
    faces: torch.Tensor
    focal: float
    """In widths of the picture; the centre is 0.5."""

    def points(self, size: int, frame: int) -> torch.Tensor:
        """A frame's vertices on the picture."""
        moved = self.vertices + 1e-3 * torch.sin(frame + torch.arange(3.0))
        flat = project(moved, torch.full((2,), self.focal * size), torch.full((2,), 0.5 * size))
        return torch.cat([flat, moved[:, 2:]], dim=1)


class Peer:
    """A worker in its own environment, if that exists."""

    def __init__(self, name: str, folder: Path | None, scene: Path) -> None:
        self.name, self.problem = name, None
        package, _, platform = name.partition("-")
        python = folder / package / "bin/python" if folder else None
        if python is None or not python.exists():
            self.problem = "no environment"
            return
        environment = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | {"OMP_NUM_THREADS": "2"}
        if platform:
            environment["PYOPENGL_PLATFORM"] = platform
        self.process = subprocess.Popen(
            [str(python), str(WORKER), name, str(scene)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def times(self, size: int, repeats: int) -> tuple[list[float], float]:
        """Seconds of each frame, and the share of pixels in which it saw the head."""
        if self.problem:
            return [float("nan")], float("nan")
        assert self.process.stdin and self.process.stdout and self.process.stderr
        try:
            self.process.stdin.write(json.dumps({"size": size, "repeats": repeats}) + "\n")
            self.process.stdin.flush()
            answer = next(line for line in self.process.stdout if line.startswith("{"))
        except (BrokenPipeError, StopIteration):
            errors = self.process.stderr.read().strip().splitlines()
            self.problem = errors[-1] if errors else "did not start"
            return self.times(size, repeats)
        reply = json.loads(answer)
        return reply["times"], reply["seen"]

    def close(self) -> None:
        """Let the worker end."""
        if not self.problem and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()


def make_scene() -> Scene:
    """The mean head, 0.6 m away, enlarged until it covers 60 % of the picture."""
    flame = load_flame()
    head = flame(flame.zeros()).vertices
    middle = (head.amin(0) + head.amax(0)) / 2
    vertices = (head - middle) * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, 0.6])
    low, high = 0.5, 4.0
    for _ in range(20):
        scene = Scene(vertices, flame.faces, (low + high) / 2)
        share = float(rasterize(scene.points(512, 0), scene.faces, (512, 512)).covered.float().mean())
        low, high = (scene.focal, high) if share < 0.6 else (low, scene.focal)
    return Scene(vertices, flame.faces.int().contiguous(), scene.focal)


def ours(scene: Scene, size: int, cull: bool, threads: int, repeats: int) -> list[float]:
    """Seconds of each frame."""
    frames = [scene.points(size, n) for n in range(8)]
    times = []
    for n in range(repeats):
        begin = perf_counter()
        rasterize(frames[n % 8], scene.faces, (size, size), cull=cull, threads=threads)
        times.append(perf_counter() - begin)
    return times


def main() -> None:
    """Measure and print."""
    parser = options(__doc__, quick="fewer repeats")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments")
    arguments = parser.parse_args()
    scene = make_scene()
    print(machine(threads="threads as named"))
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.npz"
        np.savez(path, vertices=scene.vertices, faces=scene.faces, focal=scene.focal, center=0.5)
        peers = [Peer(name, arguments.peers, path) for name in PEERS]
        ours(scene, 256, True, 2, 3)
        for size in SIZES:
            table = measure(scene, peers, size, quick=arguments.quick)
            figures |= report(table, peers, size)
        for peer in peers:
            peer.close()
    write_figures(arguments.json, figures)


def measure(scene: Scene, peers: list[Peer], size: int, *, quick: bool) -> dict[str, list[float]]:
    """Seconds by renderer; rounds go through all of them, so that another job on the machine hits all alike."""
    table: dict[str, list[float]] = {}
    for peer in peers:
        # Starting up is not timed, and must not disturb the others either.
        peer.times(size, 1)
    for round_ in range(2 if quick else 6):
        for cull, threads in OURS:
            name = f"{'culled' if cull else 'both sides'}, {threads} thread{'s' * (threads > 1)}"
            table.setdefault(name, []).extend(ours(scene, size, cull, threads, 15 if quick else 40))
        for peer in peers:
            times, seen = peer.times(size, 3 if quick else 6)
            table.setdefault(peer.name, []).extend(times)
            if round_ == 0 and not peer.problem:
                print(f"  {peer.name} at {size}: sees the head in {100 * seen:.1f} % of the pixels")
    return table


def report(table: dict[str, list[float]], peers: list[Peer], size: int) -> dict[str, float]:
    """Print a size's rows and hand back its figures."""
    medians = {name: 1e3 * float(np.median(times)) for name, times in table.items()}
    fastest = min((medians[peer.name] for peer in peers if not peer.problem), default=float("nan"))
    print(f"\n{size} x {size}{'':24}median      p5     p95 ms   fastest peer / this")
    for name, times in table.items():
        problem = next((peer.problem for peer in peers if peer.name == name), None)
        if problem:
            print(f"  {name:28} {problem}")
            continue
        low, high = 1e3 * np.percentile(times, [5, 95])
        print(f"  {name:28}{medians[name]:9.3f}{low:9.3f}{high:9.3f}{fastest / medians[name]:15.1f}x")
    print()
    return {f"{size} {name} ms": value for name, value in medians.items() if np.isfinite(value)}


if __name__ == "__main__":
    main()
