"""How well and how fast photos are fitted: `python benchmarks/photos.py [FOLDER_OR_FILE...] [--quick] [--json FILE]`.

Each photo is read, its largest face is detected, and a head is fitted to its landmarks, as `flamehead fit` does. Every
fit is cold: it starts from the mean head. The first photo warms the process up before anything is timed.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from _common import SAMPLE, machine, options, write_figures
from flamehead import FlameheadError, detect_face, fit_landmarks, landmark_error_percent, load_flame, read_image
from flamehead.io import read_focal
from flamehead.model import Flame

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Row:
    """The figures of one photo."""

    error: float
    """Mean distance of the 105 points, percent of the outer-eye distance."""
    coefficient: float
    """Largest |coefficient| of identity and expression."""
    iterations: int
    detect_ms: float
    fit_ms: float


def find_photos(places: list[Path]) -> list[Path]:
    """The files, and the pictures directly inside the folders."""
    found = []
    for place in places:
        inside = sorted(place.iterdir()) if place.is_dir() else [place]
        found += [path for path in inside if path.suffix.lower() in SUFFIXES]
    return found


def measure(flame: Flame, path: Path, *, repeats: int) -> Row:
    """Detect once, fit several times; times are medians."""
    photo, focal = read_image(path), read_focal(path)
    begin = perf_counter()
    seen = detect_face(photo)
    detect_ms = 1000.0 * (perf_counter() - begin)
    fits, times = [], []
    for _ in range(repeats):
        begin = perf_counter()
        fits.append(fit_landmarks(flame, seen, focal=focal))
        times.append(1000.0 * (perf_counter() - begin))
    fit = fits[-1]
    largest = max(float(values.abs().max()) for values in (fit.params.shape, fit.params.expression))
    error = landmark_error_percent(seen, fit.fitted)
    return Row(error, largest, fit.status.iterations, detect_ms, float(np.median(times)))


def summary(rows: list[Row]) -> dict[str, float]:
    """Median, 95th percentile and worst of every column."""
    figures: dict[str, float] = {"photos": len(rows)}
    for name in ("error", "coefficient", "iterations", "detect_ms", "fit_ms"):
        values = np.array([getattr(row, name) for row in rows], dtype=float)
        figures[f"{name}_median"] = float(np.median(values))
        figures[f"{name}_p95"] = float(np.percentile(values, 95))
        figures[f"{name}_worst"] = float(values.max())
    return figures


def print_line(name: str, error: float, coefficient: float, iterations: float, detect: float, fit: float) -> None:
    print(f"{name:32.32}{error:9.2f}{coefficient:9.2f}{iterations:7.0f}{detect:11.0f}{fit:9.1f}", flush=True)


def main() -> int:
    """Run and print."""
    parser = options(__doc__, quick="three photos, one fit each")
    parser.add_argument("places", nargs="*", type=Path, default=[SAMPLE], help="photos, or folders of photos")
    arguments = parser.parse_args()
    photos = find_photos(arguments.places)[: 3 if arguments.quick else None]
    if not photos:
        parser.error(f"no photos in {', '.join(map(str, arguments.places))}")
    print(machine(threads="1 BLAS thread in the fit"))
    flame, rows, failed = load_flame(), [], []
    for path in photos:
        try:
            # Untimed: the first use builds the detector's graph and the tables of the fit.
            _ = rows or measure(flame, path, repeats=2)
            rows.append(measure(flame, path, repeats=1 if arguments.quick else 5))
        except FlameheadError as error:
            failed.append(f"{path.name}: {error}")
            continue
        if len(rows) == 1:
            print(f"{flame.arrays.source}\n{'':32}{'error %':>9}{'|coef|':>9}{'iter':>7}{'detect ms':>11}{'fit ms':>9}")
        row = rows[-1]
        print_line(path.name, row.error, row.coefficient, row.iterations, row.detect_ms, row.fit_ms)
    if rows:
        figures = summary(rows) | {"failed": len(failed)}
        names = ("error", "coefficient", "iterations", "detect_ms", "fit_ms")
        print()
        for kind in ("median", "p95", "worst"):
            print_line(f"{kind} of {len(rows)}", *(figures[f"{name}_{kind}"] for name in names))
        write_figures(arguments.json, figures)
    for sentence in failed:
        print(f"FAILED {sentence}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
