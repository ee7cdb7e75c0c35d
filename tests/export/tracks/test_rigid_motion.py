"""Head or camera: the same pixels to a hundredth, for any pose, there and back."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.data import Camera, FlameParams, Track
from flamehead.errors import InputError
from flamehead.export import fold_neck, move_pose, move_track
from flamehead.formats import move_to_vhap_world, params_to_tracker_frames, tracker_frames_to_params
from flamehead.geometry.rotation import exp

COUNT, SIZE = 200, (1920, 1080)


def heads(flame, seed, *, dtype=torch.float32):
    """Random people, expressions and poses of any angle, before random cameras that see them at 0.4 to 2 m."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    angle = torch.rand(COUNT, 1, generator=generator, dtype=torch.float64) * 3.1
    root = torch.nn.functional.normalize(normal(COUNT, 3), dim=-1) * angle
    shape, expression = torch.zeros(COUNT, flame.n_shape).double(), torch.zeros(COUNT, flame.n_expression).double()
    shape[:, :30], expression[:, :20] = normal(COUNT, 30), 0.5 * normal(COUNT, 20)
    small = [0.2 * normal(COUNT, 3) for _ in range(4)]
    params = FlameParams(shape, expression, root, *small, translation=0.5 * normal(COUNT, 3))
    rotation = exp(normal(COUNT, 3))
    middle = flame.double_vertices(params).mean(dim=1)
    away = torch.cat([0.1 * normal(COUNT, 2), 0.4 + 1.6 * torch.rand(COUNT, 1, generator=generator).double()], dim=1)
    translation = away - (rotation @ middle[..., None])[..., 0]
    focal = (1500 + 100 * normal(COUNT, 1)).expand(COUNT, 2)
    camera = Camera(rotation, translation, focal, torch.tensor([930.0, 560.0]).double().expand(COUNT, 2), SIZE)
    return params.to(dtype=dtype), camera.to(dtype=dtype)


@pytest.fixture(scope="module")
def exact():
    """The built-in head in double precision, some of its vertices, so that only the numbers in files round."""
    from flamehead import load_flame

    flame = load_flame(dtype=torch.float64)
    some = flame.subset(np.arange(0, 5023, 23))
    object.__setattr__(flame, "double_vertices", lambda params: some(params.to(dtype=torch.float64)).vertices)
    return flame


def pixels(flame, params, camera):
    return camera.to(dtype=torch.float64).project(flame.double_vertices(params))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("motion", ["camera", "head"])
def test_what_is_seen_stays(exact, motion, dtype):
    params, camera = heads(exact, 3, dtype=dtype)
    before = pixels(exact, params, camera)
    moved, lens = move_pose(params, camera, exact, motion)
    assert moved.root.dtype == lens.rotation.dtype == dtype
    torch.testing.assert_close(
        pixels(exact, moved, lens), before, atol=0.01 if dtype == torch.float32 else 1e-8, rtol=0
    )
    if motion == "camera":
        assert not moved.root.any() and not moved.translation.any()
    else:
        assert not lens.translation.any() and bool((lens.rotation == lens.rotation[0]).all())
    other = "head" if motion == "camera" else "camera"
    back = move_pose(*move_pose(moved, lens, exact, other), exact, motion)
    torch.testing.assert_close(pixels(exact, *back), before, atol=0.01 if dtype == torch.float32 else 1e-8, rtol=0)


def test_from_the_trackers_files_to_vhaps_world(exact):
    """Camera motion in a `.frame`, as float32, becomes head motion before VHAP's camera."""
    params, camera = heads(exact, 5)
    params = replace(params, neck=torch.zeros_like(params.neck))
    before = pixels(exact, params, camera)
    frames = params_to_tracker_frames(*move_pose(params, camera, exact, "camera"), exact)
    read, lens = tracker_frames_to_params(frames)
    torch.testing.assert_close(pixels(exact, read, lens), before, atol=0.01, rtol=0)
    moved, fixed = move_to_vhap_world(*move_pose(read, lens, exact, "head"), exact)
    assert fixed.translation.tolist() == [0, 0, 1]
    fixed = replace(fixed, rotation=fixed.rotation.expand(COUNT, 3, 3), translation=fixed.translation.expand(COUNT, 3))
    torch.testing.assert_close(pixels(exact, moved, fixed), before, atol=0.01, rtol=0)


def test_a_folded_neck_leaves_the_skull_where_it_was(exact):
    params, _ = heads(exact, 7, dtype=torch.float64)
    params = replace(params, neck=0.2 * params.neck)
    folded = fold_neck(params, exact)
    assert not folded.params.neck.any()
    assert folded.largest == pytest.approx(float(params.neck.norm(dim=-1).max()))
    # The eyeballs hang on the skull alone; correctives of the neck do not reach them.
    ids = exact.regions["left_eyeball"]
    eye = exact.subset(ids)
    far = (eye(folded.params).vertices - eye(params).vertices).norm(dim=-1)
    assert float(far.max()) < 1e-4
    straight = fold_neck(folded.params, exact)
    assert straight.largest == 0 and torch.equal(straight.params.root, folded.params.root)


def test_tracks_move_and_wrong_words_are_refused(track, flame):
    moved = move_track(track, flame, "camera")
    names = ("params", "camera")
    assert all(getattr(moved, name) is not getattr(track, name) for name in names) and moved.status is track.status
    with pytest.raises(InputError, match="motion is 'both'"):
        move_track(track, flame, "both")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("seed", range(2))
def test_the_page_sees_what_the_camera_saw(exact, seed):
    """All but one shift for the whole track, also where the expression moves the joint that the head turns about."""
    from flamehead.export.html_motion import _seen_pose

    params, camera = heads(exact, seed, dtype=torch.float64)
    track = Track(
        params, camera, np.arange(COUNT), np.arange(COUNT) / 25.0, np.zeros(COUNT, np.int8), exact.fingerprint
    )
    pose, place = (torch.from_numpy(values) for values in _seen_pose(exact, track))
    turned = pose.reshape(COUNT, 5, 3).unbind(1)
    shown = exact.double_vertices(FlameParams(params.shape, params.expression, *turned, translation=place))
    seen = exact.double_vertices(params) @ camera.rotation.mT + camera.translation[:, None]
    shift = shown - seen * torch.tensor([1.0, -1.0, -1.0])
    torch.testing.assert_close(shift, shift[:1, :1].expand_as(shift), rtol=0, atol=1e-9)


@pytest.mark.parametrize("row", [0, 7, -1])
def test_rows_of_batches(exact, row):
    params, camera = heads(exact, 0, dtype=torch.float64)
    one, lens = params.row(row), camera.row(row)
    assert one.root.equal(params.root[row]) and one.shape.equal(params.shape[row]) and lens.size == camera.size
    single = camera.to(dtype=torch.float32).row(row)
    assert single.focal.dtype == torch.float32 and single.rotation.equal(lens.rotation.float())
    points = torch.randn(5, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 9.0])
    torch.testing.assert_close(lens.project(points), camera.project(points)[row])
    assert replace(camera, orthographic=True).row(row).orthographic
