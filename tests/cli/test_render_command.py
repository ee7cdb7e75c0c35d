"""Pictures and videos of heads and meshes; what cannot be drawn is one sentence and leaves nothing behind."""

import importlib.util

import numpy as np
import pytest

from flamehead import read_image
from flamehead.cli.render import parse_color
from flamehead.io import write_ply

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="PyAV is not installed")
CUBE = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
CUBE_FACES = np.array(
    "0 1 3 0 3 2 4 6 7 4 7 5 0 4 5 0 5 1 2 3 7 2 7 6 0 2 6 0 6 4 1 5 7 1 7 3".split(), dtype=np.int64
).reshape(-1, 3)
GREEN = ("--background", "#00ff00")


def covered(image):
    return (np.abs(image - [0, 1, 0]) > 0.02).any(-1)


@pytest.fixture
def posed(run, tmp_path):
    """A params.npz."""
    assert run("pose", "--random", 3, "--jaw", 10, "-o", tmp_path / "posed.npz").code == 0
    return tmp_path / "posed.npz"


def test_the_mean_head(run, tmp_path):
    done = run("render", "--out", tmp_path / "a.png", "--size", 120, 150, *GREEN)
    assert done.code == 0 and done.out == f"Wrote {tmp_path / 'a.png'}, 120 x 150 pixels.\n"
    image = read_image(tmp_path / "a.png")
    mask = covered(image)
    assert image.shape == (150, 120, 3) and 0.2 < mask.mean() < 0.8 and not mask[0].any() and not mask[:, 0].any()
    # It looks at us: both halves are nearly alike.
    assert (mask != mask[:, ::-1]).mean() < 0.02


@pytest.mark.parametrize("what", ["clay", "depth", "normals", "uv", "regions", "wireframe"])
def test_maps(run, tmp_path, what):
    run("render", "-o", tmp_path / "color.png", "--size", 80, *GREEN)
    assert run("render", "-o", tmp_path / "map.png", "--size", 80, "--map", what, *GREEN, "--quiet").out == ""
    color, shown = (read_image(tmp_path / f"{name}.png") for name in ("color", "map"))
    # uv of some places is pure green, as the background.
    assert what == "uv" or (covered(color) == covered(shown)).mean() > 0.99
    assert np.abs(color - shown).mean() > 0.02


def test_every_mesh_format(run, posed, tmp_path):
    files = [tmp_path / f"m.{kind}" for kind in ("obj", "ply", "glb")]
    run("pose", posed, "-o", *files)
    pictures = []
    for file in [posed, *files]:
        assert (
            run("render", file, "-o", tmp_path / "p.png", "--size", 100, "--yaw", 30, "--map", "clay", *GREEN).code == 0
        )
        pictures.append(read_image(tmp_path / "p.png"))
    for picture in pictures[1:]:
        assert np.abs(picture - pictures[0]).max() < 0.05


def test_any_mesh_and_a_sheet_of_several(run, tmp_path, posed):
    write_ply(tmp_path / "cube.ply", 1000 * CUBE, CUBE_FACES)
    inputs = [tmp_path / "cube.ply", posed, tmp_path / "cube.ply"]
    assert run("render", *inputs, "-o", tmp_path / "a.png", "--size", 64, "--pitch", 20, *GREEN).code == 0
    sheet = read_image(tmp_path / "a.png")
    assert sheet.shape == (128, 128, 3) and not covered(sheet)[64:, 64:].any()
    np.testing.assert_array_equal(sheet[:64, :64], sheet[64:, :64])


def test_the_saved_camera_draws_the_photo_again(run, known, tmp_path):
    done = run(
        "fit", known.image, "--landmarks", known.landmarks, "--focal", known.focal, "-o", tmp_path / "fit", "--quiet"
    )
    assert done.code == 0
    fitted = tmp_path / "fit" / "params.npz"
    assert run("render", fitted, "--saved-camera", "-o", tmp_path / "a.png", *GREEN).code == 0
    mask = covered(read_image(tmp_path / "a.png"))
    assert mask.shape == (300, 240)
    inside = known.points[(known.points > 5).all(1)].astype(int)
    assert mask[inside[:, 1], inside[:, 0]].mean() > 0.97


def test_steps_side_by_side(run, tmp_path):
    assert run("render", "--turntable", "--frames", 4, "-o", tmp_path / "a.png", "--size", 60, *GREEN).code == 0
    steps = np.split(read_image(tmp_path / "a.png"), 4, axis=1)
    # Front, left side, back, right side: the sides mirror each other, and the back shows no face.
    assert (covered(steps[1]) != covered(steps[3])[:, ::-1]).mean() < 0.03
    assert np.abs(steps[0] - steps[2]).mean() > 0.03
    done = run(
        "render", "--sweep", "shape:0", "--frames", 4, "--reach", 3, "-o", tmp_path / "b.png", "--size", 60, *GREEN
    )
    sizes = [covered(step).sum() for step in np.split(read_image(tmp_path / "b.png"), 4, axis=1)]
    assert done.code == 0 and sizes[1] > 1.1 * sizes[0] > 1.1**2 * sizes[3]


def test_a_gif(run, tmp_path):
    from PIL import Image

    out = tmp_path / "a.gif"
    done = run("render", "--sweep", "jaw_open", "--frames", 6, "--size", 48, "-o", out, "--reach", 1, "--map", "clay")
    assert done.code == 0 and "6 frames" in done.out
    with Image.open(out) as image:
        # Equal neighbours become one longer frame.
        assert getattr(image, "n_frames", 1) == 4 and image.size == (48, 48)


@needs_av
def test_videos(run, posed, tmp_path):
    from flamehead.io import describe_video

    out = tmp_path / "a.mp4"
    assert run("render", posed, "--turntable", "--frames", 5, "--fps", 10, "--size", 49, "-o", out).code == 0
    info = describe_video(out)
    assert info.count == 5 and info.size == (50, 50) and info.fps == pytest.approx(10)
    # A track plays by itself.
    with np.load(posed) as stored:
        arrays = dict(stored)
    arrays["jaw"] = np.linspace(0, 0.3, 9, dtype=np.float32).reshape(3, 3)
    np.savez(tmp_path / "track.npz", **arrays)
    assert run("render", tmp_path / "track.npz", "-o", out, "--size", 48).code == 0
    assert describe_video(out).count == 3
    assert run("render", tmp_path / "track.npz", "-o", tmp_path / "a.png", "--size", 48).code == 0
    assert read_image(tmp_path / "a.png").shape == (96, 96, 3)


@pytest.mark.parametrize(
    ("words", "code", "wanted"),
    [
        ((), 2, "--out head.png"),
        (("--out", "a.xyz"), 1, "'.xyz'"),
        (("--out", "no/a.png"), 1, "does not exist"),
        (("--out", "a.png", "--size", 0), 2, "--size got 0; give"),
        (("--out", "a.png", "--size", 100, 100, 100), 2, "--size"),
        (("--out", "a.png", "--background", "mauve"), 2, "'mauve'"),
        (("--out", "a.png", "--pitch", 90), 2, "--pitch"),
        (("--out", "a.png", "--fov", 500), 2, "--fov got 500; give"),
        (("--out", "a.png", "--yaw", "inf"), 2, "--yaw got inf; give"),
        (("--out", "a.png", "--reach", "nan"), 2, "--reach got nan; give"),
        (("--out", "a.png", "--turntable", "--sweep", "smile"), 2, "one at a time"),
        (("--out", "a.gif"), 2, "Nothing moves"),
        (("--out", "a.gif", "--turntable", "--frames", 0), 2, "--frames got 0; give"),
        (("--out", "a.png", "--sweep", "smlie"), 1, "did you mean smile"),
        (("--out", "a.png", "--sweep", "shape:300"), 1, "0 to 299"),
        (("--out", "a.png", "--saved-camera"), 1, "holds no camera"),
        (("no.obj", "--out", "a.png"), 1, "no.obj"),
        (("no.npz", "--out", "a.png"), 1, "no.npz"),
        (("no", "--out", "a.png"), 1, "There is no file no"),
        (("--texture", "no.png", "--out", "a.png"), 1, "no.png"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, tmp_path, monkeypatch, words, code, wanted):
    monkeypatch.chdir(tmp_path)
    done = run("render", *words)
    assert done.code == code and wanted in done.err and "Traceback" not in done.err
    assert done.err.startswith("flamehead: ") and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_a_mesh_lacks_is_said(run, tmp_path):
    write_ply(tmp_path / "cube.ply", CUBE, CUBE_FACES)
    write_ply(tmp_path / "cloud.ply", CUBE, CUBE_FACES[:0])
    out = tmp_path / "a.png"
    for words, wanted in (
        (("cube.ply", "--map", "uv"), "texture coordinates"),
        (("cube.ply", "--map", "regions"), "regions"),
        (("cube.ply", "--sweep", "smile"), "is a mesh"),
        (("cube.ply", "--saved-camera"), "holds no camera"),
        (("cloud.ply",), "point cloud"),
    ):
        assert wanted in run("render", tmp_path / words[0], *words[1:], "-o", out).complaint
    assert not out.exists()


def test_colours():
    assert parse_color("White") == (1, 1, 1) and parse_color("#3399cc") == pytest.approx((0.2, 0.6, 0.8))
