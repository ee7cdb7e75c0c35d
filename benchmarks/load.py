"""How fast a model file opens: `python benchmarks/load.py [--quick] [--json FILE]`.

The official layout is imitated: a Python 2 pickle of 53 MB with random numbers of FLAME's sizes. It is
converted to `.npz` and `.safetensors`, and every file is opened in turn, several times, from the file cache.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from _common import machine, options, write_figures
from flamehead.assets import FlameArrays, read_model
from flamehead.assets.converted import write_converted
from flamehead.assets.write_model import write_model

V, F = 5023, 9976
BARS = {"pickle": 0.5, "npz": 0.1, "safetensors": 0.1}
"""Seconds."""


def random_model() -> FlameArrays:
    """Numbers of FLAME's sizes and of no meaning."""
    random = np.random.default_rng(0)
    weights = random.random((V, 5))
    regressor = random.random((5, V)) * (random.random((5, V)) < 0.02) + 1e-9
    return FlameArrays(
        template=random.normal(size=(V, 3)) / 10,
        faces=random.integers(0, V, (F, 3)),
        shape_basis=random.normal(size=(V, 3, 300)) / 1000,
        expression_basis=random.normal(size=(V, 3, 100)) / 1000,
        pose_basis=random.normal(size=(V, 3, 36)) / 1000,
        skin_weights=weights / weights.sum(axis=1, keepdims=True),
        joint_regressor=regressor / regressor.sum(axis=1, keepdims=True),
        parents=(-1, 0, 1, 1, 1),
        fingerprint="random",
        source="benchmark",
    )


def seconds(action: Callable[[], object]) -> float:
    begin = perf_counter()
    action()
    return perf_counter() - begin


def main() -> None:
    """Write the files, open them in turn, print the table."""
    arguments = options(__doc__, quick="open each file three times instead of fifteen").parse_args()
    figures: dict[str, float] = {}
    print(machine(threads="1 thread"))
    with tempfile.TemporaryDirectory() as folder:
        files = {"pickle": Path(folder, "generic_model.pkl")}
        write_model(files["pickle"], random_model())
        arrays = read_model(files["pickle"])
        for suffix in ("npz", "safetensors"):
            files[suffix] = Path(folder, f"model.{suffix}")
            figures[f"convert_{suffix}_s"] = seconds(lambda path=files[suffix]: write_converted(path, arrays))
        times: dict[str, list[float]] = {name: [] for name in files}
        for _ in range(3 if arguments.quick else 15):
            for name, path in files.items():
                times[name].append(seconds(lambda path=path: read_model(path)))
        print(f"{'file':<12}{'MB':>8}{'median s':>10}{'best s':>10}{'worst s':>10}{'bar s':>8}")
        for name, path in files.items():
            figures[f"{name}_median_s"], figures[f"{name}_worst_s"] = median(times[name]), max(times[name])
            row = f"{median(times[name]):>10.3f}{min(times[name]):>10.3f}{max(times[name]):>10.3f}"
            print(f"{name:<12}{path.stat().st_size / 1e6:>8.1f}{row}{BARS[name]:>8.1f}")
        assert len({read_model(path).fingerprint for path in files.values()}) == 1
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
