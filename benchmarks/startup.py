"""What a user waits for, imports and demos: `python benchmarks/startup.py [--quick] [--json FILE]`.

Every figure is the wall time of a fresh process. Imports are interleaved with the `import torch` they are compared to.
First runs get an empty cache folder for the built-in head and for the compiled kernels.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from _common import machine, options, write_figures

IMPORTS = {
    "import torch": "import torch",
    "import flamehead": "import flamehead",
    "flamehead.load_flame": "import flamehead; flamehead.load_flame",
    "import torch, flamehead": "import torch; import flamehead",
}
FIRST_PICTURE = """
import torch
from flamehead import load_flame
from flamehead.render import orbit_camera, render
flame = load_flame()
vertices = flame(flame.zeros()).vertices
render(vertices, flame.faces, orbit_camera(vertices, (512, 512)), colors=flame.colors)
"""
"""Everything from a fresh interpreter to a 512-pixel picture."""
OPTIONAL = set(
    "av cv2 h5py jax matplotlib mediapipe numba onnxruntime PIL pygltflib rich safetensors trimesh tyro viser".split()
)
"""What `import flamehead` must not import; without numba nothing can be compiled."""
LOAD_HEAD = """
from time import perf_counter
from flamehead.builtin import builtin_head
begin = perf_counter()
builtin_head()
print(perf_counter() - begin)
"""


def python(*arguments: str, folder: Path | None = None) -> tuple[float, str]:
    """Seconds and output of a fresh interpreter; its caches lie in `folder` if one is given."""
    caches = {"FLAMEHEAD_CACHE": f"{folder}/head", "NUMBA_CACHE_DIR": f"{folder}/numba"} if folder else {}
    begin = perf_counter()
    done = subprocess.run(
        [sys.executable, *arguments], env=os.environ | caches, check=True, capture_output=True, text=True
    )
    return perf_counter() - begin, done.stdout


IMPORTS["first picture, after warmup"] = FIRST_PICTURE


def time_imports(repeats: int) -> dict[str, float]:
    """Median seconds by statement; the runs are interleaved, so that a busy moment touches all alike."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats + 1):
        for name, code in IMPORTS.items():
            times[name].append(python("-c", code)[0])
    # The first round only fills the disk cache.
    return {name: float(np.median(values[1:])) for name, values in times.items()}


def optional_imports() -> list[str]:
    """Optional packages that `import flamehead` brings in by itself, beyond those of `import torch`."""
    code = "import sys, torch; a = set(sys.modules); import flamehead; print(*(set(sys.modules) - a))"
    return sorted(OPTIONAL.intersection(name.partition(".")[0] for name in python("-c", code)[1].split()))


def time_demo(repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of first and of second runs."""
    first, second = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            command = ("-m", "flamehead", "demo", "--out", f"{folder}/demo")
            first.append(python(*command, folder=folder)[0])
            second.append(python(*command, folder=folder)[0])
    return first, second


def time_head(repeats: int) -> tuple[list[float], list[float]]:
    """Seconds to build the built-in head, and to load it in a new process; imports do not count."""
    built, loaded = [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            built.append(float(python("-c", LOAD_HEAD, folder=Path(name))[1]))
            loaded.append(float(python("-c", LOAD_HEAD, folder=Path(name))[1]))
    return built, loaded


def main() -> None:
    """Run and print."""
    arguments = options(__doc__, quick="three imports, one demo").parse_args()
    print(machine(threads="default threads"))
    repeats = 1 if arguments.quick else 3
    figures: dict[str, float] = {}
    python("-m", "flamehead", "warmup")
    imports = time_imports(3 if arguments.quick else 11)
    for name, seconds in imports.items():
        extra = seconds - imports["import torch"]
        print(f"{name:32}{seconds:8.2f} s{extra:+8.2f} s against import torch", flush=True)
        figures[f"{name}_s".replace(" ", "_").replace(",", "").replace(".", "_")] = seconds
    figures["import_difference_s"] = imports["import flamehead"] - imports["import torch"]
    brought = optional_imports()
    figures["optional_packages_imported"] = len(brought)
    print(f"{'optional packages imported':32}{len(brought):8}   {', '.join(brought)}")
    for names, (first, second) in (
        (("demo, first run", "demo, second run"), time_demo(repeats)),
        (("built-in head, built", "built-in head, from the cache"), time_head(repeats)),
    ):
        for name, values in zip(names, (first, second), strict=True):
            print(f"{name:32}{np.median(values):8.2f} s{max(values):8.2f} s worst of {len(values)}", flush=True)
            figures[name.replace(",", "").replace(" ", "_").replace("-", "_") + "_s"] = float(np.median(values))
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
