"""`flamehead track`: a video in, one head through all of its frames out."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from flamehead.cli._export_options import DataSetOptions, SurfaceOptions
from flamehead.cli._outputs import check_folder
from flamehead.cli._usage import FlameVariant, UsageError, check_variant
from flamehead.cli.export import FORMATS, Export
from flamehead.errors import InputError, MissingExtra, check_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from flamehead.data import Track
    from flamehead.fit import IdentityPrior
    from flamehead.model import Flame
    from flamehead.pipeline_track import FoundIdentity, TrackProgress

__all__ = ["TrackVideo"]

_STAGES = {"landmarks": "Finding the face", "calibration": "Calibrating", "frames": "Following", "pictures": "Drawing"}
_LARGEST_ERROR = 3.0
"""Percent; a face that is followed well stays below 1.5."""
_MOST_LOST = 0.05


@dataclass(frozen=True)
class TrackVideo:
    """Follow the head in a video: pose, expression, jaw, gaze, eyelids and light of every frame, one identity.

    Into DIR go track.npz, report.json, overlay.mp4 (input, overlay, landmarks, shape), errors.png, contact.png; and
    calibration.npz and two journals, with which a run that was stopped goes on: start it again in the same words.
    """

    source: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="VIDEO|FOLDER")]]
    """A video, or a folder of numbered pictures of one size."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])]
    """Folder for the results."""
    fps: float | None = None
    """Frames per second that are taken from a video, none twice; of a folder: how many were taken, 25 by default."""
    start: Annotated[str, tyro.conf.arg(metavar="PLACE")] = "0"
    """Where to begin: seconds such as 2.5, or a frame such as 120f."""
    end: Annotated[str | None, tyro.conf.arg(metavar="PLACE")] = None
    """Where to end, likewise; the frame there is not taken."""
    landmarks_only: bool = False
    """Follow the landmarks alone: many times faster, without colours and light."""
    identity: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npy")] = None
    """What is known of the person: identity coefficients, such as MICA's identity.npy."""
    identity_from: Literal["mica"] | None = None
    """Read the identity off the frames by a network; needs --checkpoint."""
    checkpoint: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The official mica.tar for --identity-from; nothing in it is executed."""
    identity_weight: float = 10.0
    """How far the identity is believed against the landmarks; 1 trusts it as much as otherwise the mean head."""
    focal: float | None = None
    """Focal length in pixels of the video; estimated by default."""
    model: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """A licensed FLAME file; by default the built-in head."""
    flame_variant: FlameVariant = "unknown"
    """Release of the model, where its file does not say."""
    texture: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """Colours for a licensed model, such as FLAME_texture.npz."""
    uv: Annotated[Path | None, tyro.conf.arg(metavar="FILE.obj")] = None
    """Texture coordinates, for a texture file that holds none."""
    keyframes: int = 8
    """Frames that identity, colours and lens are found from."""
    no_smooth: bool = False
    """Leave the frames as they were found one after the other; short gaps are bridged all the same."""
    restart: bool = False
    """Throw away what an earlier run left in DIR."""
    no_pictures: bool = False
    """Write no overlay.mp4, errors.png and contact.png."""
    to: Annotated[str | None, tyro.conf.arg(metavar="FORMAT")] = None
    """Also write the track for another program, into DIR/FORMAT, as `flamehead export DIR --to FORMAT` does without
    options: gltf, html, arkit, obj, metrical, insta, gaussian-avatars, ..."""
    tensorboard: bool = False
    """Also write the errors of all frames for TensorBoard, into DIR/tensorboard."""
    force: bool = False
    """Use MICA's identity with a model that it was not made for."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        _check(self)
        check_folder(self.out)
        if self.checkpoint is not None:
            from flamehead.regress import check_checkpoint

            check_checkpoint(self.checkpoint, "MICA")
        writer = _tensorboard(self.out) if self.tensorboard else None
        # Bad sources are told before a model is loaded and kernels are compiled.
        from flamehead.io import open_frames

        frames = open_frames(self.source, fps=self.fps, start=self.start, end=self.end)
        if not self.quiet:
            noun = "frame" if len(frames) == 1 else "frames"
            print(
                f"{self.source}: {len(frames)} {noun} of {frames.size[0]} x {frames.size[1]} pixels, "
                f"{frames.times[-1] - frames.times[0]:.1f} s.",
                flush=True,
            )
        flame = _flame(self)
        from flamehead.pipeline_track import track_video
        from flamehead.track import TrackSettings

        begun = time.perf_counter()
        with _progress(quiet=self.quiet) as tell:
            track = track_video(
                self.source, self.out, flame=flame, identity=_identity(self, flame), focal=self.focal,
                settings=TrackSettings(keyframes=self.keyframes, smooth=not self.no_smooth),
                texture=self.texture, uv=self.uv, landmarks_only=self.landmarks_only, fps=self.fps, start=self.start,
                end=self.end, restart=self.restart, progress=tell,
            )  # fmt: skip
            tracked = time.perf_counter() - begun
            if not self.no_pictures:
                _draw(self, track, flame, tell)
        if writer is not None:
            _log(writer, track)
        if not self.quiet:
            _say(self, track, tracked, time.perf_counter() - begun - tracked)
        return 0 if self.to is None else export_finished(self, self.to)


def _check(command: TrackVideo) -> None:
    """What can be known to be wrong before anything is imported or computed."""
    if not command.source.exists():
        raise InputError(f"There is no video or folder {command.source}; check the name.")
    if command.source.is_dir() and command.source.resolve() == command.out.resolve():
        raise InputError(
            f"The results cannot go into {command.out}, which holds the pictures; name another folder with --out."
        )
    if command.identity is not None and command.identity_from is not None:
        raise UsageError("--identity and --identity-from both say who it is; give one of them.")
    if (command.checkpoint is None) != (command.identity_from is None):
        raise UsageError("--identity-from mica and --checkpoint FILE belong together; give both, or leave both out.")
    if command.identity is not None and not command.identity.is_file():
        raise InputError(f"There is no identity file {command.identity}; check the name.")
    if not (math.isfinite(command.identity_weight) and command.identity_weight > 0):
        raise InputError(f"The weight of the identity is {command.identity_weight}; give a positive number.")
    if command.keyframes < 1:
        raise InputError(f"{command.keyframes} keyframes were asked for; give 1 or more, 8 by default.")
    if command.focal is not None and not (math.isfinite(command.focal) and command.focal > 0):
        raise InputError(f"The focal length is {command.focal}; give a positive number of pixels, or leave it out.")
    check_variant(command.flame_variant, command.model)
    if command.to is not None:
        check_choice("--to", command.to, [name for name in FORMATS if name != "track"])
    if command.texture is not None and command.landmarks_only:
        raise UsageError(
            "--texture says which colours a face may have, and --landmarks-only looks at none; leave one out."
        )
    if command.model is not None and command.texture is None and not command.landmarks_only:
        raise InputError(
            "A licensed model needs its colours: name FLAME_texture.npz or another texture space by --texture, follow "
            "the landmarks alone with --landmarks-only, or leave --model out to use the built-in head."
        )
    if command.model is None and command.identity_from is not None and not command.force:
        raise InputError(
            "MICA's codes are for FLAME 2020 and would make the built-in head look like somebody else; pass FLAME 2020 "
            "with --model, or --force to use them all the same."
        )


def export_finished(command: TrackVideo, to: str) -> int:
    """`flamehead export` of what was tracked; an earlier export is replaced, as the track is."""
    target, folder = FORMATS[to], command.out / to
    if target.suffixes:
        folder.mkdir(exist_ok=True)
    texture = None if command.texture is None else str(command.texture)
    return Export(
        command.out, to, folder / target.example if target.suffixes else folder,
        model=command.model, flame_variant=command.flame_variant, quiet=command.quiet,
        surface=SurfaceOptions(texture, command.uv) if "texture" in target.options else SurfaceOptions(),
        data_set=DataSetOptions(overwrite="overwrite" in target.options),
    ).run()  # fmt: skip


def _flame(command: TrackVideo) -> Flame:
    """The model; what the first run on a machine lacks is made meanwhile."""
    from flamehead.cli._prepare import built_in_head_coming, compile_kernels, compile_posing
    from flamehead.model import load_flame

    if command.model is not None and not command.model.exists():
        raise InputError(f"There is no model file {command.model}; check the name, or see `flamehead assets doctor`.")
    with built_in_head_coming(wanted=command.model is None) as wait:
        if wait is not None and not command.quiet:
            print("First run on this machine: building the built-in head and compiling kernels ...", flush=True)
        compile_kernels()
        compile_posing()
        if wait is not None:
            wait()
    if command.model is not None:
        return load_flame(command.model, variant=command.flame_variant)
    if not command.quiet:
        print("Model: the built-in head (no licence needed); --model PATH selects a FLAME file.", flush=True)
    return load_flame()


def _identity(command: TrackVideo, flame: Flame) -> IdentityPrior | FoundIdentity | None:
    if command.identity is not None:
        return _read_identity(command.identity, command.identity_weight, flame)
    if command.identity_from is None or command.checkpoint is None:
        return None
    from flamehead.fit import IdentityPrior
    from flamehead.pipeline_track import FoundIdentity
    from flamehead.regress import identity_code, load_mica

    checkpoint, weight = command.checkpoint, command.identity_weight
    # Opened at once: a model that its codes are not for is refused before the video is read.
    mica = load_mica(checkpoint, flame=flame, force=command.force, engine="torch")

    def find(images: Any, landmarks: Any) -> IdentityPrior:
        import numpy as np
        import torch

        from flamehead.data import Observation

        codes = []
        for image, points in zip(images, landmarks, strict=True):
            seen = Observation(points, "mediapipe478", (image.shape[1], image.shape[0]))
            codes.append(identity_code(mica, image.astype(np.float32) / np.float32(255), seen))
        return IdentityPrior(torch.from_numpy(np.median(codes, axis=0).astype(np.float32)), weight=weight)

    return FoundIdentity(f"mica, {checkpoint}, {checkpoint.stat().st_size} bytes, weight {weight:g}", find)


def _read_identity(path: Path, weight: float, flame: Flame) -> IdentityPrior:
    import numpy as np
    import torch

    from flamehead.fit import IdentityPrior

    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"Cannot read {path} as a npy file; give identity coefficients as `flamehead identity` writes "
                         "them.") from error  # fmt: skip
    plain = np.squeeze(values) if isinstance(values, np.ndarray) and values.dtype.kind in "fiu" else np.zeros((0, 0))
    if plain.ndim != 1 or not 0 < len(plain) <= flame.n_shape or not np.isfinite(plain).all():
        raise InputError(
            f"The file {path} holds no identity for this model: wanted up to {flame.n_shape} finite coefficients in a "
            "row, as `flamehead identity` writes them."
        )
    return IdentityPrior(torch.as_tensor(plain, dtype=torch.float32), weight=weight)


def _draw(command: TrackVideo, track: Track, flame: Flame, tell: Callable[[TrackProgress], None]) -> None:
    from flamehead.fit.appearance import load_appearance
    from flamehead.io import open_frames, write_image
    from flamehead.pipeline_track import TrackProgress
    from flamehead.track.show import error_chart, write_contact_sheet, write_overlay_video

    frames = open_frames(command.source, fps=command.fps, start=command.start, end=command.end)
    colors = track.albedo is not None
    texture = load_appearance(flame, command.texture, uv=command.uv).space if colors else None
    write_image(command.out / "errors.png", error_chart(track))
    write_contact_sheet(command.out / "contact.png", track, flame, frames, texture=texture)
    write_overlay_video(
        command.out / "overlay.mp4", track, flame, frames, texture=texture,
        advance=lambda done: tell(TrackProgress("pictures", done, len(track))),
    )  # fmt: skip


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Callable[[TrackProgress], None]]:
    """A bar for each stage on a terminal, with frames per second and the error so far; else nothing."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description:16}"), BarColumn(), TextColumn("{task.completed}/{task.total}"),
        TextColumn("{task.fields[words]}"), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        tasks, first = dict[str, Any](), dict[str, tuple[float, int]]()

        def tell(now: TrackProgress) -> None:
            if now.stage not in tasks:
                tasks[now.stage] = bar.add_task(_STAGES[now.stage], total=now.total, words="")
                first[now.stage] = time.perf_counter(), now.done
            begun, already = first[now.stage]
            rate = (now.done - already) / max(time.perf_counter() - begun, 1e-6)
            words = f"{rate:.1f} fps" if now.done > already and now.total > 1 else ""
            words += f", error {now.error:.2f} %" if math.isfinite(now.error) else ""
            bar.update(tasks[now.stage], completed=now.done, words=words)

        yield tell


def _say(command: TrackVideo, track: Track, tracked: float, drawn: float) -> None:
    import numpy as np

    from flamehead.data import FrameStatus

    count, seen = len(track), int(track.tracked.sum())
    bridged = int((track.status == FrameStatus.BRIDGED).sum())
    for sentence in (*track.warnings, *_remedies(command, track)):
        print(f"flamehead: warning: {command.source}: {sentence}", file=sys.stderr)
    words = [f"{seen} of {count} frames tracked, {bridged} bridged, {count - seen - bridged} lost"]
    measured = (("landmark error", track.landmark_error, " %"), ("photometric error", track.photometric_error, ""))
    for name, values, unit in measured:
        known = np.zeros(0) if values is None else values[np.isfinite(values)]
        if len(known):
            words.append(f"{name} {known.mean():.3g}{unit} (95 % below {np.percentile(known, 95):.3g}{unit})")
    words.append(f"focal length {float(track.camera.focal[0, 0]):.0f} pixels")
    words.append(
        f"{tracked / count:.3f} s per frame" + (f" and {drawn / count:.3f} s for pictures" if drawn > 1 else "")
    )
    print(f"{command.source.name}: {', '.join(words)} -> {command.out}")


def _remedies(command: TrackVideo, track: Track) -> list[str]:
    """What a user can do about a track that is not good, one sentence each."""
    import numpy as np

    found, share = [], 1.0 - float(track.tracked.mean())
    if share > _MOST_LOST:
        found.append(
            f"{100 * share:.0f} % of the frames show no face that could be followed; look at contact.png, and choose a "
            "part with --start and --end."
        )
    errors = np.zeros(0) if track.landmark_error is None else track.landmark_error[np.isfinite(track.landmark_error)]
    if len(errors) and errors.mean() > _LARGEST_ERROR:
        remedy = "give the focal length with --focal" if command.focal is None else "check the focal length"
        found.append(f"The mean landmark error is {errors.mean():.1f} %, good tracks have less than 1.5 %; {remedy}.")
    return found


def _tensorboard(out: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtra(
            "--tensorboard needs TensorBoard, which is not installed; run `pip install tensorboard`, or leave it out."
        ) from error
    return SummaryWriter(str(out / "tensorboard"))


def _log(writer: Any, track: Track) -> None:
    for name in ("landmark_error", "photometric_error", "visible"):
        values = getattr(track, name)
        for row, value in enumerate([] if values is None else values):
            if math.isfinite(value):
                writer.add_scalar(name, float(value), int(track.frames[row]))
    for row, status in enumerate(track.status):
        writer.add_scalar("status", int(status), int(track.frames[row]))
    writer.close()
