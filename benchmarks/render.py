"""How fast pictures with light and texture are: `python benchmarks/render.py [--quick] [--json FILE]`.

The built-in head fills 60 % of a square picture. Each row is one stage, forward or backward, with two threads and with
one; the last rows are whole steps: vertices to pixels and a loss, and all gradients back; or with the gradient of the
picture given, without torch's own time for a loss. CPU seconds of one thread are given beside the time on the clock,
because they mean the same on a busy machine.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from time import perf_counter, process_time

import numpy as np
import torch
from torch import Tensor

from _common import machine, options, write_figures
from flamehead import load_flame
from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.data import Camera
from flamehead.geometry.normals import vertex_normals
from flamehead.raster import interpolate, rasterize
from flamehead.render import (
    Texture,
    build_pyramid,
    constant_light,
    decode_srgb,
    draw,
    encode_srgb,
    harmonic_light,
    maps,
    render,
    sample_image,
    side_view,
    texture_level,
    to_screen,
    warmup,
)

Job = Callable[[], object]


def front(vertices: Tensor, size: int) -> Camera:
    """A camera that the head fills to 60 %, wider than it is."""
    camera = side_view(vertices, (size, size), angle=0.0, fill=0.97)
    stretch = torch.tensor([1.5, 1.1])
    center = (camera.center - size / 2) * stretch + size / 2
    return Camera(camera.rotation, camera.translation, camera.focal * stretch, center, camera.size)


def there_and_back(name: str, forward: Callable[[], Tensor], *inputs: Tensor) -> Iterator[tuple[str, Job]]:
    """A function, and its backward alone."""
    out = forward()
    gradient = torch.rand_like(out)
    yield name, forward
    yield f"{name} backward", lambda: torch.autograd.grad(out, inputs, gradient, retain_graph=True)


def make_scene(size: int) -> tuple[Tensor, Tensor, Camera, Texture, Tensor]:
    """Vertices, faces, camera, texture and light; the last two with gradients."""
    flame, albedo = load_flame(), builtin_albedo()
    faces, vertices = flame.faces, flame(flame.zeros()).vertices.detach()
    camera = front(vertices, size)
    plain = Texture.of(decode(albedo, np.zeros(1)), albedo.uv, albedo.uv_faces)
    light = constant_light(torch.tensor([0.8, 0.8, 0.8])).requires_grad_()
    image = plain.image.clone().requires_grad_()
    return vertices, faces, camera, Texture(image, plain.uv, plain.uv_faces), light


def steps(size: int) -> Iterator[tuple[str, Job]]:
    """Whole steps: vertices to pixels and a loss, and all gradients back, to leaves that were cleared as usual."""
    vertices, faces, camera, texture, light = make_scene(size)
    moving = vertices.clone().requires_grad_()
    weight = torch.rand(size, size, 3)
    painted = torch.rand_like(vertices).requires_grad_()

    def step(*, loss: bool = True, **how: object) -> None:
        for leaf in (moving, light, texture.image, painted):
            leaf.grad = None
        drawn = draw(moving, faces, camera, light=light, **how)  # pyright: ignore[reportArgumentType]
        if loss:
            (drawn.image * weight).mean().backward()
        else:
            drawn.image.backward(weight)

    yield "step: texture, pixel light", lambda: step(albedo=texture)
    yield "the same, gradient given", lambda: step(albedo=texture, loss=False)
    yield "step: texture, no sRGB", lambda: step(albedo=texture, encoding="linear")
    yield "step: vertex colours", lambda: step(albedo=painted, encoding="linear", shading="vertex")


def jobs(size: int) -> Iterator[tuple[str, Job]]:
    """Everything that is timed."""
    vertices, faces, camera, texture, light = make_scene(size)
    image, plain = texture.image, Texture(texture.image.detach(), texture.uv, texture.uv_faces)
    points = to_screen(vertices, camera)
    fragments = rasterize(points, faces, camera.size)
    normals = interpolate(vertex_normals(vertices, faces), faces, fragments).reshape(-1, 3).requires_grad_()
    uv = interpolate(plain.uv, plain.uv_faces, fragments).requires_grad_()
    seen = fragments.face_ids, fragments.depth
    level = texture_level(plain, points, faces, *seen, uv)
    texels = build_pyramid(plain.image)

    yield "render, studio light", lambda: render(vertices, faces, camera, colors=plain)
    yield "maps: depth, normals, uv", lambda: maps(vertices, faces, camera, want=["depth", "normals", "uv"], uv=plain)
    yield "texture level", lambda: texture_level(plain, points, faces, *seen, uv)
    yield from there_and_back("harmonic light", lambda: harmonic_light(normals, light), normals, light)
    yield from there_and_back("decode texture", lambda: decode_srgb(image), image)
    yield from there_and_back("pyramid", lambda: build_pyramid(image).texels, image)
    yield from there_and_back("sample, to uv", lambda: sample_image(texels, uv, level=level), uv)
    colors = normals.detach().abs().requires_grad_()
    yield from there_and_back("encode picture", lambda: encode_srgb(colors), colors)
    yield from steps(size)


def timed(job: Job, repeats: int) -> tuple[float, float, float]:
    """Best and median milliseconds on the clock, best of CPU time."""
    job()
    job()
    clock, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = perf_counter(), process_time()
        job()
        clock.append(1e3 * (perf_counter() - start))
        cpu.append(1e3 * (process_time() - start_cpu))
    return min(clock), float(np.median(clock)), min(cpu)


STEP = "step: texture, pixel light"


def step_megabytes(size: int) -> float:
    """The most that whole steps hold above what was there before the first one; NaN but on Linux.

    Sampled; to be called first, because memory that other rows leave for use again is not counted.
    """
    table = Path("/proc/self/statm")
    if not table.exists():
        return float("nan")

    def held() -> float:
        return int(table.read_text().split()[1]) * resource.getpagesize() / 1e6

    warmup()
    step = dict(steps(size))[STEP]
    before, samples, done = held(), [0.0], Event()

    def watch() -> None:
        while not done.wait(2e-4):
            samples.append(held())

    watcher = Thread(target=watch)
    watcher.start()
    for _ in range(5):
        step()
    done.set()
    watcher.join()
    return max(samples) - before


def peak_gigabytes() -> float:
    """Of the process so far; the system counts kilobytes on Linux, bytes on macOS."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)


def main() -> None:
    parser = options(__doc__, quick="fewer repeats, 512 only")
    arguments = parser.parse_args()
    figures: dict[str, float] = {}
    print(machine(threads="2 and 1 threads"))
    needed = step_megabytes(512)
    print(f"Peak memory of '{STEP}' at 512: {needed:.0f} MB above the process")
    figures["512 step peak MB"] = needed
    for size in (512,) if arguments.quick else (256, 512, 1024):
        print(f"\n{size} x {size}, milliseconds       2 threads: best  median   1 thread: best  median     CPU")
        for name, job in jobs(size):
            repeats = 5 if arguments.quick else 25
            torch.set_num_threads(2)
            best, median, _ = timed(job, repeats)
            torch.set_num_threads(1)
            alone, alone_median, cpu = timed(job, repeats)
            print(f"{name:34s}{best:10.2f}{median:8.2f}{alone:16.2f}{alone_median:8.2f}{cpu:8.2f}")
            figures |= {f"{size} {name} 2 threads ms": best, f"{size} {name} 1 thread cpu ms": cpu}
    peak = peak_gigabytes()
    print(f"\nPeak memory of the process: {peak:.2f} GB")
    write_figures(arguments.json, figures | {"peak GB": peak})


if __name__ == "__main__":
    main()
