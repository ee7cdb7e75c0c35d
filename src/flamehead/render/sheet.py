"""The four-panel picture that shows at a glance whether a fit is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import Camera
from flamehead.geometry.camera import project
from flamehead.render._samples import to_camera
from flamehead.render.marks import Color, links, marks
from flamehead.render.picture import Colors, blend, render
from flamehead.render.views import Crop, side_view
from flamehead.render.wireframe import wireframe

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont, ImageFont

__all__ = ["overlay_sheet"]

DETECTED: Color = (0.20, 0.86, 0.38)
FITTED: Color = (0.95, 0.24, 0.30)

_PAPER = (0.965, 0.965, 0.96)
_INK = (0.20, 0.21, 0.23)
_SIDE_BACKGROUND = (0.88, 0.89, 0.90)
_WIRE = (0.94, 0.97, 1.0)

Caption: TypeAlias = list[tuple[Color | None, str]]
"""Words, each with or without a coloured dot before it."""

Layer: TypeAlias = Callable[[Camera], tuple[Float[np.ndarray, "h w 3"], Float[np.ndarray, "h w"]]]
"""What a camera sees: an sRGB picture and its opacity."""

_LOOSE = 1.3
"""The photo is cut to the head when it is more than this many times as high; a small face is of no use in a panel."""


@dataclass(frozen=True)
class Panel:
    """A picture and what it shows."""

    image: Float[np.ndarray, "h w 3"]
    caption: Caption


def overlay_sheet(
    photo: Float[np.ndarray, "H W 3"],
    vertices: Float[Tensor, "V 3"],
    faces: Int[Tensor, "F 3"],
    camera: Camera,
    *,
    detected: Float[np.ndarray, "L 2"],
    fitted: Float[np.ndarray, "L 2"],
    colors: Colors | None = None,
    rotation: Float[Tensor, "3 3"] | None = None,
    height: int = 512,
    layers: Mapping[str, Layer] | None = None,
) -> Float[np.ndarray, "h w 3"]:
    """Captioned panels: landmarks, mesh over photo, solid head in the photo, further layers, the head from its side.

    Args:
        photo: sRGB in [0, 1], of the camera's size.
        vertices: The fitted head in world coordinates, metres.
        faces: Counter-clockwise seen from outside.
        camera: The fitted camera.
        detected: Landmarks seen in the photo, pixels; rows of NaN are left out.
        fitted: The head's landmarks in the same order, pixels; rows of NaN are left out.
        colors: Of the head.
        rotation: Head to world, for the view from the side; `None` is identity.
        height: Of the panels in pixels, whatever the size of the photo.
        layers: Further pictures that are laid over the photo, by their captions.
    """
    focal, center = camera.focal.cpu().float(), camera.center.cpu().float()
    points = project(to_camera(vertices, camera), focal, center, orthographic=camera.orthographic).numpy()
    crop = _crop(photo.shape[:2], np.concatenate([points, np.asarray(detected, dtype=np.float64)]), height)
    ground, view = crop.image(photo), crop.camera(camera)
    seen, placed = crop.points(detected), crop.points(fitted)
    radius = height / 190
    landmarks = links(ground, seen, placed, (1.0, 1.0, 1.0), width=0.4 * radius)
    landmarks = marks(marks(landmarks, seen, DETECTED, radius=radius), placed, FITTED, radius=0.72 * radius)
    # Drawn once, laid over the photo twice.
    head = render(vertices, faces, view, colors=colors)
    veil = blend(ground, head.image, 0.35 * head.alpha)
    wires = wireframe(veil, vertices, faces, view, color=_WIRE, alpha=0.55)
    solid = blend(ground, head.image, head.alpha)
    # A fit that failed has no head to frame; its sheet shows that.
    known = vertices[vertices.isfinite().all(dim=1)]
    side = side_view(known if len(known) else torch.eye(3), (round(0.82 * height), height), rotation=rotation)
    profile = render(vertices, faces, side, colors=colors, background=_SIDE_BACKGROUND).image
    more = [Panel(blend(ground, *layer(view)), [(None, caption)]) for caption, layer in (layers or {}).items()]
    panels = [
        Panel(landmarks, [(None, "Landmarks"), (DETECTED, "detected"), (FITTED, "fitted")]),
        Panel(wires, [(None, "Mesh over photo")]),
        Panel(solid, [(None, "Fitted head")]),
        *more,
        Panel(profile, [(None, "From the side")]),
    ]
    return _mount(panels, height)


def _crop(photo_size: tuple[int, ...], points: Float[np.ndarray, "N 2"], height: int) -> Crop:
    """The whole photo, or the part around the head when the head is small in it."""
    photo_height, photo_width = photo_size
    inside = points[np.isfinite(points).all(axis=1)]
    low = np.clip(inside.min(axis=0, initial=np.inf), 0, (photo_width, photo_height))
    high = np.clip(inside.max(axis=0, initial=-np.inf), 0, (photo_width, photo_height))
    left, top, width, tall = 0, 0, photo_width, photo_height
    if (high > low).all():
        reach = _LOOSE * float((high - low).max())
        (left, width), (top, tall) = (
            _range(0.5 * float(low[axis] + high[axis]), reach, whole) for axis, whole in ((0, width), (1, tall))
        )
    shown = max(1, round(width * height / tall))
    return Crop((float(left), float(top)), (float(width), float(tall)), (shown, height))


def _range(middle: float, reach: float, whole: int) -> tuple[int, int]:
    """(start, length) of a range of that reach about the middle, moved and cut to lie within the whole."""
    length = min(whole, max(1, round(reach)))
    return round(float(np.clip(middle - length / 2, 0, whole - length))), length


def _mount(panels: list[Panel], height: int) -> Float[np.ndarray, "H W 3"]:
    """Put panels side by side on paper, each with its caption below."""
    gap, line = round(height / 32), round(height / 12)
    paper = np.empty((gap + height + line, gap + sum(panel.image.shape[1] + gap for panel in panels), 3), np.float32)
    paper[:] = _PAPER
    left, lefts = gap, []
    for panel in panels:
        paper[gap : gap + height, left : left + panel.image.shape[1]] = panel.image
        lefts.append(left)
        left += panel.image.shape[1] + gap
    return _write(paper, lefts, panels, line)


def _write(
    paper: Float[np.ndarray, "H W 3"], lefts: list[int], panels: list[Panel], line: int
) -> Float[np.ndarray, "H W 3"]:
    """Write the captions into the lowest line of the paper, each below its panel and no wider."""
    from PIL import Image, ImageDraw

    sheet = Image.fromarray(np.rint(np.clip(paper, 0.0, 1.0) * 255).astype(np.uint8))
    draw, middle, dots = ImageDraw.Draw(sheet), sheet.height - 0.5 * line, []
    size = 0.5 * line
    excess = max(_lay(panel.caption, size)[1] / panel.image.shape[1] for panel in panels)
    size = max(4.0, size / max(1.0, excess))
    font, ink = _font(size), tuple(round(255 * value) for value in _INK)
    for left, panel in zip(lefts, panels, strict=True):
        for x, color, text in _lay(panel.caption, size)[0]:
            draw.text((left + x, middle), text, fill=ink, font=font, anchor="lm")
            if color is not None:
                dots.append((left + x - 0.6 * size, middle, color))
    image = np.asarray(sheet, dtype=np.float32) / np.float32(255)
    for x, y, color in dots:
        image = marks(image, np.array([[x, y]]), color, radius=0.24 * size, outline=0.25)
    return image


def _lay(caption: Caption, size: float) -> tuple[list[tuple[float, Color | None, str]], float]:
    """Where each part of a caption starts, and the width of the whole; room for a dot is left before coloured parts."""
    font, x, parts = _font(size), 0.0, []
    for color, text in caption:
        x += 0.0 if color is None else 0.95 * size
        parts.append((x, color, text))
        x += font.getlength(text) + 0.9 * size
    return parts, x - 0.9 * size


def _font(size: float) -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
