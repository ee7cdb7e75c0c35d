"""How fast a head is drawn and differentiated: `python benchmarks/render_gradients.py [--quick] [--json FILE]`.

A round goes from vertices to the picture and back: rasterize (culled), three colours per vertex, silhouettes, and from
the gradient of the picture to those of vertices and colours. With light, colours are an albedo times spherical
harmonics of the vertices' normals, and gradients flow to albedo, light and, through the normals, to vertices. The
gradient of the picture is given, or that of torch's mean-square loss, whose own time is then part of the round. The
built-in head fills 60 % of a square picture. Rounds are timed as users write them, each after others of its kind, as
an optimization goes on; stages are timed on their own beside them. One and two threads take turns in blocks of rounds,
so that other work on the machine hits both. The floor is what moving the bytes costs: as many bytes copied by torch.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from _common import machine, options, write_figures
from flamehead.geometry.normals import vertex_normals
from flamehead.model import Flame, load_flame
from flamehead.raster import Fragments, antialias, interpolate, paint, rasterize
from flamehead.raster.antialias import silhouette_pairs
from flamehead.raster.edges import Edges, edges_of
from flamehead.render.harmonics import harmonic_light

SIZES = (256, 512, 1024)
FILL = 0.6


@dataclass(frozen=True)
class Scene:
    """A head before a camera."""

    space: Tensor
    points: Tensor
    faces: Tensor
    colors: Tensor
    target: Tensor
    edges: Edges
    size: tuple[int, int]

    @staticmethod
    def of(flame: Flame, size: int) -> Scene:
        """The head 1 m away; the focal length is found that fills the picture as wanted."""
        template = flame.template
        low, high = 1.0, 20.0
        space = (template - 0.5 * (template.amax(0) + template.amin(0))) * torch.tensor([1.0, -1.0, -1.0])
        space = space + torch.tensor([0.0, 0.0, 1.0])
        points = torch.zeros_like(space)
        for _ in range(20):
            focal = 0.5 * (low + high)
            pixels = focal * size * space[:, :2] / space[:, 2:] + 0.5 * size
            points = torch.cat([pixels, space[:, 2:]], dim=1)
            filled = float(rasterize(points, flame.faces, (size, size), cull=True).covered.float().mean())
            low, high = (focal, high) if filled < FILL else (low, focal)
        generator = torch.Generator().manual_seed(0)
        colors = torch.rand(len(template), 3, generator=generator)
        target = torch.rand(size, size, 3, generator=generator)
        return Scene(space, points, flame.faces, colors, target, edges_of(flame.faces), (size, size))


Ending = Callable[[Tensor], None]
"""From the picture back."""


def given(scene: Scene) -> Ending:
    """The gradient of the picture is there."""
    gradient = torch.rand(scene.target.shape, generator=torch.Generator().manual_seed(2))
    return lambda image: image.backward(gradient)


def with_loss(scene: Scene) -> Ending:
    """The picture is compared with another one."""
    return lambda image: torch.nn.functional.mse_loss(image, scene.target).backward()


def painted(scene: Scene, end: Ending) -> Callable[[], None]:
    """Colours at vertices."""

    def run() -> None:
        points, colors = scene.points.clone().requires_grad_(), scene.colors.clone().requires_grad_()
        seen = rasterize(points, scene.faces, scene.size, cull=True)
        end(paint(colors, points, scene.faces, seen))

    return run


def two_steps(scene: Scene, end: Ending) -> Callable[[], None]:
    """The same with interpolation and blending on their own, as colours that are worked on in between need it."""

    def run() -> None:
        points, colors = scene.points.clone().requires_grad_(), scene.colors.clone().requires_grad_()
        seen = rasterize(points, scene.faces, scene.size, cull=True)
        image = interpolate(colors, scene.faces, seen, points=points)
        end(antialias(image, points, scene.faces, seen))

    return run


def lit(scene: Scene, end: Ending) -> Callable[[], None]:
    """Colours from spherical harmonics of normals that follow the vertices."""
    coefficients = torch.rand(9, 3, generator=torch.Generator().manual_seed(1))

    def run() -> None:
        points, albedo = scene.points.clone().requires_grad_(), scene.colors.clone().requires_grad_()
        space, light = scene.space.clone().requires_grad_(), coefficients.clone().requires_grad_()
        colors = albedo * harmonic_light(vertex_normals(space, scene.faces), light)
        seen = rasterize(points, scene.faces, scene.size, cull=True)
        end(paint(colors, points, scene.faces, seen))

    return run


def stages(scene: Scene) -> dict[str, Callable[[], object]]:
    """Each step alone, from results that are ready."""
    points, colors = scene.points.clone().requires_grad_(), scene.colors.clone().requires_grad_()
    seen = rasterize(points, scene.faces, scene.size, cull=True)
    plain = interpolate(colors, scene.faces, seen, points=points)
    painted = paint(colors, points, scene.faces, seen)
    smooth = antialias(plain.detach().requires_grad_(), points, scene.faces, seen)
    drawn = smooth.detach().requires_grad_()
    gradient = torch.autograd.grad(torch.nn.functional.mse_loss(drawn, scene.target), drawn)[0]

    def loss() -> None:
        torch.nn.functional.mse_loss(drawn, scene.target).backward(inputs=[drawn])

    return {
        "rasterize": lambda: rasterize(scene.points, scene.faces, scene.size, cull=True),
        "paint": lambda: paint(scene.colors, scene.points, scene.faces, seen),
        "interpolate": lambda: interpolate(scene.colors, scene.faces, seen),
        "find pairs": lambda: silhouette_pairs(scene.points, scene.edges, seen),
        "antialias": lambda: antialias(plain.detach(), scene.points, scene.faces, seen),
        "loss + backward": loss,
        "paint backward": lambda: painted.backward(gradient, retain_graph=True),
        "antialias backward": lambda: smooth.backward(gradient, retain_graph=True),
        "interpolate backward": lambda: plain.backward(gradient, retain_graph=True),
        "floor (bytes)": _floor(seen, gradient),
    }


def _floor(seen: Fragments, gradient: Tensor) -> Callable[[], object]:
    """Copies of as many bytes as one round must move.

    The 20 bytes of a pixel's fragments go out once and come in twice; its 12 of colour go out and in four times.
    """
    fragments, colors = torch.empty(5 * seen.depth.numel()), torch.empty_like(gradient)
    other, more = torch.empty_like(fragments), torch.empty_like(gradient)

    def copy() -> None:
        # A copy reads and writes: 1.5 copies of the fragments are three passes.
        other.copy_(fragments)
        other[: len(other) // 2].copy_(fragments[: len(other) // 2])
        for _ in range(4):
            more.copy_(colors)

    return copy


def medians(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds, the jobs and both numbers of threads taking turns; keys end in the number of threads."""
    times: dict[str, list[float]] = {f"{name}, {n}": [] for name in jobs for n in (1, 2)}
    # Changing the number of threads makes torch start them anew, so it is not done for every round.
    for threads in (1, 2) * 4:
        torch.set_num_threads(threads)
        for _ in range(max(1, rounds // 12)):
            for name, job in jobs.items():
                for turn in range(5):
                    begin = perf_counter()
                    job()
                    # The first ones find memory as other rows have left it.
                    if turn >= 2:
                        times[f"{name}, {threads}"].append(1e3 * (perf_counter() - begin))
    for name, each in times.items():
        BEST[name] = min(each)
    return {name: float(np.median(each)) for name, each in times.items()}


BEST: dict[str, float] = {}
"""The least of the rounds behind the last medians; on a busy machine it is the steadier figure."""


def _peak_mib() -> float:
    """Most memory this process ever held; Linux counts KiB, macOS bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024.0 if sys.platform != "darwin" else 1024.0**2)


def main() -> None:
    """Run and print."""
    arguments = options(__doc__, quick="a few rounds").parse_args()
    flame = load_flame()
    figures: dict[str, float] = {}
    print(f"{machine(threads='1 and 2 threads')}\n{flame.arrays.source}; ms, median (least)")
    print(f"{'':26}" + "".join(f"{f'{size}, {n} thr':>17}" for size in SIZES for n in (1, 2)))
    columns: dict[str, list[str]] = {}
    for size in SIZES:
        scene = Scene.of(flame, size)
        before = _peak_mib()
        found = medians(
            {
                "round": painted(scene, given(scene)),
                "round, lit": lit(scene, given(scene)),
                "round and loss": painted(scene, with_loss(scene)),
                "round and loss, two steps": two_steps(scene, with_loss(scene)),
                "round and loss, lit": lit(scene, with_loss(scene)),
                **stages(scene),
            },
            {256: 200, 512: 100, 1024: 30}[size] // (8 if arguments.quick else 1),
        )
        for name, value in found.items():
            job, threads = name.rsplit(", ", 1)
            columns.setdefault(job, []).append(f"{value:9.2f} ({BEST[name]:.2f})".rjust(17))
            key = job.replace(", ", "_").replace(" ", "_").replace("(", "").replace(")", "").replace("+_", "")
            figures[f"{key}_{size}_{threads}thr_ms"] = value
            figures[f"{key}_{size}_{threads}thr_least_ms"] = BEST[name]
        figures[f"peak_growth_{size}_mib"] = _peak_mib() - before
    for job, cells in columns.items():
        print(f"{job:26}" + "".join(cells))
    growth = ", ".join(f"{figures[f'peak_growth_{size}_mib']:.0f} MiB at {size}" for size in SIZES)
    print(f"peak memory of the process {_peak_mib():.0f} MiB; its growth by all of this: {growth}")
    figures["peak_mib"] = _peak_mib()
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
