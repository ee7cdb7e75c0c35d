"""Draw the pictures of the README with our own renderer: `python tools/make_readme_pictures.py [--out docs/images]`.

`hero.png` is a row of random built-in heads; `demo.png` is the sheet of `flamehead demo` on the public-domain portrait.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import torch

from flamehead import Camera, Flame, FlameParams, fit_image, load_flame, read_image, save_image_fit, write_image
from flamehead.builtin import builtin_head
from flamehead.render import Colors, DirectionalLight, Lighting, render

TILE = (380, 520)
OVERLAP = 36
"""Pixels by which neighbouring tiles share the row; the heads themselves do not touch."""
FROM_MODEL = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
DISTANCE = 1.6
"""Metres from the camera to the head: a portrait lens."""
LIGHT = Lighting(
    lights=(
        DirectionalLight(towards=(-0.60, -0.55, -0.70), color=(0.92, 0.87, 0.81), wrap=0.10),
        DirectionalLight(towards=(0.90, -0.05, -0.45), color=(0.20, 0.23, 0.28), wrap=0.35),
        DirectionalLight(towards=(0.75, -0.45, 0.65), color=(0.42, 0.45, 0.50), wrap=0.0),
    ),
    sky=(0.24, 0.26, 0.29),
    ground=(0.11, 0.10, 0.09),
    gloss=0.06,
)
"""Warm key from the upper left, cool fill and rim from the right."""


@dataclass(frozen=True)
class Sitter:
    """One head of the row."""

    seed: int
    yaw: float
    """Degrees; positive turns to the subject's left."""
    pitch: float
    jaw: float
    """Radians of opening."""
    gaze: float
    """Degrees to the subject's left."""
    face: dict[str, float]
    """Expression coefficients by name; both sides where the name has none."""
    tone: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factor on the sRGB colour of the skin."""


ROW = (
    Sitter(11, 27, 2, 0.0, 4, {"smile": 0.9, "cheek_raise": 0.5}, (0.80, 0.74, 0.70)),
    Sitter(6, 14, 0, 0.0, 0, {"brow_raise_outer": 0.3, "smile": 0.4}, (1.08, 1.10, 1.10)),
    Sitter(23, -8, -2, 0.20, 0, {"smile": 0.8, "brow_raise_inner": 0.6, "brow_raise_outer": 0.6}),
    Sitter(4, 6, 3, 0.0, -8, {"brow_lower": 0.7, "lips_press": 0.5, "squint": 0.3}, (0.66, 0.59, 0.55)),
    Sitter(31, -16, 0, 0.02, -4, {"smile": 0.5, "brow_raise_outer_left": 0.8}, (1.02, 1.05, 1.06)),
    Sitter(17, -30, 1, 0.0, 8, {"pucker": 0.4, "brow_raise_inner": 0.5}, (0.92, 0.89, 0.85)),
)


def pose(flame: Flame, sitter: Sitter) -> FlameParams:
    """The sitter's parameters: a random identity without a change of size, and the named expression."""
    head, rng = builtin_head(), np.random.default_rng(sitter.seed)
    shape = rng.normal(size=flame.n_shape)
    shape[head.shape_names.index("head_size")] = 0.0
    expression = np.zeros(flame.n_expression)
    for name, amount in sitter.face.items():
        names = [name] if name in head.expression_names else [f"{name}_left", f"{name}_right"]
        expression[[head.expression_names.index(full) for full in names]] = amount

    def row(*values: float) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32)

    gaze = row(0.0, np.deg2rad(sitter.gaze), 0.0)
    return replace(
        flame.zeros(),
        shape=torch.tensor(0.75 * shape, dtype=torch.float32),
        expression=torch.tensor(expression, dtype=torch.float32),
        root=row(np.deg2rad(sitter.pitch), np.deg2rad(sitter.yaw), 0.0),
        jaw=row(sitter.jaw, 0.0, 0.0),
        left_eye=gaze,
        right_eye=gaze,
    )


def camera_on(vertices: torch.Tensor) -> Camera:
    """A camera that sees the head in the middle of its tile, cut at the neck."""
    width, height = TILE
    low, high = vertices.amin(0), vertices.amax(0)
    middle = torch.stack([(low[0] + high[0]) / 2, high[1] - 0.118, torch.zeros(())])
    translation = torch.tensor([0.0, 0.0, DISTANCE]) - FROM_MODEL @ middle
    focal = torch.full((2,), 1.58 * height / 0.30)
    return Camera(FROM_MODEL, translation, focal, torch.tensor([width / 2, 0.47 * height]), TILE)


def backdrop(width: int, height: int) -> np.ndarray:
    """Soft neutral grey, lighter behind the heads."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    light = 0.91 - 0.12 * np.clip(x**2 * 0.5 + (y + 0.2) ** 2 * 0.75, 0, 1)
    return (light[..., None] * np.array([1.0, 1.004, 1.012])).astype(np.float32)


def toned(flame: Flame, tone: tuple[float, float, float]) -> Colors:
    """The model's paint with another skin colour; what is not reddish, such as the eyes, stays."""
    paint = flame.paint
    assert paint is not None

    def paint_toned(face_ids: np.ndarray, barycentric: np.ndarray) -> np.ndarray:
        color = paint(face_ids, barycentric)
        reddish = np.clip(5.0 * (color[:, :1] - color[:, 2:]), 0.0, 1.0)
        return np.clip(color * (1.0 + reddish * (np.array(tone) - 1.0)), 0.0, 1.0)

    return paint_toned


def hero(flame: Flame) -> np.ndarray:
    """The row of heads, one camera each, so that none is seen from the side by perspective."""
    width, step = TILE[0], TILE[0] - OVERLAP
    sheet = backdrop(step * (len(ROW) - 1) + width, TILE[1])
    for place, sitter in enumerate(ROW):
        with torch.no_grad():
            vertices = flame(pose(flame, sitter)).vertices
        tile = sheet[:, place * step : place * step + width]
        picture = render(
            vertices,
            flame.faces,
            camera_on(vertices),
            colors=toned(flame, sitter.tone),
            background=tile.copy(),
            lighting=LIGHT,
            supersample=3,
        )
        tile[:] = picture.image
    return sheet


def demo(flame: Flame) -> np.ndarray:
    """What `flamehead demo` writes as `overlay.png`."""
    photo = resources.files("flamehead.cli") / "demo_data" / "astronaut.jpg"
    with resources.as_file(photo) as path, tempfile.TemporaryDirectory() as folder:
        save_image_fit(fit_image(path, flame=flame), Path(folder) / "demo")
        return read_image(Path(folder) / "demo" / "overlay.png")


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    flame = load_flame()
    write_image(out / "hero.png", hero(flame))
    write_image(out / "demo.png", demo(flame))
    print(f"Wrote {out / 'hero.png'} and {out / 'demo.png'}.")


if __name__ == "__main__":
    main()
