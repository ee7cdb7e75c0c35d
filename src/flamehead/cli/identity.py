"""`flamehead identity`: photos to the neutral head of the person, by MICA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from flamehead._timed import timed
from flamehead.cli._outputs import check_folder
from flamehead.cli._photos import device_of, each_photo, engine_for, open_model, photos_in, see_photo
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.regress import Identity, Mica, Scrfd

__all__ = ["IdentifyPhotos"]

_LARGEST_COEFFICIENT = 4.0


@dataclass(frozen=True)
class IdentifyPhotos:
    """Find the metrical identity of the person in each photo with MICA's networks.

    One photo: the files go into DIR. Several: into a folder each, named after the photo. Per photo: identity.npy,
    mesh.obj, mesh.ply, kpt68.npy, kpt7.npy (all as MICA writes them, millimetres), arcface.npy, arcface.jpg,
    params.npz, portrait.png, report.json. The checkpoint has its own licence and is never shipped.
    """

    images: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PHOTO ...")]]
    """Photos, or folders of photos."""
    checkpoint: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The official mica.tar; nothing in it is executed."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    detector: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of insightface's pack antelopev2 or buffalo_l, as MICA uses it; by default MediaPipe aligns the face."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Your FLAME 2020, whose fingerprint params.npz then carries; by default the one inside the checkpoint."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Landmarks of the one photo (68, 468 or 478 points) instead of a detector."""
    median: bool = False
    """All photos show one person: also write the median of the identities into DIR."""
    device: str = "cpu"
    """Where the networks run: cpu or cuda."""
    half: bool = False
    """On cuda: compute in float16 where it is safe; the codes differ by about a hundredth."""
    force: bool = False
    """Use another model than the one inside the checkpoint; the head then looks like somebody else."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        photos = photos_in(self.images)
        if self.landmarks is not None and len(photos) > 1:
            raise InputError(f"One landmark file cannot serve {len(photos)} photos; do them one by one.")
        if self.landmarks is not None and self.detector is not None:
            raise InputError("--landmarks and --detector both say where the face is; give one of them.")
        check_folder(self.out)
        mica, detector = self._open(len(photos))
        found: list[Identity] = []

        def work(photo: Path, folder: Path) -> str:
            identity, report = _identify(self, mica, detector, photo, folder)
            found.append(identity)
            return _line(report, folder)

        single = len(photos) == 1 and not self.median
        status = each_photo(photos, self.out, work, what="Identifying", quiet=self.quiet, single=single)
        if self.median and found:
            self._write_median(mica, found)
        return status

    def _open(self, count: int) -> tuple[Mica, Scrfd | None]:
        from flamehead.regress import Scrfd, load_mica

        # The detector first: it opens in no time, the checkpoint in seconds.
        detector = None if self.detector is None else Scrfd(self.detector)
        flame = None if self.model is None else open_model(self.model)
        engine = engine_for(count)
        mica = load_mica(
            self.checkpoint, flame=flame, force=self.force, device=device_of(self.device), engine=engine, half=self.half
        )
        if not self.quiet:
            seen = "landmarks from a file" if self.landmarks else detector.source if detector else "MediaPipe"
            print(f"Networks: {self.checkpoint}; faces are aligned by {seen}.", flush=True)
        return mica, detector

    def _write_median(self, mica: Mica, found: list[Identity]) -> None:
        from flamehead.regress import median_identity, save_identity

        middle = median_identity(found)
        spread = max(abs(float(value)) for one in found for value in one.shape - middle.shape)
        report = _report(self, middle) | {"photos": len(found), "largest_deviation": spread}
        save_identity(middle, self.out, report=report)
        if not self.quiet:
            print(f"median of {len(found)} photos, farthest coefficient {spread:.2f} away -> {self.out}", flush=True)


def _identify(
    command: IdentifyPhotos, mica: Mica, detector: Scrfd | None, photo: Path, folder: Path
) -> tuple[Identity, dict[str, Any]]:
    from flamehead.regress import identify, save_identity

    seconds: dict[str, float] = {}
    with timed(seconds, "detect"):
        pixels, seen = see_photo(photo, command.landmarks, detect=detector is None)
    with timed(seconds, "network"):
        identity = identify(mica, pixels, detector=detector, seen=seen)
    report = {"image": str(photo)} | _report(command, identity) | {"seconds": seconds}
    save_identity(identity, folder, report=report)
    return identity, report


def _report(command: IdentifyPhotos, identity: Identity) -> dict[str, Any]:
    largest = float(abs(identity.shape).max())
    warnings = []
    if not identity.points_source.startswith("insightface"):
        warnings.append(
            "The face was not aligned by insightface's detector, which MICA was trained with; codes differ slightly."
        )
    if not largest < _LARGEST_COEFFICIENT:
        warnings.append(f"A coefficient has {largest:.1f} standard deviations; the shape is not credible.")
    return {
        "checkpoint": str(command.checkpoint),
        "model": identity.flame.arrays.source,
        "fingerprint": identity.fingerprint,
        "aligned_by": identity.points_source,
        "points": identity.points,
        "largest_coefficient": largest,
        "warnings": warnings,
    }


def _line(report: dict[str, Any], folder: Path) -> str:
    name, seconds = Path(report["image"]).name, report["seconds"]
    return (
        f"{name}: largest coefficient {report['largest_coefficient']:.2f}, network "
        f"{1000 * seconds['network']:.0f} ms, aligned by {report['aligned_by']} -> {folder}"
    )
