"""A track as pictures: four views of every frame as a video, errors over time, and a contact sheet."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from flamehead._types import StrPath
from flamehead.data import Camera, FrameStatus, Track
from flamehead.errors import InputError
from flamehead.fit.painted import PaintedHead, paint_head
from flamehead.fit.pixels import TextureSpace
from flamehead.io import FrameSource, write_image, write_video
from flamehead.model import Flame
from flamehead.render import Band, Crop, Curve, blend, grid, render, timeline
from flamehead.track._ahead import ahead
from flamehead.track.face import baked_texture

__all__ = ["error_chart", "frame_views", "head_views", "write_contact_sheet", "write_overlay_video"]

_DETECTED, _FITTED = (0.20, 0.86, 0.38), (0.95, 0.24, 0.30)
_SHAPE_BACKGROUND = (0.88, 0.89, 0.90)
_BANDS = (Band("tracked", (0.30, 0.65, 0.42)), Band("bridged", (0.93, 0.70, 0.26)), Band("lost", (0.80, 0.25, 0.26)))
"""In the order of `FrameStatus`."""
_REACH = 0.75
"""How far around the face a view shows, by the size of the face."""
_DOT = 0.8
_SCHEMES = ("mediapipe478", "mediapipe468", "mediapipe105", "ibug68")
"""Of landmarks, the densest first."""


@dataclass(frozen=True)
class _Stage:
    """What all views of a track share."""

    track: Track
    flame: Flame
    texture: TextureSpace | None
    crop: Crop


def write_overlay_video(
    path: StrPath,
    track: Track,
    flame: Flame,
    source: FrameSource,
    *,
    texture: TextureSpace | None = None,
    height: int = 320,
    advance: Callable[[int], None] | None = None,
) -> int:
    """Write a video of input, overlay, landmarks and shape side by side; one frame is in memory at a time.

    Args:
        path: An `.mp4`.
        track: Made from `source`.
        flame: Its model.
        source: The same frames.
        texture: The texture space of `track.albedo`; without it the head is drawn in its usual colours.
        height: Of the views in pixels; their part of the frame is that in which the face moves.
        advance: Called with the number of frames done.

    Returns:
        Frames written.

    Raises:
        InputError: The source has other frames than the track, or the file cannot be written.
        MissingExtra: PyAV is not installed.
    """
    stage = _stage(track, flame, source, texture, height)

    def pictures() -> Iterator[Float[np.ndarray, "h w 3"]]:
        with ahead(source.read()) as frames:
            for frame in frames:
                yield np.concatenate(_views(stage, frame.row, frame.pixels), axis=1)
                if advance is not None:
                    advance(frame.row + 1)

    return write_video(path, pictures(), fps=float(np.clip(track.fps, 1.0, 120.0)))


def frame_views(
    track: Track,
    flame: Flame,
    source: FrameSource,
    rows: Sequence[int],
    *,
    texture: TextureSpace | None = None,
    height: int = 320,
) -> dict[int, list[Float[np.ndarray, "h w 3"]]]:
    """Input, overlay, landmarks and shape of some rows, see `write_overlay_video`."""
    stage, wanted = _stage(track, flame, source, texture, height), set(rows)
    found = dict[int, list[np.ndarray]]()
    for frame in source.read(min(wanted)):
        if frame.row in wanted:
            found[frame.row] = _views(stage, frame.row, frame.pixels)
        if len(found) == len(wanted):
            break
    return found


def write_contact_sheet(
    path: StrPath,
    track: Track,
    flame: Flame,
    source: FrameSource,
    *,
    texture: TextureSpace | None = None,
    count: int = 15,
    height: int = 200,
) -> None:
    """Write overlays of frames spread over the track as one picture, each with its time, status and error."""
    rows = sorted({int(row) for row in np.linspace(0, len(track) - 1, min(count, len(track))).round()})
    views = frame_views(track, flame, source, rows, texture=texture, height=height)
    captions = [_caption(track, row) for row in rows]
    width = views[rows[0]][1].shape[1]
    write_image(
        Path(path), grid([views[row][1] for row in rows], captions=captions, columns=max(1, min(5, 1500 // width)))
    )


def error_chart(track: Track) -> Float[np.ndarray, "H W 3"]:
    """Landmark and photometric error and the visible share over time, with what is known of each frame below."""
    nothing = np.full(len(track), np.nan)
    curves = [Curve("Landmark error, % of the eye distance", _or(track.landmark_error, nothing))]
    if track.photometric_error is not None and np.isfinite(track.photometric_error).any():
        curves.append(Curve("Photometric error, sRGB", np.asarray(track.photometric_error), (0.75, 0.42, 0.14)))
        curves.append(Curve("Visible share of the face", _or(track.visible, nothing), (0.36, 0.52, 0.24)))
    cuts = [] if track.scene is None else track.times[1:][np.diff(track.scene) != 0].tolist()
    return timeline(track.times, curves, states=track.status, bands=_BANDS, lines=cuts)


def _or(values: np.ndarray | None, nothing: np.ndarray) -> np.ndarray:
    return nothing if values is None else np.asarray(values, dtype=np.float64)


def _caption(track: Track, row: int) -> str:
    status = FrameStatus(int(track.status[row]))
    error = float("nan") if track.landmark_error is None else float(track.landmark_error[row])
    words = f"{track.times[row]:.2f} s"
    if status != FrameStatus.TRACKED:
        return f"{words}, {status.name.lower()}"
    return f"{words}, {error:.2f} %" if np.isfinite(error) else words


def _stage(track: Track, flame: Flame, source: FrameSource, texture: TextureSpace | None, height: int) -> _Stage:
    if len(source) != len(track) or source.size != track.camera.size:
        raise InputError(
            f"The track has {len(track)} frames of {track.camera.size} pixels, the source {len(source)} of "
            f"{source.size}; give the source that it was made from."
        )
    painted = None
    if texture is not None and track.albedo is not None and track.light is not None:
        painted = baked_texture(texture, np.asarray(track.albedo, dtype=np.float64))
    return _Stage(track, flame, painted, _crop(track, height))


def _crop(track: Track, height: int) -> Crop:
    """The part of the frames in which the face moves, the same for all of them."""
    width, tall = track.camera.size
    low, high = np.zeros(2), np.array([width, tall], dtype=np.float64)
    if track.landmarks is not None and np.isfinite(track.landmarks).any():
        seen = track.landmarks[np.isfinite(track.landmarks).all(axis=(1, 2))]
        margin = _REACH * float(np.median(np.ptp(seen, axis=1).max(axis=1)))
        low = np.maximum(low, np.floor(seen.min(axis=(0, 1)) - margin))
        high = np.minimum(high, np.ceil(seen.max(axis=(0, 1)) + margin))
    extent = np.maximum(high - low, 1.0)
    # Even sizes, which videos need; no view is wider than two are high.
    shown = max(2, 2 * round(min(height * extent[0] / extent[1], 2 * height) / 2))
    shown_height = max(2, 2 * round(shown * extent[1] / extent[0] / 2))
    (left, top), (wide, high_) = low.astype(int).tolist(), extent.astype(int).tolist()
    return Crop((float(left), float(top)), (float(wide), float(high_)), (shown, shown_height))


def _views(stage: _Stage, row: int, pixels: UInt8[np.ndarray, "H W 3"]) -> list[Float[np.ndarray, "h w 3"]]:
    track, flame = stage.track, stage.flame
    params, view = track.params.row(row), stage.crop.camera(track.camera.row(row))
    lids = None if track.eyelids is None else torch.as_tensor(np.asarray(track.eyelids[row])).to(flame.template)
    with torch.no_grad():
        vertices = flame(params, eyelids=lids).vertices.cpu().to(view.focal)
    painted = None
    if stage.texture is not None and track.light is not None:
        painted = paint_head(
            flame, params, view, stage.texture, np.zeros(0), np.asarray(track.light[row]), vertices=vertices
        )
    seen = None if track.landmarks is None else stage.crop.points(track.landmarks[row])
    views = head_views(_shown(stage.crop, pixels), vertices, view, flame, seen=seen, painted=painted)
    if track.status[row] != FrameStatus.TRACKED:
        _frame(views[1], _BANDS[int(track.status[row])].color)
    return views


def head_views(
    image: Float[np.ndarray, "h w 3"],
    vertices: Float[torch.Tensor, "V 3"],
    camera: Camera,
    flame: Flame,
    *,
    seen: Float[np.ndarray, "L 2"] | None = None,
    painted: PaintedHead | None = None,
) -> list[Float[np.ndarray, "h w 3"]]:
    """Input, overlay, landmarks and shape of one frame.

    Args:
        image: What was seen, sRGB in [0, 1].
        vertices: The head, metres.
        camera: Of the image.
        flame: The model; its densest landmarks are shown in red.
        seen: Detected landmarks, pixels; shown in green.
        painted: The head as it is laid over the image; by default in its usual colours.
    """
    head = render(vertices, flame.faces.cpu(), camera, supersample=1)
    if painted is not None:
        overlay = blend(image, np.clip(painted.image, 0.0, 1.0), painted.alpha)
    else:
        drawn = render(vertices, flame.faces.cpu(), camera, colors=flame.colors, supersample=1)
        overlay = blend(image, drawn.image, 0.85 * drawn.alpha)
    marked = image.copy()
    scheme = next((name for name in _SCHEMES if name in flame.embeddings), None)
    if scheme is not None:
        placed = flame.landmarks(vertices.to(flame.template), scheme).cpu().to(camera.focal)
        _dots(marked, camera_points(camera, placed), _FITTED)
    if seen is not None:
        _dots(marked, seen, _DETECTED)
    return [image, overlay, marked, blend(_SHAPE_BACKGROUND, head.image, head.alpha)]


def camera_points(camera: Camera, points: Float[torch.Tensor, "L 3"]) -> Float[np.ndarray, "L 2"]:
    """Pixels of points, as an array."""
    return camera.project(points).detach().cpu().double().numpy()


def _shown(crop: Crop, pixels: UInt8[np.ndarray, "H W 3"]) -> Float[np.ndarray, "h w 3"]:
    """`Crop.image` of bytes, of which only the part that is shown becomes float."""
    from PIL import Image

    left, top, width, height = (round(value) for value in (*crop.corner, *crop.extent))
    part = np.ascontiguousarray(pixels[top : top + height, left : left + width])
    small = Image.fromarray(part).resize(crop.size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small, dtype=np.float32) / np.float32(255)


def _dots(
    image: Float[np.ndarray, "h w 3"], points: Float[np.ndarray, "L 2"], color: tuple[float, float, float]
) -> None:
    """Small soft dots, all at once: `marks` is finer, but takes longer than the fit for so many points."""
    points = points[np.isfinite(points).all(axis=1)]
    height, width = image.shape[:2]
    near = np.arange(-2, 3)
    x = np.floor(points[:, 0, None, None]).astype(int) + near
    y = np.floor(points[:, 1, None, None]).astype(int) + near[:, None]
    distance = np.hypot(x + 0.5 - points[:, 0, None, None], y + 0.5 - points[:, 1, None, None])
    x, y = np.broadcast_arrays(x, y)
    cover = np.zeros((height, width), dtype=np.float32)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    np.maximum.at(cover, (y[inside], x[inside]), np.clip(_DOT + 0.5 - distance[inside], 0.0, 1.0).astype(np.float32))
    image += cover[..., None] * (np.asarray(color, dtype=np.float32) - image)


def _frame(image: Float[np.ndarray, "h w 3"], color: tuple[float, float, float]) -> None:
    """A rim that says that the face was not seen."""
    for edge in (image[:4], image[-4:], image[:, :4], image[:, -4:]):
        edge[:] = color
