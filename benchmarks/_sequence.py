"""A video of the built-in head of which everything is known: `python benchmarks/_sequence.py OUT [--seed N] ...`.

A person with a random identity turns, nods, leans, comes nearer, talks, blinks and looks around; the light changes, a
hand passes before the mouth, and hair and shoulders are there that no tracker of ours knows. The picture is blurred and
noisy. Nothing in it is drawn by the renderer that a photometric fit sees with, and the focal length is not the one that
a tracker starts from (1.2 of the larger side).
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter, gaussian_filter1d

import _sequence_scene as scene
from flamehead import load_flame
from flamehead.builtin import builtin_head
from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.data import Camera, FlameParams, Track
from flamehead.geometry.normals import vertex_normals
from flamehead.geometry.rotation import exp
from flamehead.io import write_image, write_video
from flamehead.io.tracks import load_track, save_track
from flamehead.model import Flame
from flamehead.render import linear_to_srgb, render

__all__ = ["Sequence", "SequenceSettings", "frames", "load_truth", "make_sequence", "save_truth", "write_sequence"]

_SCALE = 2.8
"""Picture width of a metre at the head's mean distance, in widths of the picture: the face fills half of it."""
_POSES = (
    # Degrees of yaw, pitch and roll; distance as a share of the mean; place in metres to the right and up.
    (30, -2, 4, 1.05, 0.010, 0.0),
    (-30, 4, -3, 1.00, -0.012, 0.004),
    (-6, 15, 2, 0.86, 0.0, 0.010),
    (8, -15, -4, 0.92, 0.010, -0.008),
    (3, 2, 10, 1.22, -0.010, 0.0),
    (20, 8, -9, 0.84, 0.016, 0.006),
    (-18, -7, 3, 1.16, -0.016, -0.006),
    (2, 1, -2, 0.95, 0.0, 0.0),
)
_BLINK = (0.35, 0.9, 1.0, 0.85, 0.45, 0.15)
_LIPS = (
    "pucker", "funnel", "lips_part", "viseme_ee", "viseme_fv", "viseme_sh", "mouth_stretch", "upper_lip_raise",
    "lower_lip_depress", "smile",
)  # fmt: skip
_BROWS = ("brow_raise_inner", "brow_raise_outer", "brow_lower", "cheek_raise", "squint")


@dataclass(frozen=True)
class SequenceSettings:
    """Which video is made; equal settings make equal videos."""

    frames: int = 200
    size: int = 512
    """Width and height, pixels."""
    fps: float = 25.0
    seed: int = 0
    focal_scale: float = 1.56
    """True focal length in widths of the picture; 1.56 and 0.92 are 30 % from a start of 1.2."""
    noise: float = 0.012
    """Standard deviation of the sensor's noise in the middle tones, sRGB."""
    blur: float = 0.7
    """Standard deviation, pixels at 512."""


@dataclass(frozen=True)
class Sequence:
    """The truth of a video."""

    settings: SequenceSettings
    track: Track
    blink: Float[np.ndarray, "T"]
    """How far the lids are closed by will, 0 to 1; they follow the gaze a little besides."""
    jaw: Float[np.ndarray, "T"]
    """Radians by which the jaw is open."""
    occluded: Bool[np.ndarray, "T"]
    """Frames with the hand."""
    albedo: Float[np.ndarray, "K"]
    """Coefficients of the built-in albedo."""


def make_sequence(settings: SequenceSettings | None = None, *, flame: Flame | None = None) -> Sequence:
    """Everything but the pixels."""
    settings = settings or SequenceSettings()
    flame = flame or load_flame()
    random = np.random.default_rng(settings.seed)
    count = settings.frames
    shape = np.zeros(flame.n_shape)
    shape[:100] = 0.8 * random.standard_normal(100)
    jaw, talking = _jaw(count, random)
    blink = _blinks(count, random)
    gaze = _gaze(count, random)
    pose = _poses(count, random)
    expression = _expression(flame, count, talking, blink, gaze, random)
    # A third of the turn happens in the neck, the rest in the root; a tracker may split it otherwise.
    neck = 0.33 * pose[:, :3]
    root = _rotation_between(pose[:, :3], neck)
    eyes = np.concatenate([gaze, np.zeros((count, 1))], axis=1)
    apart = 0.03 * np.array([0.0, 1.0, 0.0])
    mouth = np.stack([jaw, 0.03 * talking * jaw, 0.0 * jaw], axis=1)
    rows = [np.tile(shape, (count, 1)), expression, root, neck, mouth, eyes - apart, eyes + apart, np.zeros((count, 3))]
    params = FlameParams(*(torch.as_tensor(row, dtype=torch.float32) for row in rows))
    params = replace(params, translation=_places(flame, params, pose[:, 3:], settings))
    track = Track(
        params=params, camera=_camera(settings), frames=np.arange(count), times=np.arange(count) / settings.fps,
        status=np.zeros(count, dtype=np.int8), fingerprint=flame.fingerprint, source="rendered",
        settings=asdict(settings),
    )  # fmt: skip
    hidden = np.zeros(count, dtype=bool)
    start = int(0.62 * count)
    hidden[start : start + max(2, round(count / 20))] = True
    albedo = 0.8 * random.standard_normal(len(builtin_albedo().names))
    return Sequence(settings, track, blink, jaw, hidden, albedo)


def _camera(settings: SequenceSettings) -> Camera:
    """The same for every frame: in the origin, looking along -z of the model's axes."""
    count, side = settings.frames, settings.size
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0])).repeat(count, 1, 1)
    focal = torch.full((count, 2), settings.focal_scale * side)
    return Camera(turn, torch.zeros(count, 3), focal, torch.full((count, 2), side / 2), (side, side))


def _poses(count: int, random: np.random.Generator) -> Float[np.ndarray, "T 6"]:
    """Axis-angle of the head (radians), distance, place: quick moves between poses that are held, as people move.

    Moves follow the smoothest curve between two rests (Flash and Hogan 1985); a slow sway of 0.2 degrees never ends.
    """
    out, time = np.zeros((count, 6)), int(random.integers(10, 14))
    current = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    out[:] = current
    flip = np.array([random.choice([-1.0, 1.0]), 1.0, random.choice([-1.0, 1.0]), 1.0, 1.0, 1.0])
    poses = np.array(_POSES) * flip
    while time < count:
        for target in poses:
            steps = int(random.integers(13, 18))
            s = np.clip((np.arange(count) - time) / steps, 0, 1)[:, None]
            out += (s**3 * (10 - 15 * s + 6 * s**2)) * (target - current)
            current = target
            time += steps + int(random.integers(4, 9))
    t = np.arange(count)[:, None]
    sway = 0.2 * np.sin(2 * np.pi * (t / 25 * [0.23, 0.31, 0.19] + random.random(3)))
    angles = np.radians(out[:, :3] + sway)
    yaw, pitch, roll = (
        exp(torch.as_tensor(angles[:, [k]] * np.eye(3)[axis])) for k, axis in enumerate((1, 0, 2))
    )  # fmt: skip
    return np.concatenate([_log(yaw @ pitch @ roll), out[:, 3:]], axis=1)


def _log(rotation: torch.Tensor) -> Float[np.ndarray, "T 3"]:
    from flamehead.geometry.rotation import log

    return log(rotation).numpy()


def _rotation_between(whole: Float[np.ndarray, "T 3"], last: Float[np.ndarray, "T 3"]) -> Float[np.ndarray, "T 3"]:
    """The rotation that is followed by `last` to make `whole`."""
    return _log(exp(torch.as_tensor(whole)) @ exp(torch.as_tensor(last)).mT)


def _places(
    flame: Flame, params: FlameParams, where: Float[np.ndarray, "T 3"], settings: SequenceSettings
) -> torch.Tensor:
    """Translations that keep the face near the middle: it swings less than a stiff neck would make it."""
    still = FlameParams(params.shape[:1], *(torch.zeros_like(getattr(params, name)[:1]) for name in _AFTER_SHAPE))
    face = torch.as_tensor(flame.regions["face"])
    with torch.no_grad():
        rest, posed = flame(still).vertices[:, face].mean(1), flame(params).vertices[:, face].mean(1)
    distance = settings.focal_scale / _SCALE * where[:, :1]
    goal = np.concatenate([where[:, 1:], -distance], axis=1)
    return torch.as_tensor(goal, dtype=torch.float32) - rest - 0.65 * (posed - rest)


_AFTER_SHAPE = ("expression", "root", "neck", "jaw", "left_eye", "right_eye", "translation")


def _jaw(count: int, random: np.random.Generator) -> tuple[Float[np.ndarray, "T"], Float[np.ndarray, "T"]]:
    """Opening in radians, at most 0.2, and how loudly the person speaks, 0 to 1: sentences with pauses between."""
    t = np.arange(count)
    loud, time = np.zeros(count), int(random.integers(9, 13))
    while time < count:
        length = int(random.integers(35, 60))
        loud[time : time + length] = random.uniform(0.7, 1.0)
        time += length + int(random.integers(8, 16))
    loud = gaussian_filter1d(loud, 2.0)
    wave = sum(np.sin(2 * np.pi * (rate * t / 25 + random.random())) for rate in (1.3, 2.4, 3.7, 4.6))
    wave = wave + 1.2 * gaussian_filter1d(random.standard_normal(count), 1.2)
    opening = loud * np.clip(0.06 + 0.045 * wave, 0.0, 0.2)
    return gaussian_filter1d(opening, 0.6), loud


def _blinks(count: int, random: np.random.Generator) -> Float[np.ndarray, "T"]:
    """One blink of six frames in about 38."""
    out, time = np.zeros(count), int(random.integers(15, 22))
    while time + len(_BLINK) < count:
        out[time : time + len(_BLINK)] = np.asarray(_BLINK) * random.uniform(0.92, 1.0)
        time += int(random.integers(33, 43))
    return out


def _gaze(count: int, random: np.random.Generator) -> Float[np.ndarray, "T 2"]:
    """Pitch and yaw of the eyes, radians: held for a while, then elsewhere within two frames."""
    out, time, now = np.zeros((count, 2)), 0, np.zeros(2)
    while time < count:
        length = int(random.integers(8, 26))
        goal = np.radians(random.normal(0, [4.0, 9.0]).clip([-9, -18], [9, 18]))
        out[time : time + length] = goal
        out[time : time + 1] = (now + goal) / 2
        now, time = goal, time + length
    return out


def _expression(
    flame: Flame,
    count: int,
    loud: Float[np.ndarray, "T"],
    blink: Float[np.ndarray, "T"],
    gaze: Float[np.ndarray, "T 2"],
    random: np.random.Generator,
) -> Float[np.ndarray, "T E"]:
    """Coefficients: lips with the speech, brows now and then, lids, and a little of the unnamed components."""
    names = builtin_head().expression_names
    out = np.zeros((count, flame.n_expression))

    def wander(pace: float) -> Float[np.ndarray, "T"]:
        noise = gaussian_filter1d(random.standard_normal(count + 80), pace)[40:-40]
        return noise / max(noise.std(), 1e-9)

    def add(name: str, values: Float[np.ndarray, "T"], *, uneven: float = 0.15) -> None:
        found = [k for k, each in enumerate(names) if each in (name, f"{name}_left", f"{name}_right")]
        for k in found:
            out[:, k] += values * (1 + uneven * random.uniform(-1, 1) * (len(found) > 1))

    for name in _LIPS:
        add(name, 0.55 * loud * np.clip(wander(2.2), 0, 1.6))
    for name in _BROWS:
        add(name, 0.5 * np.clip(wander(9.0) - 0.4, 0, 1.5))
    add("smile", 0.3 * np.clip(wander(25.0), 0, 1.5))
    # Lids go with the eyes: a look down lowers them by a quarter.
    add("blink", np.clip(np.maximum(blink, 1.2 * np.clip(gaze[:, 0], 0, None)), 0, 1), uneven=0.04)
    for k, name in enumerate(names):
        if name.startswith("local_") and k < 60:
            out[:, k] += 0.15 * random.standard_normal() + 0.15 * wander(12.0)
    return out


def frames(sequence: Sequence, *, flame: Flame | None = None) -> Iterator[Float[np.ndarray, "H W 3"]]:
    """Draw the frames one after the other; sRGB float32."""
    settings, flame = sequence.settings, flame or load_flame()
    random = np.random.default_rng([settings.seed, 1])
    albedo = builtin_albedo()
    props = _props(flame, sequence.track.params, random)
    wall = scene.background(settings.size, random)
    colors = decode(albedo, sequence.albedo)
    phase = float(random.uniform(0, 6))
    paint = {
        hidden: scene.atlas(
            colors, albedo.uv, albedo.uv_faces, scene.join(props.shown(hidden)), np.random.default_rng(1)
        )
        for hidden in (False, True)
    }
    for t in range(settings.frames):
        one = FlameParams(*(value[t] for value in vars(sequence.track.params).values()))
        with torch.no_grad():
            posed = flame(one)
        hidden = bool(sequence.occluded[t])
        rest = scene.join(props.placed(posed.vertices.numpy(), posed.joints.numpy(), one, sequence, t))
        points = torch.cat([posed.vertices, torch.as_tensor(rest.vertices, dtype=torch.float32)])
        faces = torch.cat([flame.faces, torch.as_tensor(rest.faces + len(posed.vertices))])
        light = scene.lighting(t / max(settings.frames - 1, 1), phase)
        camera = sequence.track.camera
        view = Camera(camera.rotation[t], camera.translation[t], camera.focal[t], camera.center[t], camera.size)
        level = 0.35 + 0.9 * light.lights[0].color[1]
        ground = linear_to_srgb((wall * level).astype(np.float32).reshape(-1, 3)).reshape(wall.shape)
        drawn = render(points, faces, view, colors=paint[hidden], background=ground, lighting=light).image
        yield _photographed(drawn, settings, random)


def _photographed(
    image: Float[np.ndarray, "H W 3"], settings: SequenceSettings, random: np.random.Generator
) -> Float[np.ndarray, "H W 3"]:
    """A lens that is not quite sharp, and a sensor: shot noise grows with the light, but less than sRGB stretches."""
    sigma = settings.blur * settings.size / 512
    soft = gaussian_filter(np.clip(image, 0, 1), (sigma, sigma, 0))
    grain = random.standard_normal(image.shape, dtype=np.float32) * settings.noise * (0.6 + 0.8 * np.sqrt(soft))
    return np.clip(soft + grain, 0, 1).astype(np.float32)


@dataclass(frozen=True)
class _Props:
    """Hair in the frame of the resting head, the body and the hand in their own."""

    hair: scene.Solid
    body: scene.Solid
    hand: scene.Solid
    neck: Float[np.ndarray, "3"]
    """Where the neck's joint is at rest."""
    lips: np.ndarray

    def shown(self, hidden: bool) -> list[scene.Solid]:
        return [self.hair, self.body, *([self.hand] if hidden else [])]

    def placed(
        self, vertices: np.ndarray, joints: np.ndarray, params: FlameParams, sequence: Sequence, t: int
    ) -> list[scene.Solid]:
        """Everything where it is in frame t."""
        root, neck = (exp(value.double()).numpy() for value in (params.root, params.neck))
        turn = root @ neck
        shifted = scene.Solid(self.hair.vertices - self.neck, self.hair.faces, self.hair.uv)
        # The shoulders follow a part of the turn.
        half = exp(0.4 * params.root.double()).numpy()
        out = [shifted.moved(turn, joints[1]), self.body.moved(half, joints[0])]
        if sequence.occluded[t]:
            where = np.flatnonzero(sequence.occluded)
            s = (t - where[0]) / max(len(where) - 1, 1)
            mouth = vertices[self.lips].mean(0)
            # It rises from the lower right to the mouth and leaves to the left.
            path = np.array([0.07 - 0.13 * s, -0.065 + 0.24 * s * (1 - s), 0.03])
            out.append(self.hand.moved(exp(torch.tensor([0.1, 0.1, 0.7 - 0.9 * s]).double()).numpy(), mouth + path))
        return out


def _props(flame: Flame, params: FlameParams, random: np.random.Generator) -> _Props:
    rest = replace(flame.zeros(), shape=params.shape[0])
    with torch.no_grad():
        still = flame(rest)
    normals = vertex_normals(still.vertices, flame.faces).numpy()
    cap = flame.faces[flame.region_faces("hair")].numpy()
    vertices = still.vertices.numpy()
    return _Props(
        scene.hair(vertices, normals, cap, random), scene.body(random), scene.hand(random),
        still.joints[1].numpy(), np.asarray(flame.regions["lips"]),
    )  # fmt: skip


def save_truth(path: Path, sequence: Sequence) -> None:
    """Write the truth as a track (`load_track` reads it) with `truth_blink`, `truth_jaw` and `truth_occluded`."""
    save_track(path, sequence.track, model_source="built-in head")
    with np.load(path) as saved:
        arrays = {name: saved[name] for name in saved.files}
    for name in ("blink", "jaw", "occluded", "albedo"):
        arrays[f"truth_{name}"] = getattr(sequence, name)
    temporary = path.with_name(f"{path.stem}.part.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def load_truth(path: Path) -> Sequence:
    """Read what `save_truth` wrote."""
    track = load_track(path)
    with np.load(path) as saved:
        extra = [saved[f"truth_{name}"] for name in ("blink", "jaw", "occluded", "albedo")]
    return Sequence(SequenceSettings(**track.settings), track, *extra)


def write_sequence(sequence: Sequence, folder: Path, *, pictures: bool = False, flame: Flame | None = None) -> Path:
    """Write `clip.mp4` and `truth.npz`, and on request `frames/00000.png` and so on; returns the clip's path."""
    folder.mkdir(parents=True, exist_ok=True)
    save_truth(folder / "truth.npz", sequence)
    if pictures:
        shutil.rmtree(folder / "frames", ignore_errors=True)
        (folder / "frames").mkdir()

    def drawn() -> Iterator[Float[np.ndarray, "H W 3"]]:
        for number, image in enumerate(frames(sequence, flame=flame)):
            if pictures:
                write_image(folder / "frames" / f"{number:05}.png", image)
            yield image

    write_video(folder / "clip.mp4", drawn(), fps=sequence.settings.fps)
    return folder / "clip.mp4"


def main() -> int:
    """Write one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name, kind in (("frames", int), ("size", int), ("seed", int), ("focal-scale", float)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(SequenceSettings, name.replace("-", "_")))
    parser.add_argument("--pictures", action="store_true", help="write every frame as a PNG too")
    given = vars(parser.parse_args())
    out, pictures = given.pop("out"), given.pop("pictures")
    write_sequence(make_sequence(SequenceSettings(**given)), out, pictures=pictures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
