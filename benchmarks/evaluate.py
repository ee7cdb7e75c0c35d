"""How fast heads are measured and converted: `python benchmarks/evaluate.py [--quick] [--json FILE]`.

Nearest points in the built-in head's 9976 triangles, the NoW error of one prediction against a scan of 160,000
vertices, and a Basel-shaped mesh of 53149 vertices turned into a head. Random heads, no files needed. Times are wall
times after the first call; the fastest of many is given, because other work on the machine only ever adds to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from time import perf_counter

import numpy as np
import scipy.sparse
import torch

from _common import machine, options, write_figures
from flamehead import Flame, load_flame
from flamehead.assets import BfmCorrespondence, BfmToFlame
from flamehead.evaluate import now_error, seven_of, summarize
from flamehead.fit import convert_bfm, prepare_bfm
from flamehead.geometry.nearest import build_surface_tree, nearest_in_tree

BARS = {"nearest_1m_s": 1.0, "bfm_ms": 50.0}


def times(action: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run, after one that compiles."""
    action()
    found = []
    for _ in range(runs):
        begin = perf_counter()
        action()
        found.append(perf_counter() - begin)
    return found


def head(flame: Flame, seed: int) -> torch.Tensor:
    """A random identity."""
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(seed)).to(flame.template.dtype)
    return flame(replace(flame.zeros(), shape=shape)).vertices


def on_surface(vertices: np.ndarray, faces: np.ndarray, count: int, noise: float) -> np.ndarray:
    """Random points near a mesh."""
    rng = np.random.default_rng(0)
    rows, weights = rng.integers(len(faces), size=count), rng.dirichlet(np.ones(3), size=count)
    return np.einsum("nk,nkx->nx", weights, vertices[faces[rows]]) + noise * rng.normal(size=(count, 3))


def basel(flame: Flame) -> tuple[BfmCorrespondence, np.ndarray]:
    """A correspondence of the official size, and a mesh in millimetres."""
    rng, count = np.random.default_rng(0), 53149
    rows, columns = np.repeat(np.arange(5023), 3), rng.permutation(count)[: 3 * 5023]
    matrix = scipy.sparse.csr_matrix((rng.dirichlet(np.ones(3), 5023).ravel(), (rows, columns)), shape=(5023, count))
    points = matrix.T @ (1e3 * head(flame, 5).numpy() / np.asarray(matrix.multiply(matrix).sum(axis=1)))
    found = BfmToFlame(matrix, np.zeros((1, 3), dtype=np.int64), flame.faces.numpy())
    return BfmCorrespondence({"BFM2017": found}, np.asarray(flame.regions["face"])), points


def main() -> None:
    """Measure and print the table."""
    arguments = options(__doc__, quick="three runs of each instead of fifteen").parse_args()
    runs, flame = 3 if arguments.quick else 15, load_flame()
    print(machine(threads=f"{torch.get_num_threads()} threads"))
    faces, truth, other = flame.faces.numpy(), *(head(flame, seed).double().numpy() for seed in (1, 2))
    figures: dict[str, float] = {}

    def line(name: str, title: str, scale: float, action: Callable[[], object]) -> None:
        seconds = times(action, runs)
        figures[name] = scale * min(seconds)
        bar = f"   (bar {BARS[name]:g})" if name in BARS else ""
        print(f"{title:<52}{scale * min(seconds):>10.2f}{scale * median(seconds):>10.2f}{bar}")

    print(f"{'':<52}{'fastest':>10}{'median':>10}")
    line("tree_ms", "tree of 9976 triangles, ms", 1e3, lambda: build_surface_tree(truth, faces))
    tree, near = build_surface_tree(truth, faces), on_surface(truth, faces, 1_000_000, 1e-3)
    line("nearest_1m_s", "1 M points 1 mm off the surface, s", 1.0, lambda: nearest_in_tree(near, tree))
    far = on_surface(truth, faces, 1_000_000, 2e-2)
    line("nearest_1m_far_s", "1 M points 20 mm off the surface, s", 1.0, lambda: nearest_in_tree(far, tree))
    scan = on_surface(truth, faces, 160_000, 1e-4)
    marks = [seven_of(flame.landmarks(torch.tensor(v).float(), "ibug68").numpy()) for v in (truth, other)]

    def now() -> np.ndarray:
        return now_error(scan, marks[0], other, faces, marks[1], unit="m", scan_unit="m").distances

    line("now_s", f"NoW, {len(now())} cropped vertices, s", 1.0, now)
    correspondence, points = basel(flame)
    line("bfm_setup_s", "Basel mesh, set-up, s", 1.0, lambda: prepare_bfm(correspondence, "BFM2017", flame))
    converter = prepare_bfm(correspondence, "BFM2017", flame)
    line("bfm_ms", "Basel mesh, ms", 1e3, lambda: convert_bfm(points, converter))
    figures["bfm_median_mm"] = 1e3 * summarize(convert_bfm(points, converter).errors).median
    print(f"{'Basel mesh, median distance, mm':<52}{figures['bfm_median_mm']:>10.3f}")
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
