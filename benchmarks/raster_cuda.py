"""How fast triangles become pixels on a CUDA device: `python benchmarks/raster_cuda.py [--quick] [--json FILE]`.

The scene of `raster.py`: the built-in head (9,976 triangles) fills 60 % of a square picture. The Triton kernels are
first compared with the CPU's pixel by pixel, then timed stage by stage, one picture and eight at a time, with the
device's work finished before the clock is read. Memory is the peak of what PyTorch held on the device.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch

from _common import machine, options, write_figures
from flamehead.raster import Fragments, rasterize
from flamehead.raster.edges import edges_of
from raster import Scene, make_scene

SIZES = (256, 512, 1024, 2048)
BATCHES = (1, 8)


def main() -> None:
    """Compare, measure and print."""
    arguments = options(__doc__, quick="fewer repeats and no picture of 2048 pixels").parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/raster_cuda.py needs a CUDA device and a CUDA build of torch; none was found.")
    device = torch.device("cuda")
    print(machine(threads=f"device {torch.cuda.get_device_name(device)}"))
    scene, figures = make_scene(), {}
    for size in SIZES[:-1] if arguments.quick else SIZES:
        figures |= compare(scene, size, device)
        for batch in BATCHES:
            figures |= measure(scene, size, batch, device, repeats=20 if arguments.quick else 100)
    write_figures(arguments.json, figures)


def draw(points: torch.Tensor, faces: torch.Tensor, size: int, *, cull: bool) -> Fragments:
    """The kernels themselves, without the checks of arguments, which wait for the device."""
    from flamehead.raster._triton.rasterize import rasterize as rasterize_triton

    return rasterize_triton(points, faces, (size, size), cull=cull)


def compare(scene: Scene, size: int, device: torch.device) -> dict[str, float]:
    """Share of pixels whose face is that of the CPU, and the largest difference of their barycentrics."""
    points = scene.points(size, 0)
    ours = draw(points.to(device), scene.faces.to(device), size, cull=False)
    theirs = rasterize(points, scene.faces, (size, size))
    equal = ours.face_ids.cpu() == theirs.face_ids
    apart = float((ours.barycentric.cpu() - theirs.barycentric)[equal].abs().max())
    share = float(equal.double().mean())
    print(
        f"{size} x {size}: {100 * share:.4f} % of the faces are the CPU's, barycentrics differ by {apart:.1e} at most"
    )
    return {f"same_faces_{size}": share, f"barycentric_difference_{size}": apart}


def measure(scene: Scene, size: int, batch: int, device: torch.device, *, repeats: int) -> dict[str, float]:
    """Median and first time of every stage, in milliseconds for the whole batch, and the peak of memory."""
    torch.cuda.reset_peak_memory_stats(device)
    figures = {}
    for name, stage in stages(scene, size, batch, device).items():
        first, times = timed(stage, device, repeats)
        figures[f"{name}_{size}_x{batch}_ms"] = float(np.median(times))
        print(
            f"  {batch} x {size:4d} {name:28s} {np.median(times):8.3f} ms, least {min(times):8.3f}, p95 "
            f"{np.percentile(times, 95):8.3f}, first {first:8.1f}"
        )
    peak = torch.cuda.max_memory_allocated(device) / 2**20
    print(f"  {batch} x {size:4d} peak memory {peak:.0f} MiB")
    return figures | {f"peak_{size}_x{batch}_mib": peak}


def timed(stage: Callable[[], object], device: torch.device, repeats: int) -> tuple[float, list[float]]:
    """Milliseconds of the first call, which may compile, and of the calls after it."""
    times = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize(device)
        begin = perf_counter()
        stage()
        torch.cuda.synchronize(device)
        times.append(1e3 * (perf_counter() - begin))
    return times[0], times[1:]


def stages(scene: Scene, size: int, batch: int, device: torch.device) -> dict[str, Callable[[], object]]:
    """What is timed: each stage by itself on what the ones before it gave, then a whole step of optimisation."""
    from flamehead.raster._triton import autograd

    points = torch.stack([scene.points(size, n) for n in range(batch)]).to(device).requires_grad_()
    colours = torch.rand(len(scene.vertices), 3, device=device).requires_grad_()
    faces, edges, plain = scene.faces.to(device), edges_of(scene.faces), points.detach()
    seen = draw(plain, faces, size, cull=True)
    target = torch.zeros(batch, size, size, 3, device=device)

    def spread(with_points: bool = True) -> torch.Tensor:
        given = points if with_points else None
        return autograd.interpolate(colours, faces, seen, points=given, perspective=True)

    def step() -> None:
        nonlocal seen
        seen = draw(plain, faces, size, cull=True)
        picture = autograd.antialias(spread(), points, seen, edges, perspective=True)
        torch.autograd.grad((picture - target).square().mean(), (colours, points))

    image = spread().detach()
    return {
        "rasterize both sides": lambda: draw(plain, faces, size, cull=False),
        "rasterize culled": lambda: draw(plain, faces, size, cull=True),
        "interpolate": lambda: spread().detach(),
        "interpolate and back": lambda: torch.autograd.grad(spread().sum(), (colours, points)),
        "antialias": lambda: autograd.antialias(image, plain, seen, edges, perspective=True),
        "step, forward and backward": step,
    }


if __name__ == "__main__":
    main()
