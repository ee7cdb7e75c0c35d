"""`flamehead scan`: the scan of a head in, a registered head out."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from flamehead.cli._outputs import check_folder
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.model import Flame

__all__ = ["FitScan"]

_UNIT_NAMES = {"m": "metres", "cm": "centimetres", "mm": "millimetres", "unknown": "an unknown unit"}


@dataclass(frozen=True)
class FitScan:
    """Register a head to the scan of a head.

    Into DIR go params.npz, mesh.obj, mesh.ply, distances.ply, overlay.png, histogram.png, landmarks.npz, report.json;
    the meshes are in the scan's own frame and unit.
    """

    mesh: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MESH")]]
    """A mesh or a point cloud: OBJ, PLY, STL, OFF, GLB, or NPZ with vertices and faces."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """51, 68, 105, 468 or 478 points in the scan's frame (npy, npz, json, txt, csv, pp); by default they are found."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    unit: Literal["m", "cm", "mm", "unknown"] | None = None
    """Of the scan; by default guessed from the size of the face."""
    offsets: bool = False
    """Let vertices leave the model to lie on the scan."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        for what, path in (("mesh", self.mesh), ("landmark", self.landmarks)):
            if path is not None and not path.is_file():
                raise InputError(f"There is no {what} file {path}; check the name.")
        check_folder(self.out)
        from flamehead.cli._prepare import built_in_head_coming, compile_kernels
        from flamehead.pipeline_scan import fit_scan, save_scan_fit

        with built_in_head_coming(wanted=self.model is None) as wait:
            if wait is not None and not self.quiet:
                print("First run on this machine: building the built-in head and compiling kernels ...", flush=True)
            compile_kernels()
            if wait is not None:
                wait()
        result = fit_scan(self.mesh, flame=_model(self), landmarks=self.landmarks, unit=self.unit, offsets=self.offsets)
        report = save_scan_fit(result, self.out)
        if not self.quiet:
            _say(self, report)
        return 0


def _model(command: FitScan) -> Flame:
    from flamehead.model import load_flame

    if command.model is not None:
        return load_flame(command.model)
    if not command.quiet:
        print("Model: the built-in head (no licence needed); --model PATH selects a FLAME file.", flush=True)
    return load_flame()


def _say(command: FitScan, report: dict[str, Any]) -> None:
    guessed = "given" if command.unit else "guessed from the size of the face"
    print(f"Unit: {_UNIT_NAMES[report['unit']]} ({guessed}), {report['scan_scale']:.6g} m per unit.")
    marks, face = report["landmarks"], report["face_mm"]
    origin = "from the file" if marks["source"] == "file" else "found on the scan"
    print(f"Landmarks: {marks['seen']} {origin}, {marks['mean_mm']:.1f} mm from those of the first fit.")
    for sentence in report["warnings"]:
        print(f"flamehead: warning: {command.mesh}: {sentence}", file=sys.stderr)
    median = "unknown" if face["median"] is None else f"median {face['median']:.2f} mm, mean {face['mean']:.2f} mm"
    seconds = sum(report["seconds"].values())
    print(f"{command.mesh.name}: distance of the face {median}, {seconds:.1f} s -> {command.out}")
