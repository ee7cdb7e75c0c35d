"""Which files `flamehead evaluate` measures: predictions and truths that belong together, by folders and names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from flamehead.errors import InputError

__all__ = ["Pair", "Prediction", "Subject", "find_pairs", "find_scans"]

_MESHES = (".obj", ".ply", ".npz", ".npy", ".stl", ".off", ".glb")
_SCANS = (".obj", ".ply", ".stl", ".off", ".glb")
_POINTS = (".pp", ".npy", ".txt")
_MARK = "_landmarks"


@dataclass(frozen=True)
class Prediction:
    """A mesh that was predicted for one image."""

    name: str
    """Path below the folder of predictions, without the suffix."""
    mesh: Path
    landmarks: Path | None
    """None where only a FLAME mesh will do, whose landmarks the model knows."""


@dataclass(frozen=True)
class Pair:
    """A file and what it should be."""

    name: str
    predicted: Path
    truth: Path


@dataclass(frozen=True)
class Subject:
    """What is measured in one go: the predictions of one person, and that person's scan or truths."""

    name: str
    predictions: tuple[Prediction, ...] = ()
    scan: Path | None = None
    scan_landmarks: Path | None = None
    pairs: tuple[Pair, ...] = ()

    @property
    def files(self) -> list[Path]:
        """Every file that the result depends on."""
        found = [self.scan, self.scan_landmarks, *(p.mesh for p in self.predictions)]
        found += [p.landmarks for p in self.predictions]
        found += [file for pair in self.pairs for file in (pair.predicted, pair.truth)]
        return [file for file in found if file is not None]


def find_scans(predictions: Path, scans: Path, landmarks: Path | None, images: Path | None) -> list[Subject]:
    """Predictions by subject, each with its scan, in NoW's layout: `SUBJECT/CHALLENGE/IMAGE.obj` and `SUBJECT/*.obj`.

    Args:
        predictions: Their folder; the first folder below it, or the file's own name, is the subject.
        scans: Holds `SUBJECT/*.obj` (one mesh each) or `SUBJECT.obj`.
        landmarks: Holds `SUBJECT/*.pp` or `SUBJECT.pp`, also `.npy` or `.txt`; the folder of the scans when None.
        images: A list of the images to be measured, one path per line; every prediction when None.

    Raises:
        InputError: A folder is missing, a listed image has no prediction, or a subject no scan or landmarks.
    """
    folders = _folder(predictions), _folder(scans), _folder(landmarks or scans)
    meshes = _meshes_below(folders[0])
    names = sorted(meshes) if images is None else _listed(images)
    if absent := [name for name in names if name not in meshes]:
        raise InputError(
            f"{len(absent)} of {len(names)} listed images have no mesh in {predictions}, the first is {absent[0]}; "
            "add the meshes, or take those images from the list."
        )
    if not names:
        raise InputError(f"There are no meshes in {predictions} (looked for {' '.join(_MESHES)}); check the folder.")
    by_subject: dict[str, list[Prediction]] = {}
    for name in names:
        by_subject.setdefault(name.split("/")[0], []).append(
            Prediction(name, meshes[name], _landmarks_of(meshes[name]))
        )
    return [
        Subject(
            subject,
            tuple(found),
            _one_of(folders[1], subject, _SCANS, "scan", avoid=_MARK),
            _one_of(folders[2], subject, _POINTS, "file of landmarks"),
        )
        for subject, found in by_subject.items()
    ]


def find_pairs(predictions: Path, truths: Path, *, points: bool) -> list[Subject]:
    """Predicted and true files of the same names below two folders, or two single files.

    Args:
        predictions: A folder or a file.
        truths: The same; a folder decides which names are wanted.
        points: Whether files of landmarks are sought rather than meshes.

    Raises:
        InputError: A folder is missing or empty, or a truth has no prediction.
    """
    if predictions.is_file() and truths.is_file():
        return [Subject(truths.stem, pairs=(Pair(truths.stem, predictions, truths),))]
    found = _points_below(_folder(predictions)) if points else _meshes_below(_folder(predictions))
    wanted = _points_below(_folder(truths)) if points else _meshes_below(_folder(truths))
    if not wanted:
        raise InputError(f"There is nothing to compare with in {truths}; check the folder.")
    if absent := [name for name in sorted(wanted) if name not in found]:
        raise InputError(
            f"{len(absent)} of {len(wanted)} files in {truths} have no partner of the same name in {predictions}, the "
            f"first of them {absent[0]}; add the predictions, or take out the truths."
        )
    by_subject: dict[str, list[Pair]] = {}
    for name in sorted(wanted):
        by_subject.setdefault(name.split("/")[0], []).append(Pair(name, found[name], wanted[name]))
    return [Subject(subject, pairs=tuple(pairs)) for subject, pairs in by_subject.items()]


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InputError(f"There is no folder {path}; check the path.")
    return path


def _meshes_below(folder: Path) -> dict[str, Path]:
    """Meshes by their path without suffix; an array beside a mesh of the same name holds its landmarks."""
    files = [file for file in _files(folder, _MESHES) if not file.stem.endswith(_MARK)]
    found: dict[str, Path] = {}
    for file in sorted(files, key=lambda file: _MESHES.index(file.suffix.lower())):
        found.setdefault(file.relative_to(folder).with_suffix("").as_posix(), file)
    return found


def _points_below(folder: Path) -> dict[str, Path]:
    files = _files(folder, (".npy", ".npz", ".txt", ".pp", ".json"))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def _files(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    hidden = (file for file in sorted(folder.rglob("*")) if file.is_file() and not file.name.startswith("."))
    return [file for file in hidden if file.suffix.lower() in tuple(suffixes)]


def _listed(images: Path) -> list[str]:
    """The lines of a list of images, without their suffixes; a leading `./` or `iphone_pictures/` is dropped."""
    try:
        lines = images.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the list {images} ({type(error).__name__}); give a text file.") from error
    paths = [line.strip().replace("\\", "/").removeprefix("./").removeprefix("iphone_pictures/") for line in lines]
    return list(dict.fromkeys(Path(path).with_suffix("").as_posix() for path in paths if path))


def _landmarks_of(mesh: Path) -> Path | None:
    """The file of landmarks beside a mesh: the same name with another suffix, or with `_landmarks` behind it."""
    names = [mesh.stem + suffix for suffix in (".npy", ".txt", ".pp")]
    names += [mesh.stem + _MARK + suffix for suffix in (".npy", ".txt", ".pp")]
    return next((file for name in names if (file := mesh.with_name(name)) != mesh and file.is_file()), None)


def _one_of(folder: Path, subject: str, suffixes: tuple[str, ...], what: str, *, avoid: str = "\0") -> Path:
    """The one file of a subject: in a folder of its name, or under its name."""
    inner = folder / subject
    found = _files(inner, suffixes) if inner.is_dir() else [folder / (subject + suffix) for suffix in suffixes]
    found = [file for file in found if file.is_file() and avoid not in file.stem]
    for suffix in suffixes:
        same = [file for file in found if file.suffix.lower() == suffix]
        if len(same) == 1:
            return same[0]
        if same:
            raise InputError(
                f"The subject {subject} has {len(same)} files that could be its {what}, {same[0]} and {same[1]} among "
                "them; leave one."
            )
    raise InputError(f"There is no {what} of the subject {subject} in {folder} ({' '.join(suffixes)}); add it.")
