"""A track becomes figures: against what was detected, and against the truth of a rendered sequence.

Also the floor that every tracker must beat: `fit_landmarks` on each frame alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from time import perf_counter

import numpy as np
import torch
from jaxtyping import Bool, Float

import _track_measures as measures
from flamehead import FlameheadError, detect_face, fit_landmarks
from flamehead.data import Camera, FlameParams, FrameStatus, Observation, Track
from flamehead.geometry.landmark_sets import MEDIAPIPE_105
from flamehead.geometry.rotation import exp
from flamehead.io import VideoFrame
from flamehead.model import Flame
from flamehead.raster import rasterize
from flamehead.track import TrackSettings, calibrate, choose_keyframes
from flamehead.track.follow import Follower

__all__ = [
    "against_detections",
    "against_truth",
    "curves",
    "fit_each_frame",
    "head_rotations",
    "skull_points",
    "time_steps",
]

Figures = dict[str, float]
_FITTED = np.asarray(MEDIAPIPE_105)
_CHUNK = 50
"""Frames posed at once."""


def fit_each_frame(
    flame: Flame, frames: Iterable[VideoFrame], *, seen: list[Observation | None] | None = None
) -> tuple[Track, dict[str, list[float]]]:
    """The floor: every frame detected and fitted on its own, nothing shared and nothing smoothed.

    Args:
        flame: The model.
        frames: Of a video.
        seen: What was detected before, to fit only.

    Returns:
        The track, lost frames repeating the one before; milliseconds by stage for each frame.
    """
    rows, times = [], {"detect": [], "fit": []}
    begin = perf_counter()
    for number, frame in enumerate(frames):
        times.setdefault("decode", []).append(1000 * (perf_counter() - begin))
        begin = perf_counter()
        observation = _detect(frame.image) if seen is None else seen[number]
        times["detect"].append(1000 * (perf_counter() - begin))
        begin = perf_counter()
        fit = None if observation is None else fit_landmarks(flame, observation)
        times["fit"].append(1000 * (perf_counter() - begin))
        rows.append((frame, observation, fit))
        begin = perf_counter()
    fits = [fit for _, _, fit in rows]
    known = next(fit for fit in fits if fit is not None)
    filled = []
    for fit in fits:
        known = known if fit is None else fit
        filled.append(known)
    points = [np.full((478, 2), np.nan) if observation is None else observation.points for _, observation, _ in rows]
    lost = np.array([fit is None for fit in fits])
    track = Track(
        params=FlameParams(
            *(torch.stack([getattr(fit.params, f.name) for fit in filled]) for f in fields(FlameParams))
        ),
        camera=_stacked([fit.camera for fit in filled]),
        frames=np.array([frame.index for frame, _, _ in rows]),
        times=np.array([frame.time for frame, _, _ in rows]),
        status=np.where(lost, FrameStatus.LOST, FrameStatus.TRACKED).astype(np.int8),
        fingerprint=flame.fingerprint,
        landmarks=np.stack(points),
    )
    return track, times


def _detect(image: Float[np.ndarray, "H W 3"]) -> Observation | None:
    try:
        return detect_face(image)
    except FlameheadError:
        return None


def _stacked(cameras: list[Camera]) -> Camera:
    names = ("rotation", "translation", "focal", "center")
    return replace(cameras[0], **{name: torch.stack([getattr(camera, name) for camera in cameras]) for name in names})


def rows_of(track: Track, rows: slice | np.ndarray) -> tuple[FlameParams, Camera, torch.Tensor | None]:
    """Some frames of a track: heads, cameras, eyelids."""
    params = FlameParams(*(getattr(track.params, f.name)[rows] for f in fields(FlameParams)))
    camera = track.camera
    part = replace(
        camera, rotation=camera.rotation[rows], translation=camera.translation[rows], focal=camera.focal[rows],
        center=camera.center[rows],
    )  # fmt: skip
    lids = None if track.eyelids is None else torch.as_tensor(track.eyelids[rows]).to(params.root)
    return params, part, lids


def _by_chunks(flame: Flame, track: Track, measure: Callable[[torch.Tensor, Camera], np.ndarray]) -> np.ndarray:
    """`measure(vertices, camera)` for all frames, some at a time."""
    out = []
    for start in range(0, len(track), _CHUNK):
        params, camera, lids = rows_of(track, slice(start, start + _CHUNK))
        like = flame.template
        params = params.to(dtype=like.dtype, device=like.device)
        with torch.no_grad():
            out.append(
                measure(flame(params, eyelids=None if lids is None else lids.to(like)).vertices, _to(camera, like))
            )
    return np.concatenate(out)


def _to(camera: Camera, like: torch.Tensor) -> Camera:
    names = ("rotation", "translation", "focal", "center")
    return replace(camera, **{name: getattr(camera, name).to(like) for name in names})


def head_rotations(track: Track) -> Float[np.ndarray, "T 3 3"]:
    """The skull as the camera sees it: `camera @ root @ neck`."""
    root, neck = exp(track.params.root.double()), exp(track.params.neck.double())
    return (track.camera.rotation.double() @ root @ neck).numpy()


def skull_points(flame: Flame, track: Track) -> Float[np.ndarray, "T 478 3"]:
    """The face mesh in space, metres."""
    return _by_chunks(flame, track, lambda vertices, _: flame.landmarks(vertices, "mediapipe478").double().numpy())


def pixels(flame: Flame, track: Track, scheme: str) -> Float[np.ndarray, "T L 2"]:
    """Landmarks of a scheme, projected by each frame's camera."""
    return _by_chunks(
        flame, track, lambda vertices, camera: camera.project(flame.landmarks(vertices, scheme)).double().numpy()
    )


def curves(flame: Flame, track: Track) -> dict[str, Float[np.ndarray, "T"]]:
    """Opening of either eye, of the lips and of the jaw (radians) over time, read off the mesh and its pose."""
    points = skull_points(flame, track)
    eyes = measures.eye_openings(points)
    return {
        "left_eye": eyes[:, 0], "right_eye": eyes[:, 1], "lips": measures.lip_opening(points),
        "jaw": track.params.jaw[:, 0].double().numpy(),
    }  # fmt: skip


def against_detections(flame: Flame, track: Track) -> Figures:
    """Landmark error, jitter and frames lost of a track that keeps what was detected."""
    figures: Figures = {
        "frames": len(track),
        "frames_lost": int((track.status == FrameStatus.LOST).sum()),
        "frames_bridged": int((track.status == FrameStatus.BRIDGED).sum()),
    }
    if track.landmarks is None:
        return figures
    detected = np.asarray(track.landmarks, dtype=np.float64)
    fitted = pixels(flame, track, "mediapipe105")
    errors = measures.landmark_errors_percent(detected, fitted, _FITTED)
    still = measures.still_frames(detected[:, _FITTED])
    return figures | {
        **measures.summary("landmark_percent", errors),
        "still_frames": int(still.sum()),
        "jitter_pixels": measures.jitter(fitted, still),
        "jitter_detected_pixels": measures.jitter(detected[:, _FITTED], still),
    }


def against_truth(flame: Flame, track: Track, truth: Track, *, apart: Bool[np.ndarray, "T"] | None = None) -> Figures:
    """How far a track is from the truth, frame by frame.

    Args:
        flame: The model of both.
        track: The same frames as the truth's.
        truth: What was rendered.
        apart: Frames behind a hand, which count like all others and are told once more on their own.
    """
    if not np.array_equal(track.frames, truth.frames):
        raise ValueError(f"The track has {len(track)} frames, wanted the {len(truth)} of the truth.")
    turn = measures.rotation_errors(head_rotations(track), head_rotations(truth))
    visible = visible_vertices(flame, truth)
    outer = measures.outer_eye_distance(pixels(flame, truth, "mediapipe478"))
    found, wanted = (
        _by_chunks(flame, each, lambda vertices, camera: camera.project(vertices).double().numpy())
        for each in (track, truth)
    )
    error = measures.projected_errors_percent(found, wanted, visible, outer)
    mine, true = curves(flame, track), curves(flame, truth)
    figures: Figures = {
        **measures.summary("rotation_degrees", turn),
        **measures.summary("vertex_percent", error),
        "focal_error_percent": measures.focal_error_percent(
            track.camera.focal.double().numpy(), truth.camera.focal.double().numpy()
        ),
        **{f"{name}_correlation": measures.correlation(mine[name], true[name]) for name in mine},
    }
    if apart is not None and apart.any():
        figures["rotation_degrees_behind_hand"] = float(turn[apart].mean())
        figures["vertex_percent_behind_hand"] = float(error[apart].mean())
    return figures


def visible_vertices(flame: Flame, track: Track) -> Bool[np.ndarray, "T V"]:
    """Vertices of the face that the track's camera sees; hair and hands, which the model lacks, hide nothing."""
    faces = flame.faces.cpu().int()
    face = np.zeros(len(flame.template), dtype=bool)
    face[flame.regions["face"]] = True

    def seen(vertices: torch.Tensor, camera: Camera) -> np.ndarray:
        out = np.zeros(vertices.shape[:2], dtype=bool)
        depth = (vertices @ camera.rotation.mT + camera.translation[:, None])[..., 2:]
        screen = torch.cat([camera.project(vertices), depth], dim=-1).float()
        for row, points in zip(out, screen, strict=True):
            shown = rasterize(points, faces, camera.size, cull=True).face_ids.numpy()
            row[faces.numpy()[np.unique(shown[shown >= 0])].ravel()] = True
        return out & face

    return _by_chunks(flame, track, seen)


def time_steps(flame: Flame, track: Track, *, most: int = 300) -> Figures:
    """The landmark fit alone, without detection, files and pictures: milliseconds of a frame, in the median."""
    assert track.landmarks is not None, "tracks keep what was detected"
    points, size = np.asarray(track.landmarks, dtype=np.float64)[:most], track.camera.size
    settings = TrackSettings(landmarks_only=True)
    known = calibrate(flame, None, points[choose_keyframes(points)], size, settings=settings)
    follower, rows, times = Follower(flame, known, settings), [], []
    for frame in points:
        begin = perf_counter()
        rows.append(follower.step(None, frame, rows[-1:]))
        times.append(1000 * (perf_counter() - begin))
    # The first steps load what was compiled.
    return {"landmark_step_ms": float(np.median(times[3:])), "landmark_step_least_ms": min(times)}
