"""One head in calibrated photos, and every way to get the cameras wrong."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.fit import HeadState, LandmarkFitSettings, fit_landmarks, fit_views, landmark_positions, vertex_deviation
from flamehead.fit._prepare import prepare
from flamehead.fit._so3 import log
from flamehead.fit.uncertainty import state_of
from flamehead.formats import CalibratedCamera

SIZE = (1000, 800)
FLIP = np.diag([1.0, -1.0, -1.0])


def told(fit):
    """The posterior of a fit that has one."""
    assert fit.posterior is not None
    return fit.posterior


def rig(angles, *, distance=0.8, distortion=(0.0, 0.0)):
    """Cameras on an arc around a place beside the origin of a world of their own, looking at it a little off centre."""
    place, cameras = np.array([0.3, 1.6, -0.2]), []
    for i, angle in enumerate(angles):
        # The head looks along world x, y is up.
        yaw = Rotation.from_euler("y", 90.0 + angle, degrees=True).as_matrix()
        pitch = Rotation.from_euler("x", 6.0 * (-1) ** i, degrees=True).as_matrix()
        turn = FLIP @ (yaw @ pitch).T
        shift = np.array([0.03 * (-1) ** i, -0.02, distance])
        matrix = np.array([[1100.0, 0, 510.0], [0, 1120.0, 395.0], [0, 0, 1]])
        cameras.append(CalibratedCamera(turn, shift - turn @ place, matrix, None, distortion))
    return place, cameras


def distorted(pixels, camera):
    """The photo's pixels of pixels without distortion."""
    focal, center = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    rays = (pixels - center) / focal
    r2 = (rays**2).sum(axis=1, keepdims=True)
    k1, k2 = camera.distortion
    return rays * (1 + k1 * r2 + k2 * r2**2) * focal + center


def scene(head, angles=(-30.0, 0.0, 35.0), *, seed=0, noise=0.3, distortion=(0.0, 0.0)):
    """A head in the world, its cameras and its landmarks in their photos."""
    rng = np.random.default_rng(seed)
    place, cameras = rig(angles, distortion=distortion)
    prepared = prepare(head, "mediapipe478", n_shape=100, n_expression=60, with_other=False)
    root = Rotation.from_euler("yx", [90.0 + rng.uniform(-5, 5), 5.0], degrees=True).as_matrix()
    state = HeadState(
        shape=np.clip(rng.normal(size=head.n_shape), -2.5, 2.5),
        expression=0.5 * rng.normal(size=head.n_expression),
        neck=np.zeros(3),
        jaw=np.array([0.1, 0.0, 0.0]),
        eyes=np.zeros((2, 2)),
        root=root,
        translation=place,
        log_focal=0.0,
    )
    points, seen = landmark_positions(prepared.everything, state), []
    for camera in cameras:
        x = points @ camera.rotation.T + camera.translation
        assert (x[:, 2] > 0).all()
        pixels = camera.matrix[[0, 1], [0, 1]] * x[:, :2] / x[:, 2:] + camera.matrix[:2, 2]
        pixels = distorted(pixels, camera) + noise * rng.normal(size=pixels.shape)
        seen.append(Observation(pixels, "mediapipe478", SIZE))
    return prepared, state, cameras, seen, points


def apart(prepared, fit, points):
    """Mean distance of fitted and true landmarks in the world, millimetres."""
    state = state_of(fit.params, told(fit).columns)
    return 1000 * np.linalg.norm(landmark_positions(prepared.everything, state) - points, axis=1).mean()


@pytest.mark.parametrize("distortion", [(0.0, 0.0), (-0.2, 0.05)])
@pytest.mark.parametrize("angles", [(-30.0, 0.0, 35.0), (-20.0, 20.0), (-40.0, -15.0, 10.0, 30.0)])
def test_the_head_comes_back_in_the_world(head, angles, distortion):
    prepared, state, cameras, seen, points = scene(head, angles, distortion=distortion)
    found = fit_views(head, seen, cameras)
    assert found.status.converged and found.metres_per_unit == 1.0 and len(found.fits) == len(angles)
    assert apart(prepared, found.fits[0], points) < 2.5
    turned = np.rad2deg(
        np.linalg.norm(log(state_of(found.fits[0].params, told(found.fits[0]).columns).root @ state.root.T))
    )
    assert turned < 1.5
    for fit in found.fits:
        placed = fit.camera.project(
            torch.as_tensor(landmark_positions(prepared.everything, state_of(fit.params, told(fit).columns)))
        )
        np.testing.assert_allclose(placed.numpy(), fit.fitted, atol=1e-6)


def test_more_is_known_than_from_one_photo(head):
    prepared, _, cameras, seen, points = scene(head)
    views, alone = fit_views(head, seen, cameras).fits[1], fit_landmarks(head, seen[1], focal=1110.0)
    ids = np.arange(0, 478, 40)
    both = [vertex_deviation(head, fit, vertices=ids, frame="world") for fit in (views, alone)]
    assert np.linalg.norm(both[0]) < 0.3 * np.linalg.norm(both[1])
    # The truth lies where it should.
    fitted = landmark_positions(prepared.everything, state_of(views.params, told(views).columns))
    assert np.mean(np.abs(1000 * (fitted - points)[ids]) < 2.5 * both[0]) > 0.9


@pytest.mark.parametrize("unit", [1.0, 0.07, 40.0])
def test_an_unknown_scale_is_estimated(head, unit):
    prepared, _, cameras, seen, points = scene(head)
    scaled = [replace(camera, translation=camera.translation * unit) for camera in cameras]
    found = fit_views(head, seen, scaled, metric=False)
    assert found.metres_per_unit * unit == pytest.approx(1.0, abs=0.12)
    assert apart(prepared, found.fits[0], points * found.metres_per_unit * unit) < 3.0
    assert told(found.fits[0]).deviation["log_scale"][0] < 0.1


def inverse(camera):
    return replace(camera, rotation=camera.rotation.T, translation=-camera.rotation.T @ camera.translation)


def opengl(camera):
    return replace(camera, rotation=FLIP @ camera.rotation, translation=FLIP @ camera.translation)


def zoomed(factor):
    return lambda camera: replace(camera, matrix=camera.matrix * np.array([[factor], [factor], [1.0]]))


MISTAKES = {
    "millimetres": (lambda c: replace(c, translation=1000 * c.translation), "are in millimetres, not in metres"),
    "centimetres": (lambda c: replace(c, translation=100 * c.translation), "are in centimetres, not in metres"),
    "scene units": (lambda c: replace(c, translation=7 * c.translation), "not in metres: .* set \"unit\" to null"),
    "camera to world": (inverse, "written camera to world instead of world to camera: .* \"camera_to_world\""),
    "OpenGL": (opengl, "written with OpenGL's axes .* \"convention\" to \"opengl\""),
    "OpenGL, camera to world": (lambda c: inverse(opengl(c)), "camera to world with OpenGL's axes"),
    "twice the size": (zoomed(2.0), r"wrong resolution \(K is for photos 2 times as large\).* scale K by 0.5"),
    "half the size": (zoomed(0.5), r"K is for photos 0.5 times as large\).* scale K by 2"),
    "another size": (zoomed(1.5), "of the wrong resolution"),
    "both": (lambda c: zoomed(2.0)(inverse(c)), "camera to world .* and of the wrong resolution"),
    "said size": (lambda c: replace(c, size=(2000, 1600)), "2000 x 1600 pixels, .* 1000 x 800; scale K by 0.5"),
}  # fmt: skip


@pytest.mark.parametrize("angles", [(-30.0, 0.0, 35.0), (-20.0, 25.0)])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_is_named_before_solving(head, mistake, angles):
    _, _, cameras, seen, _ = scene(head, angles, noise=1.0)
    spoil, sentence = MISTAKES[mistake]
    with pytest.raises(InputError, match=sentence) as caught:
        fit_views(head, seen, [spoil(camera) for camera in cameras])
    assert str(caught.value).count(". ") == 0


def test_swapped_photos_are_refused(head):
    _, _, cameras, seen, _ = scene(head)
    with pytest.raises(InputError, match=r"do not fit the photos: .* each photo has its own camera"):
        fit_views(head, [seen[1], seen[2], seen[0]], cameras)


def test_right_cameras_are_never_refused(head):
    for seed in range(12):
        _, _, cameras, seen, _ = scene(head, (-25.0, 5.0, 30.0), seed=seed, noise=2.0)
        assert fit_views(head, seen, cameras).status.converged


def test_unseen_landmarks_are_no_obstacle(head):
    prepared, _, cameras, seen, points = scene(head)
    holes = [replace(one, points=one.points.copy()) for one in seen]
    holes[0].points[head.arrays.template[:478, 0] > 0.03] = np.nan
    holes[1].points[468:] = np.nan
    assert apart(prepared, fit_views(head, holes, cameras, settings=LandmarkFitSettings()).fits[0], points) < 3.0


def test_numbers_and_schemes_must_match(head):
    _, _, cameras, seen, _ = scene(head)
    with pytest.raises(InputError, match="Got 1 photos and 3 cameras"):
        fit_views(head, seen[:1], cameras)
    other = Observation(seen[0].points[:468], "mediapipe468", SIZE)
    with pytest.raises(InputError, match=r"different schemes \(mediapipe468, mediapipe478\)"):
        fit_views(head, [other, *seen[1:]], cameras)
