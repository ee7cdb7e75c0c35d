"""`flamehead evaluate`: how good predictions are, by the field's measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from flamehead.errors import InputError

__all__ = ["Evaluate", "Landmarks", "Now", "Regions", "Vertices"]

Unit = Literal["m", "cm", "mm"]
Folder = Annotated[Path, tyro.conf.arg(metavar="DIR")]
Model = Annotated[Path | None, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True)
class _AgainstScans:
    predictions: Folder
    """Predicted meshes (obj, ply, stl, npz or npy) as SUBJECT/CHALLENGE/IMAGE.obj, each with its seven landmarks beside
    it as IMAGE.npy or IMAGE.txt; the landmarks of FLAME meshes may be left out."""
    scans: Folder
    """SUBJECT/*.obj, one scan each, or SUBJECT.obj."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for results.json, curve.png and subjects/; run again with the same folder to go on."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """The scans' landmarks, SUBJECT/*.pp (MeshLab), npy or txt; by default beside the scans."""
    images: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """List of the images to be measured, one path a line; by default all predictions."""
    metrical: bool = False
    """Keep the size of the predictions: it must be right, too."""
    unit: Unit = "mm"
    """Of the predictions; matters with --metrical only."""
    scan_unit: Unit = "mm"
    """Of the scans and their landmarks."""
    model: Model = None
    """A FLAME file, for predictions without faces or landmarks; by default the built-in head."""
    jobs: int = 0
    """Processes; 0 is one for each core."""
    largest: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Right end of the curve, millimetres."""
    quiet: bool = False
    """Print nothing but errors."""

    def _run(self, verb: Literal["now", "regions"]) -> int:
        _check(self.jobs, self.largest, self.model)
        from flamehead.cli._evaluate_files import find_scans

        subjects = find_scans(self.predictions, self.scans, self.landmarks, self.images)
        options = {"metrical": self.metrical, "unit": self.unit, "scan_unit": self.scan_unit}
        return _evaluate(self, subjects, verb, "mm", **options)


@dataclass(frozen=True)
class Now(_AgainstScans):
    """Scan-to-mesh distances by the NoW protocol, scale-invariant or metrical."""

    def run(self) -> int:
        return self._run("now")


@dataclass(frozen=True)
class Regions(_AgainstScans):
    """Scan-to-mesh distances of nose, mouth, forehead and cheek, each aligned by itself, in the manner of REALY."""

    def run(self) -> int:
        return self._run("regions")


@dataclass(frozen=True)
class Vertices:
    """Vertex by vertex distances of meshes that share one topology."""

    predictions: Folder
    """Folder of meshes (obj, ply, npz or npy), or one mesh."""
    truths: Folder
    """Folder of meshes of the same names, or one mesh."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for results.json, curve.png and subjects/; run again with the same folder to go on."""
    align: Literal["none", "rigid", "similarity"] = "none"
    """What is taken out first: nothing, rotation and translation, or those and the scale."""
    region: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """Measure (and align) a region of the model only, such as face."""
    unit: Unit = "m"
    """Of all meshes."""
    model: Model = None
    """A FLAME file that knows the region; by default the built-in head."""
    jobs: int = 0
    """Processes; 0 is one for each core."""
    largest: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """Right end of the curve, millimetres."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self.jobs, self.largest, self.model)
        from flamehead.cli._evaluate_files import find_pairs

        subjects = find_pairs(self.predictions, self.truths, points=False)
        return _evaluate(self, subjects, "vertices", "mm", align=self.align, region=self.region, unit=self.unit)


@dataclass(frozen=True)
class Landmarks:
    """Distances of landmarks: of heads in millimetres, or of images in percent of the face's size."""

    predictions: Folder
    """Folder of landmarks (npy, npz, json, txt or pp; rows of 2 or 3 numbers), or one file."""
    truths: Folder
    """Folder of files of the same names, or one file."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for results.json, curve.png and subjects/; run again with the same folder to go on."""
    align: Literal["none", "rigid", "similarity"] = "none"
    """3D only: what is taken out first."""
    unit: Unit = "m"
    """3D only: of all landmarks."""
    divide_by: Literal["none", "box", "eyes"] = "eyes"
    """2D only: the distance between the outer eye corners, the root of the bounding box's area, or nothing (pixels)."""
    jobs: int = 1
    """Processes; 0 is one for each core."""
    largest: Annotated[float | None, tyro.conf.arg(metavar="X")] = None
    """Right end of the curve, in the unit of the errors."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self.jobs, self.largest, None)
        from flamehead.cli._evaluate_files import find_pairs
        from flamehead.cli._evaluate_measure import read_points

        subjects = find_pairs(self.predictions, self.truths, points=True)
        columns = read_points(subjects[0].pairs[0].truth).shape[1]
        unit = "mm" if columns == 3 else "px" if self.divide_by == "none" else "%"
        options = {"align": self.align, "unit": self.unit, "divide_by": self.divide_by}
        return _evaluate(self, subjects, "landmarks", unit, **options)


@dataclass(frozen=True)
class Evaluate:
    """Measure predictions against scans, meshes or landmarks."""

    command: (
        Annotated[Now, tyro.conf.subcommand("now")]
        | Annotated[Regions, tyro.conf.subcommand("regions")]
        | Annotated[Vertices, tyro.conf.subcommand("vertices")]
        | Annotated[Landmarks, tyro.conf.subcommand("landmarks")]
    )

    @property
    def quiet(self) -> bool:
        return self.command.quiet

    def run(self) -> int:
        return self.command.run()


def _check(jobs: int, largest: float | None, model: Path | None) -> None:
    if jobs < 0:
        raise InputError(f"--jobs is {jobs}; give 1 or more, or 0 for one process per core.")
    if largest is not None and not 0.0 < largest < 1e6:
        raise InputError(f"--largest is {largest}; give the right end of the curve, a positive number.")
    if model is not None and not model.is_file():
        raise InputError(f"There is no model file {model}; check the path given with --model.")


def _evaluate(command: Any, subjects: list[Any], verb: Any, shown: str, **options: Any) -> int:
    """Measure; `shown` is the unit of the errors."""
    from flamehead.cli._evaluate_measure import Settings
    from flamehead.cli._evaluate_run import evaluate

    model = getattr(command, "model", None)
    settings = Settings(verb, model=None if model is None else str(model), **options)
    return evaluate(
        subjects,
        settings,
        command.out,
        jobs=command.jobs,
        unit=shown,
        quiet=command.quiet,
        largest=command.largest,
    )
