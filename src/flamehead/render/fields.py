"""Numbers and regions on a mesh as colours, with a legend that says what they mean."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.errors import InputError, check_choice
from flamehead.render._text import INK, PAPER, text_width, write
from flamehead.render.maps import face_regions
from flamehead.render.shade import DirectionalLight, Lighting

__all__ = [
    "EVEN",
    "UNLIT",
    "ColorMap",
    "distance_chart",
    "field_colors",
    "region_colors",
    "region_paint",
    "with_legend",
]

ColorMap = Literal["sequential", "diverging", "heat"]

EVEN = Lighting(
    (DirectionalLight((-0.3, -0.4, -1.0), (0.30, 0.30, 0.30), wrap=0.5),), (0.72, 0.72, 0.72), (0.62, 0.62, 0.62)
)
"""Light with just enough shade to show the shape: colours stay those of the legend."""

UNLIT = Lighting((), (1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
"""Light that is one everywhere: the picture shows the colours themselves."""

_STOPS: dict[str, list[tuple[float, float, float]]] = {
    # From dark to light all the way, so that it also reads in grey and to the colour-blind.
    "sequential": [
        (0.10, 0.10, 0.30), (0.17, 0.26, 0.52), (0.13, 0.45, 0.60), (0.13, 0.62, 0.56),
        (0.38, 0.76, 0.42), (0.73, 0.85, 0.27), (0.99, 0.91, 0.36),
    ],
    "diverging": [
        (0.13, 0.25, 0.55), (0.29, 0.50, 0.76), (0.66, 0.80, 0.91), (0.96, 0.96, 0.95),
        (0.96, 0.75, 0.64), (0.84, 0.41, 0.34), (0.60, 0.09, 0.17),
    ],
    # Blue, teal, yellow, orange, red, the habit of error maps.
    "heat": [
        (0.16, 0.31, 0.62), (0.25, 0.66, 0.67), (0.95, 0.93, 0.62), (0.93, 0.52, 0.24), (0.68, 0.10, 0.15),
    ],
}  # fmt: skip
_UNKNOWN = (0.62, 0.62, 0.62)
_LEAST_HEIGHT = 48
"""Of a picture with a legend, pixels: room for its title and a scale below."""


def field_colors(
    values: Float[np.ndarray, "*shape"] | Float[Tensor, "*shape"],
    *,
    limits: tuple[float, float],
    colormap: ColorMap = "sequential",
) -> Float[np.ndarray, "*shape 3"]:
    """sRGB for numbers, such as distances at the vertices of a mesh, to be passed to `render` as `colors`.

    Args:
        values: In any unit; NaN is grey.
        limits: The values at both ends of the colours; beyond them the last colour stays.
        colormap: `"sequential"` for sizes, `"diverging"` for signed values with limits (-a, a), `"heat"` for errors.

    Example:
        >>> field_colors(np.array([0.0, 2.0]), limits=(0.0, 2.0)).round(2).tolist()
        [[0.1, 0.1, 0.3], [0.99, 0.91, 0.36]]
    """
    low, high = _ends(limits)
    check_choice("colormap", colormap, get_args(ColorMap))
    plain = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)
    at = (plain - low) / (high - low)
    stops = np.array(_STOPS[colormap])
    places = np.linspace(0.0, 1.0, len(stops))
    channels = [np.interp(at, places, stops[:, c]) for c in range(3)]
    return np.where(np.isnan(at)[..., None], _UNKNOWN, np.stack(channels, axis=-1)).astype(np.float32)


def _ends(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if not low < high or not math.isfinite(high - low):
        raise InputError(f"limits are {limits}; give a smaller and a larger number.")
    return low, high


def with_legend(
    image: Float[np.ndarray, "H W 3"],
    *,
    limits: tuple[float, float],
    title: str = "",
    colormap: ColorMap = "sequential",
    n_ticks: int = 5,
) -> Float[np.ndarray, "H w 3"]:
    """A picture with the scale of its colours to its right.

    Args:
        image: sRGB in [0, 1].
        limits: As for `field_colors`.
        title: Above the scale: the quantity and its unit, such as `"distance, mm"`.
        colormap: As for `field_colors`.
        n_ticks: Numbers beside the scale, at least the two ends.
    """
    _ends(limits)
    height = image.shape[0]
    if height < _LEAST_HEIGHT:
        raise InputError(
            f"A picture {height} pixels high has no room for a legend; give one of {_LEAST_HEIGHT} or more."
        )
    size = max(9.0, height / 30)
    values = np.linspace(*limits, max(2, n_ticks))
    digits = max(0, 1 - math.floor(math.log10((limits[1] - limits[0]) / (len(values) - 1))))
    labels = [f"{value:.{digits}f}" for value in values]
    bar, space = round(1.2 * size), round(0.6 * size)
    content = max(bar + space + max(text_width(label, size) for label in labels), text_width(title, size))
    panel = np.empty((height, round(content) + 2 * space, 3), dtype=np.float32)
    panel[:] = PAPER
    top, bottom = round(2.4 * size), height - round(1.2 * size)
    rows = (np.arange(top, bottom) + 0.5 - top) / max(1, bottom - top)
    scale = field_colors(1.0 - rows, limits=(0.0, 1.0), colormap=colormap)
    panel[top:bottom, space : space + bar] = scale[:, None]
    marks = top + (bottom - top) * (1.0 - np.linspace(0.0, 1.0, len(values)))
    for mark in marks:
        row = int(np.clip(round(mark), top, bottom - 1))
        panel[row, space + bar : space + bar + max(2, space // 2)] = INK
    words = [(2.0 * space + bar, float(mark), label) for mark, label in zip(marks, labels, strict=True)]
    panel = write(panel, words, size, anchor="lm")
    panel = write(panel, [(float(space), 0.9 * size, title)], size, anchor="lm") if title else panel
    return np.concatenate([np.asarray(image, dtype=np.float32), panel], axis=1)


def distance_chart(
    distances: Float[np.ndarray, "N"], largest: float, *, title: str, unit: str, size: tuple[int, int] = (560, 300)
) -> Float[np.ndarray, "h w 3"]:
    """A histogram whose bars have the colours of `field_colors` in `"heat"`; the last bar holds all that is farther.

    Args:
        distances: Not NaN.
        largest: Where the scale of colours ends.
        title: Above the chart.
        unit: Of the distances, below the axis.
        size: (width, height) in pixels.
    """
    from PIL import Image, ImageDraw

    width, height = size
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    bins = 40
    counts = np.bincount(np.minimum((distances / largest * bins).astype(int), bins), minlength=bins + 1)
    share = counts / max(len(distances), 1)
    left, right, top, bottom = 44, width - 16, 30, height - 40
    step, tallest = (right - left) / (bins + 1), max(float(share.max()), 1e-9)
    colors = field_colors((np.arange(bins + 1) + 0.5) / bins, limits=(0.0, 1.0), colormap="heat")
    for k, (value, color) in enumerate(zip(share, colors, strict=True)):
        box = [left + k * step + 1, bottom - value / tallest * (bottom - top), left + (k + 1) * step - 1, bottom]
        if value > 0:
            draw.rectangle(box, fill=tuple(int(255 * c) for c in color))
    draw.line([left, bottom, right, bottom], fill="black")
    for k in range(5):
        x = left + k * (bins * step) / 4
        draw.line([x, bottom, x, bottom + 4], fill="black")
        draw.text((x, bottom + 6), f"{largest * k / 4:g}" + ("+" if k == 4 else ""), fill="black", anchor="ma")
    draw.text(((left + right) / 2, height - 16), unit, fill="black", anchor="ma")
    draw.text((left, 8), title, fill="black")
    draw.text((left - 6, top), f"{100 * tallest:.0f} %", fill="black", anchor="ra")
    return np.asarray(picture, dtype=np.float32) / 255.0


def region_colors(names: tuple[str, ...] | list[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each name, in the order given; neighbours in the list differ most."""
    golden = (math.sqrt(5) - 1) / 2
    return {
        name: colorsys.hsv_to_rgb((0.55 + k * golden) % 1.0, (0.55, 0.75, 0.4)[k % 3], (0.92, 0.75, 0.98)[k // 3 % 3])
        for k, name in enumerate(names)
    }


def region_paint(
    faces: Int[Tensor, "F 3"],
    regions: Mapping[str, Int[np.ndarray, "N"]],
    *,
    colors: Mapping[str, tuple[float, float, float]] | None = None,
) -> Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]:
    """Colours for `render` that show which region each face belongs to, by the rule of `face_regions`.

    Args:
        faces: Of the mesh.
        regions: Vertex ids by name, such as `Flame.regions`.
        colors: sRGB by name; `None` chooses. Faces of no region are grey.
    """
    of_face, names = face_regions(faces, regions)
    chosen = region_colors(names) if colors is None else colors
    missing = sorted(set(names) - set(chosen))
    if missing:
        raise InputError(f"colors hold nothing for {', '.join(missing)}; give a colour for each region.")
    # The last row is that of index -1.
    table = np.array([*(chosen[name] for name in names), _UNKNOWN], dtype=np.float32)

    def paint(face_ids: Int[np.ndarray, "N"], barycentric: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        return table[of_face[face_ids]]

    return paint
