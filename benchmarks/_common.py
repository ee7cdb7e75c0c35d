"""What every benchmark shares: its options, the line that names the machine, and the file of figures."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

__all__ = ["SAMPLE", "machine", "options", "write_figures"]

SAMPLE = Path(__file__).parents[1] / "src/flamehead/cli/demo_data/astronaut.jpg"
"""The portrait that comes with the package."""


def options(description: str | None, *, quick: str) -> argparse.ArgumentParser:
    """A parser with `--quick` and `--json`; a script adds its own arguments."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    return parser


def machine(*, threads: str) -> str:
    """One line: processor, cores, threads in use, versions, date; and the load when others were at work."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    line = f"{_processor()}, {cores} cores, {threads}, Python {platform.python_version()}, {packages}"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    busy = f", busy machine (load {load:.1f} at the start)" if load > 0.5 else ""
    return f"{line}, {datetime.date.today().isoformat()}{busy}"


def write_figures(path: Path | None, figures: Mapping[str, float]) -> None:
    """Write a flat JSON object of figure names to numbers, whole or not at all."""
    if path is None:
        return
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(dict(figures), indent=2) + "\n")
    temporary.replace(path)


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    if table.is_file():
        for line in table.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or f"{platform.machine()} {sys.platform}"
