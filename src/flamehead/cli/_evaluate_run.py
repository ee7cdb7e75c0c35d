"""Subject after subject, on all cores, without doing anything twice: the engine of `flamehead evaluate`."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from flamehead.cli._evaluate_files import Subject
from flamehead.cli._evaluate_measure import Measured, Settings, measure
from flamehead.errors import InputError

__all__ = ["evaluate"]

_FORMAT = 1


def evaluate(
    subjects: list[Subject], settings: Settings, out: Path, *, jobs: int, unit: str, quiet: bool, largest: float | None
) -> int:
    """Measure all subjects, write `results.json`, `curve.png` and `subjects/`, and print a table.

    Subjects whose files and settings are unchanged since an earlier run are taken from it.

    Returns:
        0 when every image was measured, else 1.
    """
    folder = out / "subjects"
    _make(folder)
    names = _file_names(subjects)
    keys = {subject.name: _key(subject, settings) for subject in subjects}
    done = {s.name for s in subjects if _stored(folder / names[s.name]).get("key") == keys[s.name]}
    if done and not quiet:
        print(f"{len(done)} of {len(subjects)} subjects were measured before and are kept.", flush=True)
    with _progress(len(subjects) - len(done), quiet=quiet) as advance:
        for subject, measured in _measured([s for s in subjects if s.name not in done], settings, jobs):
            _store(folder / names[subject.name], measured, keys[subject.name])
            advance()
    errors, failures = _collect(folder, [names[subject.name] for subject in subjects])
    images = sum(len(s.predictions) + len(s.pairs) for s in subjects)
    if errors:
        _report(out, settings, errors, failures, unit=unit, images=images, largest=largest, quiet=quiet)
    return _outcome(failures, images, out)


def _measured(subjects: list[Subject], settings: Settings, jobs: int) -> Iterator[tuple[Subject, Measured]]:
    """Results as they come; one process is this one."""
    workers = min(jobs or os.cpu_count() or 1, len(subjects))
    if workers < 2:
        for subject in subjects:
            yield subject, measure(subject, settings)
        return
    # A forked child would inherit locks of this one's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        waiting = {pool.submit(measure, subject, settings): subject for subject in subjects}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise InputError(
                "A process that measured was ended from outside, perhaps for want of memory; run the command again to "
                "go on, with fewer --jobs."
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    """The processes share the cores already."""
    import torch

    torch.set_num_threads(1)


def _file_names(subjects: list[Subject]) -> dict[str, str]:
    """A file name for each subject; names that differ in capitals only, which some file systems mix up, get numbers."""
    taken: dict[str, int] = {}
    names = {}
    for subject in subjects:
        count = taken[subject.name.casefold()] = taken.get(subject.name.casefold(), 0) + 1
        names[subject.name] = subject.name if count == 1 else f"{subject.name}~{count}"
    return names


def _key(subject: Subject, settings: Settings) -> str:
    """Changes whenever a file, its name or a setting does."""
    stats = [(str(file), (info := file.stat()).st_size, info.st_mtime_ns) for file in subject.files]
    names = [p.name for p in subject.predictions] + [p.name for p in subject.pairs]
    model = None
    if settings.model is not None:
        info = Path(settings.model).stat()
        model = (settings.model, info.st_size, info.st_mtime_ns)
    content = [_FORMAT, dataclasses.asdict(settings), names, stats, model]
    return sha256(json.dumps(content).encode()).hexdigest()


def _stored(stem: Path) -> dict[str, Any]:
    """What an earlier run left of a subject; empty when that is missing or damaged."""
    try:
        content = json.loads(_beside(stem, ".json").read_text(encoding="utf-8"))
        with zipfile.ZipFile(_beside(stem, ".npz")) as archive:
            archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return content if isinstance(content, dict) else {}


def _store(stem: Path, measured: Measured, key: str) -> None:
    """The errors first: the json beside them says that a subject is done."""
    from flamehead.evaluate import summarize
    from flamehead.io import atomic_path, write_json

    images: dict[str, Any] = {
        image: {part: dataclasses.asdict(summarize(values)) for part, values in parts.items()}
        for image, parts in measured.errors.items()
    }
    arrays: dict[str, Any] = {
        f"{part}/{image}": values.astype(np.float32)
        for image, parts in measured.errors.items()
        for part, values in parts.items()
    }
    with atomic_path(_beside(stem, ".npz")) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    write_json(_beside(stem, ".json"), {"key": key, "images": images, "failures": measured.failures})


def _beside(stem: Path, suffix: str) -> Path:
    """Subjects may have dots in their names."""
    return stem.with_name(stem.name + suffix)


def _collect(folder: Path, names: list[str]) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]:
    """The errors of all images by part and image, and what failed."""
    errors: dict[str, dict[str, np.ndarray]] = {}
    failures: dict[str, str] = {}
    for name in names:
        failures |= json.loads(_beside(folder / name, ".json").read_text(encoding="utf-8"))["failures"]
        with np.load(_beside(folder / name, ".npz"), allow_pickle=False) as stored:
            for key in stored.files:
                part, _, image = key.partition("/")
                errors.setdefault(part, {})[image] = stored[key]
    return errors, failures


def _report(
    out: Path,
    settings: Settings,
    errors: dict[str, dict[str, np.ndarray]],
    failures: dict[str, str],
    *,
    unit: str,
    images: int,
    largest: float | None,
    quiet: bool,
) -> None:
    """The table, `results.json` and `curve.png`: all errors of a part together, as the benchmarks have it."""
    from flamehead.evaluate import cumulative_share, draw_curves, summarize
    from flamehead.io import write_image, write_json

    joined = {part: np.concatenate(list(by_image.values())) for part, by_image in errors.items()}
    total = {part: dataclasses.asdict(summarize(values)) for part, values in joined.items()}
    limits = np.linspace(0.0, largest or 7.0, 141)
    write_json(
        out / "results.json",
        {
            "settings": dataclasses.asdict(settings),
            "unit": unit,
            "images": images - len(failures),
            "total": total,
            "curve": {"limits": limits, **{part: cumulative_share(values, limits) for part, values in joined.items()}},
            "by_image": {
                image: {part: dataclasses.asdict(summarize(of[image])) for part, of in errors.items() if image in of}
                for image in sorted({image for of in errors.values() for image in of})
            },
            "failures": failures,
        },
    )
    write_image(out / "curve.png", draw_curves(joined, largest=largest, unit=unit))
    if not quiet:
        print(f"{'':<10}{'median':>10}{'mean':>10}{'std':>10}{'rms':>10}{'largest':>10}  {unit}, {'points':>9}")
        for part, row in total.items():
            numbers = "".join(f"{row[name]:>10.4f}" for name in ("median", "mean", "std", "rms", "largest"))
            print(f"{part:<10}{numbers}{row['count']:>{len(unit) + 13}}")
        print(f"{images - len(failures)} of {images} images; results.json, curve.png and subjects/ are in {out}.")


def _outcome(failures: dict[str, str], images: int, out: Path) -> int:
    for name, sentence in failures.items():
        named = "" if name in sentence else f"{name}: "
        print(f"flamehead: {named}{sentence}", file=sys.stderr)
    if failures and images > 1:
        rest = "the numbers are of the others" if len(failures) < images else "there are no results"
        print(
            f"flamehead: {len(failures)} of {images} images could not be measured, see above; {rest}.", file=sys.stderr
        )
    return 1 if failures else 0


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"Cannot write into {folder} ({reason}); name a folder you may write to with --out."
        ) from error


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """A progress bar on standard error for several subjects on a terminal."""
    if quiet or total < 2 or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task("Measuring", total=total)
        yield lambda: bar.advance(task)
