"""What pixels add to landmarks: `python benchmarks/photometric.py [PHOTO_OR_FOLDER...] [--quick] [--json FILE]`.

Without photos: built-in heads with a known truth, drawn with random identity, expression, albedo, light, yaw within 30
degrees, background, blur and noise. `render` draws them with two directional lights, a sky and gloss, none of which the
fit knows. Each head starts from detected landmarks, with the albedo and the light that suit that geometry best.
With photos: how far the model's colours are from theirs before and after, and what it costs the landmarks.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from _common import machine, options, write_figures
from flamehead import FlameheadError, detect_face, fit_landmarks, landmark_error_percent, load_flame, read_image
from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.data import Camera, Fit, FlameParams, Observation
from flamehead.fit.painted import paint_head
from flamehead.fit.photometric import PhotometricFit, fit_photometric
from flamehead.fit.pixels import TextureSpace, texture_space
from flamehead.io import read_focal, write_image
from flamehead.model import Flame
from flamehead.render import DirectionalLight, Lighting, Texture, render

FOCAL, SIZE = 1000.0, 512
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclass(frozen=True)
class Row:
    """The figures of one photo; lengths in millimetres."""

    psnr_before: float
    psnr_after: float
    l1_before: float
    l1_after: float
    landmark_before: float
    landmark_after: float
    seconds: float
    cpu: float
    error_before: float = float("nan")
    error_after: float = float("nan")


def random_head(flame: Flame, random: np.random.Generator) -> FlameParams:
    """Identity and some of the expressions in standard deviations, a jaw, a pose within 30 degrees of yaw."""

    def tensor(values: object) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values), dtype=torch.float32)

    expression = np.zeros(flame.n_expression)
    expression[:60] = random.standard_normal(60) * (random.random(60) < 0.15)
    shape = np.zeros(flame.n_shape)
    shape[:100] = random.standard_normal(100)
    yaw = np.radians(random.uniform(-30, 30))
    root = [random.normal(0, 0.1), yaw, random.normal(0, 0.08)]
    jaw = [max(0.0, random.normal(0, 0.08)), 0.0, 0.0]
    place = [random.normal(0, 0.02), random.normal(0, 0.02), -0.7]
    return FlameParams(*map(tensor, (shape, expression, root, np.zeros(3), jaw, np.zeros(3), np.zeros(3), place)))


def random_light(random: np.random.Generator) -> Lighting:
    """A warm lamp from anywhere in front, a cold one opposite, a sky, and gloss."""
    x, y, z = random.standard_normal(3)
    lamp = (float(x), float(y), float(-abs(z) - 0.3))
    warm = random.uniform(0.5, 1.0, 3) * [1.0, 0.97, 0.93]
    lights = (
        DirectionalLight(lamp, tuple(warm), wrap=0.1),
        DirectionalLight((-lamp[0], 0.3 * lamp[1], -0.5), (0.25, 0.27, 0.3), wrap=0.3),
    )
    sky = float(random.uniform(0.12, 0.3))
    return Lighting(lights, sky=(sky, sky, sky), ground=(0.09, 0.085, 0.08), gloss=0.04)


def photograph(flame: Flame, random: np.random.Generator) -> tuple[FlameParams, np.ndarray]:
    """A head and its photo."""
    params, light = random_head(flame, random), random_light(random)
    albedo = builtin_albedo()
    colors = decode(albedo, 0.8 * random.standard_normal(len(albedo.names)))
    paint = Texture.of(torch.from_numpy(colors), albedo.uv, albedo.uv_faces)
    ground = np.stack([gaussian_filter(random.random((SIZE, SIZE)), 20) for _ in range(3)], -1)
    ground = (ground - ground.min()) / (ground.max() - ground.min())
    turn, half = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.full((2,), SIZE / 2)
    camera = Camera(turn, torch.zeros(3), torch.full((2,), FOCAL), half, (SIZE, SIZE))
    with torch.no_grad():
        vertices = flame(params).vertices
    drawn = render(
        vertices, flame.faces, camera, colors=paint, background=ground.astype(np.float32), lighting=light
    ).image
    noisy = gaussian_filter(drawn, (0.8, 0.8, 0)) + random.normal(0, 0.012, drawn.shape)
    return params, np.clip(noisy, 0, 1).astype(np.float32)


def vertex_error(flame: Flame, found: FlameParams, truth: FlameParams) -> float:
    """Mean distance of the face's vertices after the best similarity (Umeyama 1991), millimetres."""
    face = flame.faces[flame.region_faces("face")].unique()
    with torch.no_grad():
        a, b = (flame(params).vertices[face].double().numpy() for params in (found, truth))
    a, b = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    moved = (s @ sign / (a**2).sum()) * a @ (u * sign @ vt).T
    return 1000.0 * float(np.linalg.norm(moved - b, axis=1).mean())


def measure(
    flame: Flame, texture: TextureSpace, photo: np.ndarray, seen: Observation, start: Fit
) -> tuple[Row, PhotometricFit]:
    """One photometric fit; the stage is timed, not the landmarks before it."""
    wall, busy = perf_counter(), process_time()
    found = fit_photometric(flame, photo, seen, start, texture)
    wall, busy = perf_counter() - wall, process_time() - busy
    marks = [landmark_error_percent(seen, fit.fitted) for fit in (start, found.fit)]
    before, after = found.before, found.after
    return Row(before.psnr, after.psnr, before.l1, after.l1, marks[0], marks[1], wall, busy), found


def synthetic(flame: Flame, texture: TextureSpace, seed: int, pictures: Path | None) -> Row:
    """One head with a known truth."""
    truth, photo = photograph(flame, np.random.default_rng(seed))
    seen = detect_face(photo)
    start = fit_landmarks(flame, seen, focal=FOCAL)
    row, found = measure(flame, texture, photo, seen, start)
    keep(pictures, f"head{seed:02}", flame, texture, photo, found)
    before, after = (vertex_error(flame, fit.params, truth) for fit in (start, found.fit))
    return replace(row, error_before=before, error_after=after)


def real(flame: Flame, texture: TextureSpace, path: Path, pictures: Path | None) -> Row:
    """One photo of which nothing is known."""
    photo = read_image(path)
    seen = detect_face(photo)
    row, found = measure(flame, texture, photo, seen, fit_landmarks(flame, seen, focal=read_focal(path)))
    keep(pictures, path.stem, flame, texture, photo, found)
    return row


def keep(
    folder: Path | None, name: str, flame: Flame, texture: TextureSpace, photo: np.ndarray, found: PhotometricFit
) -> None:
    """Write the photo, the fit in it, and its albedo side by side."""
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    fit, face = found.fit, flame.faces[flame.region_faces("face")].unique()
    with torch.no_grad():
        points = fit.camera.project(flame(fit.params).vertices[face]).numpy()
    low = np.maximum(points.min(0) - 20, 0).astype(int)
    high = points.max(0).astype(int) + 20
    panels = [photo]
    for light in (found.light, None):
        painted = paint_head(flame, fit.params, fit.camera, texture, found.albedo, light)
        panels.append(np.where(painted.inside[..., None], painted.image, photo))
    cut = [np.clip(panel, 0, 1)[low[1] : high[1], low[0] : high[0]] for panel in panels]
    write_image(folder / f"{name}.png", np.concatenate(cut, axis=1))


def table(rows: dict[str, Row]) -> dict[str, float]:
    """Print every photo, then mean, 95th percentile and worst of every column."""
    names = [name for name in vars(next(iter(rows.values()))) if np.isfinite(getattr(next(iter(rows.values())), name))]
    short = [name.replace("_before", " 0").replace("_after", " 1").replace("landmark", "lm %") for name in names]
    print(f"{'':28}" + "".join(f"{name:>9}" for name in short))
    for name, row in rows.items():
        print(f"{name:28.28}" + "".join(f"{getattr(row, each):9.3f}" for each in names))
    values = np.array([[getattr(row, each) for each in names] for row in rows.values()])
    figures: dict[str, float] = {"photos": len(rows)}
    # A high signal-to-noise ratio is good, everything else that is high is bad.
    good = np.array([name.startswith("psnr") for name in names])
    signed = np.where(good, -values, values)
    for kind, found in (
        ("mean", signed.mean(0)), ("p95", np.percentile(signed, 95, axis=0)), ("worst", signed.max(0)),
    ):  # fmt: skip
        found = np.where(good, -found, found)
        print(f"{kind:28}" + "".join(f"{value:9.3f}" for value in found))
        figures |= {f"{name}_{kind}": float(value) for name, value in zip(names, found, strict=True)}
    return figures


def compare(rows: list[Row]) -> dict[str, float]:
    """Before against after, head by head."""

    def column(name: str) -> np.ndarray:
        return np.array([getattr(row, name) for row in rows])

    gain = column("psnr_after") - column("psnr_before")
    figures = {"psnr_gain_mean": gain.mean(), "psnr_gain_p05": np.percentile(gain, 5), "psnr_gain_worst": gain.min()}
    figures["landmark_percent_added_worst"] = (column("landmark_after") - column("landmark_before")).max()
    if np.isfinite(column("error_before")).all():
        ratio = column("error_after") / column("error_before")
        figures |= {
            "error_drop_percent": 100 * (1 - column("error_after").sum() / column("error_before").sum()),
            "error_ratio_mean": ratio.mean(),
            "error_ratio_p95": np.percentile(ratio, 95),
            "error_ratio_worst": ratio.max(),
            "heads_worse_than_start": (ratio > 1).sum(),
        }
    figures = {name: float(value) for name, value in figures.items()}
    print("\n" + "\n".join(f"{name:32}{value:9.3f}" for name, value in figures.items()))
    return figures


def main() -> int:
    """Run and print."""
    parser = options(__doc__, quick="three heads or photos")
    parser.add_argument("places", nargs="*", type=Path, help="photos, or folders of photos, instead of drawn heads")
    parser.add_argument("--heads", type=int, default=24, help="how many heads to draw")
    parser.add_argument("--pictures", type=Path, help="write a picture of every fit into this folder")
    arguments = parser.parse_args()
    flame, albedo = load_flame(), builtin_albedo()
    texture = texture_space(albedo.mean_diffuse, albedo.diffuse_basis, albedo.uv, albedo.uv_faces)
    print(machine(threads=f"{torch.get_num_threads()} threads"))
    # Untimed: the first fit compiles kernels and reduces the model to the face.
    synthetic(flame, texture, 1000, None)
    rows: dict[str, Row] = {}
    if arguments.places:
        inside = [sorted(place.iterdir()) if place.is_dir() else [place] for place in arguments.places]
        for path in [path for each in inside for path in each if path.suffix.lower() in SUFFIXES][
            : 3 if arguments.quick else None
        ]:
            try:
                rows[path.name] = real(flame, texture, path, arguments.pictures)
            except FlameheadError as error:
                print(f"FAILED {path.name}: {error}", file=sys.stderr)
    else:
        for seed in range(3 if arguments.quick else arguments.heads):
            rows[f"head {seed}"] = synthetic(flame, texture, seed, arguments.pictures)
    if not rows:
        parser.error("no photo could be fitted")
    write_figures(arguments.json, table(rows) | compare(list(rows.values())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
