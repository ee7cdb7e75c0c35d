"""`flamehead encode`: photos to posed heads with expression, light and wrinkles, by DECA."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from flamehead._timed import timed
from flamehead.cli._outputs import check_folder
from flamehead.cli._photos import device_of, each_photo, engine_for, open_model, photos_in, see_photo
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.formats import DecaCodes
    from flamehead.regress import Deca, DecaAssets, Encoded

__all__ = ["EncodePhotos"]


@dataclass(frozen=True)
class EncodePhotos:
    """Read identity, pose, expression, light and wrinkles off each photo with DECA's networks.

    One photo: the files go into DIR. Several: into a folder each, named after the photo. Per photo: the files of DECA's
    demo (obj with texture and normals, detail obj, mat, landmarks, depth, pictures), codes.npz, params.npz,
    report.json. The checkpoint has its own licence and is never shipped.
    """

    images: tyro.conf.Positional[Annotated[tuple[Path, ...], tyro.conf.arg(metavar="PHOTO ...")]]
    """Photos, or folders of photos."""
    checkpoint: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The official deca_model.tar; nothing in it is executed."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Your FLAME 2020, for which the codes are; by default the built-in head, which shows another person."""
    data: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """DECA's folder `data`: texture layout, mask, displacement, albedo; needed with --model."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Landmarks of the one photo (68, 468 or 478 points) instead of the detector."""
    transfer: Annotated[Path | None, tyro.conf.arg(metavar="PHOTO")] = None
    """Give every head the jaw and the expression of the face in this photo."""
    animate: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Also animate every head with the codes in this folder (codes.npz of earlier runs) or file: DIR/animation."""
    turn: bool = False
    """With --animate: take the rotation of the head along."""
    fps: float = 25.0
    """Frames per second of --animate."""
    device: str = "cpu"
    """Where the networks run: cpu or cuda."""
    half: bool = False
    """On cuda: compute in float16 where it is safe; the codes differ by about a hundredth."""
    force: bool = False
    """Use a model of another release; the head then looks like somebody else."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        photos = photos_in(self.images)
        if self.landmarks is not None and len(photos) > 1:
            raise InputError(f"One landmark file cannot serve {len(photos)} photos; do them one by one.")
        if self.model is not None and self.data is None:
            raise InputError(
                "--model needs --data, DECA's folder with head_template.obj and uv_face_eye_mask.png: the built-in "
                "head's texture layout does not fit your model."
            )
        if self.turn and self.animate is None:
            raise InputError("--turn belongs to --animate; name a folder of codes with it, or leave it out.")
        if not 0 < self.fps <= 100:
            raise InputError(f"The frame rate is {self.fps}; give frames per second from above 0 to 100.")
        from flamehead.regress import check_checkpoint

        # What is wrong with a file is said before kernels are compiled and the built-in head is made.
        check_folder(self.out)
        check_checkpoint(self.checkpoint, "DECA")
        frames = None if self.animate is None else _frames(self.animate)
        deca, assets = self._open(len(photos))
        source = None if self.transfer is None else _encode(deca, self.transfer, None)

        def work(photo: Path, folder: Path) -> str:
            return _line(_encode_one(self, deca, assets, source, frames, photo, folder), folder)

        single = len(photos) == 1
        return each_photo(photos, self.out, work, what="Encoding", quiet=self.quiet, single=single)

    def _open(self, count: int) -> tuple[Deca, DecaAssets]:
        from flamehead.cli._prepare import built_in_head_coming, compile_kernels
        from flamehead.regress import builtin_deca_assets, load_deca, read_deca_assets

        with built_in_head_coming(wanted=self.model is None) as wait:
            given = None if self.data is None else read_deca_assets(self.data)
            compile_kernels()
            if wait is not None:
                wait()
        flame = None if self.model is None else open_model(self.model)
        engine = engine_for(count)
        deca = load_deca(
            self.checkpoint, flame=flame, force=self.force, device=device_of(self.device), engine=engine, half=self.half
        )
        if not self.quiet:
            head = "the built-in head, on which DECA's codes show another person; --model PATH selects FLAME 2020"
            print(f"Networks: {self.checkpoint}; model: {self.model or head}.", flush=True)
        return deca, builtin_deca_assets() if given is None else given


def _frames(path: Path) -> list[tuple[str, DecaCodes]]:
    from flamehead.regress import read_frames

    return read_frames(path)


def _encode(deca: Deca, photo: Path, landmarks: Path | None) -> Encoded:
    return _encode_pixels(deca, photo, landmarks)[0]


def _encode_pixels(deca: Deca, photo: Path, landmarks: Path | None) -> tuple[Encoded, Any]:
    from flamehead.regress import encode

    pixels, seen = see_photo(photo, landmarks)
    return encode(deca, pixels, seen=seen), pixels


def _encode_one(
    command: EncodePhotos,
    deca: Deca,
    assets: DecaAssets,
    source: Encoded | None,
    frames: list[tuple[str, DecaCodes]] | None,
    photo: Path,
    folder: Path,
) -> dict[str, Any]:
    from flamehead.regress import decode, save_animation, save_decoded, transfer

    seconds: dict[str, float] = {}
    with timed(seconds, "encode"):
        encoded, pixels = _encode_pixels(deca, photo, command.landmarks)
    if source is not None:
        encoded = dataclasses.replace(encoded, codes=transfer(encoded.codes, source.codes))
    with timed(seconds, "decode"):
        decoded = decode(deca, encoded.codes, crop=encoded.crop, assets=assets)
    report = {"image": str(photo)} | _report(command, deca, encoded) | {"seconds": seconds}
    save_decoded(deca, encoded, decoded, folder, stem=photo.stem, assets=assets, photo=pixels, report=report)
    if frames is not None:
        turn, fps = command.turn, command.fps
        save_animation(deca, encoded, frames, folder / "animation", assets=assets, turn=turn, fps=fps)
    return report


def _report(command: EncodePhotos, deca: Deca, encoded: Encoded) -> dict[str, Any]:
    codes = encoded.codes
    warnings = []
    if command.model is None:
        warnings.append("The codes are for FLAME 2020; the built-in head shows another person with them.")
    return {
        "checkpoint": str(command.checkpoint),
        "model": deca.flame.arrays.source,
        "fingerprint": deca.flame.fingerprint,
        "cropped_by": encoded.points_source,
        "image_to_crop": encoded.matrix,
        "expression_from": None if command.transfer is None else str(command.transfer),
        "camera": {"scale": float(codes.cam[0]), "shift": codes.cam[1:]},
        "root": codes.pose[:3],
        "jaw": codes.pose[3:],
        "largest_coefficient": max(float(codes.shape.abs().max()), float(codes.exp.abs().max())),
        "warnings": warnings,
    }


def _line(report: dict[str, Any], folder: Path) -> str:
    name, seconds = Path(report["image"]).name, report["seconds"]
    return (
        f"{name}: largest coefficient {report['largest_coefficient']:.2f}, encoded in "
        f"{1000 * seconds['encode']:.0f} ms, decoded in {1000 * seconds['decode']:.0f} ms -> {folder}"
    )
