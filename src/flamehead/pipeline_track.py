"""The main path for videos in words: a video in, one head through all of its frames out; killed runs go on."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8

from flamehead._atomic import atomic_path
from flamehead._timed import timed
from flamehead._types import StrPath
from flamehead.data import Camera, FlameParams, FrameStatus, Observation, Track
from flamehead.detect.following import SOURCE
from flamehead.errors import InputError, NoFaceFound
from flamehead.fit.appearance import load_appearance
from flamehead.fit.identity_prior import IdentityPrior
from flamehead.fit.metrics import landmark_error_percent
from flamehead.fit.pixels import TextureSpace
from flamehead.io import FrameSource, Place, open_frames, save_track, write_json
from flamehead.model import Flame, load_flame
from flamehead.track import Calibration, TrackSettings, calibrate, choose_keyframes
from flamehead.track._ahead import ahead
from flamehead.track.detections import RECORD_WIDTH, Detections, detect_rows, detections
from flamehead.track.face import LID_UNIT
from flamehead.track.follow import Follower
from flamehead.track.journal import Journal, check_same, open_journal
from flamehead.track.smooth import smooth

__all__ = ["FILES", "FoundIdentity", "TrackProgress", "track_video"]

FILES = ("detections.journal", "calibration.npz", "frames.journal", "track.npz", "report.json")
"""What `track_video` writes, in this order."""
_SURE = 0.6
"""Score of the landmarks of a keyframe, as far as there are frames of such a score."""

Identify = Callable[[Sequence[UInt8[np.ndarray, "H W 3"]], Float[np.ndarray, "K 478 2"]], IdentityPrior]


@dataclass(frozen=True)
class TrackProgress:
    """How far a run is."""

    stage: str
    """`"landmarks"`, `"calibration"` or `"frames"`."""
    done: int
    total: int
    error: float = float("nan")
    """Mean landmark error of the frames so far, percent of the outer-eye distance."""


@dataclass(frozen=True)
class FoundIdentity:
    """An identity that is read off the keyframes when they are known, for example by MICA."""

    name: str
    """Says what it comes from; a run goes on only with the same."""
    find: Identify
    """From keyframes, sRGB bytes, and their landmarks."""


def track_video(
    source: StrPath,
    out: StrPath,
    *,
    flame: Flame | None = None,
    settings: TrackSettings | None = None,
    identity: IdentityPrior | FoundIdentity | None = None,
    focal: float | None = None,
    texture: StrPath | None = None,
    uv: StrPath | None = None,
    landmarks_only: bool = False,
    fps: float | None = None,
    start: Place = 0.0,
    end: Place | None = None,
    restart: bool = False,
    progress: Callable[[TrackProgress], None] | None = None,
) -> Track:
    """Follow the head in a video; into the folder go two journals, `calibration.npz`, `track.npz` and `report.json`.

    A run that was stopped or killed goes on where it was when it is started again with the same arguments, and ends
    with the same numbers as one that was not.

    Args:
        source: A video, or a folder of numbered pictures.
        out: Folder for the results; made if need be.
        flame: The model; the built-in head by default.
        settings: What the tracker believes, and how long it looks at a frame.
        identity: What is known of the person's identity.
        focal: Of the camera, pixels of the video; estimated by default.
        texture: A texture space for a licensed model; the built-in head has its own.
        uv: An OBJ with texture coordinates, for a texture file that holds none.
        landmarks_only: Follow landmarks alone, much faster; short for `TrackSettings(landmarks_only=True)`.
        fps: Frames per second that are taken, see `open_frames`; all by default.
        start: Where to begin, seconds, or a frame such as `"120f"`.
        end: Where to end, likewise.
        restart: Throw away what an earlier run left in the folder.
        progress: Called after every frame.

    Raises:
        InputError: The source cannot be used, the folder holds other work, or it cannot be written.
        NoFaceFound: No frame shows a face.
        MissingExtra: MediaPipe or PyAV is not installed.

    Example:
        >>> track = track_video("clip.mp4", "out/clip")  # doctest: +SKIP
        >>> len(track), int(track.tracked.sum())  # doctest: +SKIP
        (400, 400)
    """
    if focal is not None and not (np.isfinite(focal) and focal > 0):
        raise InputError(f"The focal length is {focal}; give a positive number of pixels, or leave it out.")
    if Path(source).is_dir() and Path(source).resolve() == Path(out).resolve():
        raise InputError(f"The results cannot go into {out}, which holds the pictures; name another folder with --out.")
    settings = settings or TrackSettings()
    settings = replace(settings, landmarks_only=settings.landmarks_only or landmarks_only)
    seconds = dict[str, float]()
    with timed(seconds, "open"):
        frames = open_frames(source, fps=fps, start=start, end=end)
        flame = load_flame() if flame is None else flame
        look = None if settings.landmarks_only else load_appearance(flame, texture, uv=uv)
    job = _Job(
        frames, _folder(out, restart=restart), flame, settings, identity, focal, None if look is None else look.space,
        progress or (lambda _: None), seconds,
    )  # fmt: skip
    with _fixed_threads(), ExitStack() as journals:
        track = _run(job, journals, texture="" if look is None else look.source)
    appearance = "" if look is None else look.source
    save_track(job.folder / "track.npz", track, model_source=flame.arrays.source, appearance=appearance)
    write_json(job.folder / "report.json", _report(track, job))
    return track


@dataclass(frozen=True)
class _Job:
    """What a run is given."""

    frames: FrameSource
    folder: Path
    flame: Flame
    settings: TrackSettings
    identity: IdentityPrior | FoundIdentity | None
    focal: float | None
    texture: TextureSpace | None
    tell: Callable[[TrackProgress], None]
    seconds: dict[str, float]
    """Wall time of this run by stage."""


def _run(job: _Job, journals: ExitStack, *, texture: str) -> Track:
    about = _about(job, texture)
    _refuse_other_work(job.folder, about)
    first = {"what": "landmarks", "detector": SOURCE, "versions": about["versions"], "source": about["source"]}
    seen_file = open_journal(job.folder / "detections.journal", first, width=RECORD_WIDTH, dtype="<f4")
    with timed(job.seconds, "landmarks"):
        journal = journals.enter_context(seen_file)
        total = len(job.frames)
        detect_rows(job.frames, journal, advance=lambda n: job.tell(TrackProgress("landmarks", n, total)))
        found = detections(job.frames, journal)
    if not found.seen.any():
        raise NoFaceFound(
            f"No face was found in any of the {total} frames of {job.frames.path}; give a video in which a face is "
            "seen from the front at least once, large enough and well lit."
        )
    with timed(job.seconds, "calibration"):
        calibration = _calibration(job, about, found)
    follower = Follower(job.flame, calibration, job.settings, job.texture)
    second = about | {"what": "frames", "calibration": _digest(*calibration.to_arrays().values())}
    with timed(job.seconds, "frames"):
        journal = journals.enter_context(
            open_journal(job.folder / "frames.journal", second, width=follower.width, dtype="<f8")
        )
        _follow(job, follower, found, journal)
    with timed(job.seconds, "smoothing"):
        return _finished(job, follower, found, journal.rows(total), about)


def _calibration(job: _Job, about: Mapping[str, Any], found: Detections) -> Calibration:
    """What stays the same through the video, found or read from an earlier run."""
    path = job.folder / "calibration.npz"
    if path.exists():
        return Calibration.from_arrays(_read_calibration(path))
    job.tell(TrackProgress("calibration", 0, 1))
    rows = choose_keyframes(found.landmarks, count=job.settings.keyframes, usable=_usable(found))
    points = found.landmarks[rows].astype(np.float64)
    wanted = job.texture is not None or isinstance(job.identity, FoundIdentity)
    images = _pictures(job.frames, rows) if wanted else []
    identity = job.identity.find(images, points) if isinstance(job.identity, FoundIdentity) else job.identity
    calibration = calibrate(
        job.flame, images if job.texture is not None else None, points, job.frames.size, settings=job.settings,
        identity=identity, focal=job.focal, texture=job.texture,
    )  # fmt: skip
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        keyframes = job.frames.frames[rows]
        np.savez(file, about=np.array(json.dumps(about)), keyframes=keyframes, **calibration.to_arrays())
    job.tell(TrackProgress("calibration", 1, 1))
    return calibration


def _usable(found: Detections) -> np.ndarray:
    """Frames that keyframes are taken from: well seen, of the longest shot, which shows one person."""
    usable = found.seen & ~found.damaged
    longest = np.bincount(found.scene[usable]).argmax() if usable.any() else 0
    usable &= found.scene == longest
    sure = usable & (found.scores > _SURE)
    return sure if sure.any() else usable


def _pictures(frames: FrameSource, rows: Sequence[int]) -> list[UInt8[np.ndarray, "H W 3"]]:
    """Frames of these rows, in their order."""
    found = dict[int, np.ndarray]()
    for frame in frames.read(min(rows)):
        if frame.row in rows:
            found[frame.row] = frame.pixels
        if len(found) == len(rows):
            break
    return [found[row] for row in rows]


def _follow(job: _Job, follower: Follower, found: Detections, journal: Journal) -> None:
    """Frame by frame, from the first that has no record."""
    done, total, times = journal.count(), len(job.frames), job.frames.times
    mean = _Mean()
    for row in range(done):
        mean.add(_error(follower, journal.records[row, 0]))
    with ExitStack() as stack:
        pictures = None
        if job.texture is not None and done < total:
            pictures = stack.enter_context(ahead(job.frames.read(done)))
        for row in range(done, total):
            before = _before(journal, found.scene, row)
            pixels = None if pictures is None else next(pictures).pixels
            elapsed = float(times[row] - times[row - 1]) if before else 0.04
            journal.append(row, follower.step(pixels, found.landmarks[row], before, elapsed=elapsed))
            mean.add(_error(follower, journal.records[row, 0]))
            job.tell(TrackProgress("frames", row + 1, total, mean.value))


@dataclass
class _Mean:
    """Of the finite numbers so far."""

    total: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        if np.isfinite(value):
            self.total, self.count = self.total + value, self.count + 1

    @property
    def value(self) -> float:
        return self.total / self.count if self.count else float("nan")


def _before(journal: Journal, scene: Int[np.ndarray, "T"], row: int) -> list[Float[np.ndarray, "W"]]:
    """The last two rows of the same shot, or fewer."""
    return [journal.records[k, 0] for k in range(max(0, row - 2), row) if scene[k] == scene[row]]


def _error(follower: Follower, row: Float[np.ndarray, "W"]) -> float:
    return float(follower.layout.parts(row)["quality"][1])


def _finished(
    job: _Job, follower: Follower, found: Detections, rows: Float[np.ndarray, "T W"], about: Mapping[str, Any]
) -> Track:
    """Rows, smoothed and bridged, as a track."""
    frames, flame, count = job.frames, job.flame, len(rows)
    rows = smooth(
        rows, follower.layout, times=frames.times, scene=found.scene, settings=job.settings, joint=follower.joint,
        middle=follower.middle,
    )  # fmt: skip
    rows = _nearest(follower, rows)
    parts = follower.layout.parts(rows)
    quality = parts["quality"]
    lids = follower.n_lids
    n = follower.layout.n_expression - lids
    zeros = FlameParams.zeros(flame.n_shape, flame.n_expression, batch=(count,), dtype=torch.float64)
    shape, expression = zeros.shape, zeros.expression
    shape[:, : len(follower.calibration.shape)] = torch.from_numpy(follower.calibration.shape)
    expression[:, :n] = torch.from_numpy(parts["expression"][:, :n].copy())
    eyes = np.concatenate([parts["eyes"].reshape(count, 2, 2), np.zeros((count, 2, 1))], axis=2)
    params = replace(
        zeros, shape=shape, expression=expression, root=torch.from_numpy(parts["root"].copy()),
        jaw=torch.from_numpy(parts["jaw"].copy()), left_eye=torch.from_numpy(eyes[:, 0]),
        right_eye=torch.from_numpy(eyes[:, 1]), translation=torch.from_numpy(parts["translation"].copy()),
    ).to(dtype=torch.float32)  # fmt: skip
    focal = torch.full((count, 2), follower.calibration.focal)
    center = torch.as_tensor(follower.calibration.center, dtype=torch.float32).expand(count, 2)
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(count, 3, 3)
    status = quality[:, 0].astype(np.int8)
    return Track(
        params=params, camera=Camera(flip, torch.zeros(count, 3), focal, center, frames.size), frames=frames.frames,
        times=frames.times, status=status, fingerprint=flame.fingerprint, scene=found.scene,
        eyelids=LID_UNIT * parts["expression"][:, n:] if lids else None, landmarks=found.landmarks,
        landmark_error=_errors(follower, rows, found), photometric_error=quality[:, 2], visible=quality[:, 3],
        albedo=follower.calibration.albedo if follower.pixels else None,
        light=parts["light"].reshape(count, 9, 3) if follower.pixels else None, source=str(frames.path),
        settings=about["settings"], versions=about["versions"], warnings=found.warnings,
    )  # fmt: skip


def _errors(follower: Follower, rows: Float[np.ndarray, "T W"], found: Detections) -> Float[np.ndarray, "T"]:
    """Of the landmarks that were seen, from the heads as they are after smoothing."""
    errors = np.full(len(rows), np.nan)
    for row in np.flatnonzero(found.seen):
        seen = Observation(found.landmarks[row].astype(np.float64), "mediapipe478", follower.calibration.size)
        state, _ = follower.layout.unpack(rows[row], follower.log_focal)
        errors[row] = landmark_error_percent(seen, follower.fitted(state.head))
    return errors


def _nearest(follower: Follower, rows: Float[np.ndarray, "T W"]) -> Float[np.ndarray, "T W"]:
    """Each row, or the nearest one in which there is a head."""
    known = np.flatnonzero(np.isfinite(follower.layout.parts(rows)["translation"]).all(axis=1))
    at = np.abs(np.arange(len(rows))[:, None] - known).argmin(axis=1) if len(known) < len(rows) else slice(None)
    return rows[known[at]] if len(known) < len(rows) else rows


def _report(track: Track, job: _Job) -> dict[str, Any]:
    """What `report.json` holds."""
    tracked, count = track.tracked, len(track)
    bridged = int((track.status == FrameStatus.BRIDGED).sum())
    errors = {
        name: _spread(getattr(track, name)) for name in ("landmark_error", "photometric_error", "visible")
    }  # fmt: skip
    return {
        "source": str(job.frames.path), "size": list(job.frames.size), "frames": count,
        "tracked": int(tracked.sum()), "bridged": bridged, "lost": count - int(tracked.sum()) - bridged,
        "shots": 0 if track.scene is None else int(track.scene.max()) + 1, "fps": track.fps,
        "focal": float(track.camera.focal[0, 0]), "model": job.flame.arrays.source, "fingerprint": track.fingerprint,
        **errors, "seconds": {name: round(value, 3) for name, value in job.seconds.items()},
        "warnings": list(track.warnings), "settings": dict(track.settings), "versions": dict(track.versions),
    }  # fmt: skip


def _spread(values: Float[np.ndarray, "T"] | None) -> dict[str, float] | None:
    """Mean, 95th percentile and the largest of what was measured."""
    known = np.zeros(0) if values is None else values[np.isfinite(values)]
    if not len(known):
        return None
    return {"mean": float(known.mean()), "p95": float(np.percentile(known, 95)), "largest": float(known.max())}


def _about(job: _Job, texture: str) -> dict[str, Any]:
    """What the numbers of a run depend on."""
    identity = job.identity
    if isinstance(identity, FoundIdentity):
        known: Any = identity.name
    else:
        known = (
            None if identity is None else {"digest": _digest(identity.mean.cpu().numpy()), "weight": identity.weight}
        )
    return json.loads(
        json.dumps(
            {
                "what": "calibration", "settings": asdict(job.settings), "model": job.flame.fingerprint,
                "texture": texture, "identity": known, "focal": job.focal, "source": job.frames.identity,
                "versions": _versions(),
            },
            default=str,
        )
    )  # fmt: skip


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("flamehead", "numpy", "scipy", "torch", "numba", "mediapipe", "av", "pillow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _refuse_other_work(folder: Path, about: Mapping[str, Any]) -> None:
    """Before the first pass, which takes long."""
    path = folder / "calibration.npz"
    if path.exists():
        check_same(folder, json.loads(str(_read_calibration(path)["about"])), about)


def _read_calibration(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        Calibration.from_arrays(arrays)
        json.loads(str(arrays["about"]))
    except Exception as error:
        raise InputError(f"The file {path} is damaged; start over with --restart, or choose another --out.") from error
    return arrays


def _folder(out: StrPath, *, restart: bool) -> Path:
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if restart:
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"Cannot write into {folder} ({reason}); name a folder you may write to with --out."
        ) from error
    return folder


@contextmanager
def _fixed_threads() -> Iterator[None]:
    """One thread of torch, so that its sums do not depend on the machine's cores; our own kernels' never do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _digest(*arrays: Any) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]
