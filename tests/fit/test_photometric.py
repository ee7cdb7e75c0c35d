"""Pixels pull a head into place: derivatives against differences, and heads found again from their own pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_erosion

from flamehead.builtin.albedo_space import builtin_albedo
from flamehead.data import Camera, Fit, FlameParams, Observation
from flamehead.errors import InputError
from flamehead.fit import _cpu_pixels as kernels
from flamehead.fit import fit_landmarks
from flamehead.fit._so3 import exp, log
from flamehead.fit.landmark_model import HeadState, landmark_points
from flamehead.fit.photometric import PhotometricSettings, fit_photometric, head_state
from flamehead.fit.pixels import (
    PixelState,
    TextureSpace,
    _by_head,
    face_surface,
    image_level,
    pixel_equations,
    see,
    texture_space,
)
from flamehead.geometry.camera import project
from flamehead.model import load_flame

N_SHAPE, N_EXPRESSION = 20, 10
CAMERA = Camera(
    torch.diag(torch.tensor([1.0, -1.0, -1.0])),
    torch.zeros(3),
    torch.full((2,), 500.0),
    torch.full((2,), 128.0),
    (256, 256),
)


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def texture(flame) -> TextureSpace:
    albedo = builtin_albedo()
    return texture_space(albedo.mean_diffuse, albedo.diffuse_basis, albedo.uv, albedo.uv_faces)


@pytest.fixture(scope="module")
def surface(flame):
    return face_surface(flame.arrays, flame.region_faces("face").numpy(), n_shape=N_SHAPE, n_expression=N_EXPRESSION)


def make_state(seed: int, n_albedo: int) -> PixelState:
    rng = np.random.default_rng(seed)
    head = HeadState(
        rng.normal(0, 0.7, N_SHAPE), rng.normal(0, 0.4, N_EXPRESSION), np.zeros(3), np.array([0.05, 0.0, 0.0]),
        np.zeros((2, 2)), exp(rng.normal(0, 0.12, 3)), np.array([0.0, 0.0, -0.6]), float(np.log(500.0)),
    )  # fmt: skip
    light = np.zeros((9, 3))
    light[0], light[1:4] = 2.5, rng.normal(0, 0.3, (3, 1)) - [[0.0], [0.2], [0.5]]
    light[4:] = rng.normal(0, 0.05, (5, 3))
    return PixelState(head, rng.normal(0, 0.5, n_albedo), light)


def posed(flame, head: HeadState) -> np.ndarray:
    like = flame.template
    values = (head.shape, head.expression, log(head.root), head.neck, head.jaw)
    eyes = (np.append(eye, 0.0) for eye in head.eyes)
    params = FlameParams(*(torch.as_tensor(x).to(like) for x in (*values, *eyes, head.translation)))
    with torch.no_grad():
        return flame(params).vertices.double().numpy()


def picture(flame, surface, texture, state: PixelState, size: int = 128) -> np.ndarray:
    """The model's own picture of a state, grey where the face is not."""
    image = np.full((size, size, 3), 0.5, np.float32)
    seen = see(posed(flame, state.head), surface, level(image), focal=float(np.exp(state.head.log_focal)))
    albedo, light = state.albedo.astype(np.float32), np.ascontiguousarray(state.light.T, dtype=np.float32)
    kernels.shade_pixels(
        seen.ids, seen.barycentric, seen.inside, surface.faces, seen.normals, texture.uv, texture.mean, texture.basis,
        albedo, light, image,
    )  # fmt: skip
    return image


def level(image: np.ndarray, outlier: float = 3.0):
    zoom = image.shape[0] / 256
    return image_level(
        image, zoom=zoom, corner=np.zeros(2), center=np.full(2, 128.0), sigma=0.05, outlier=outlier, worth=1000.0
    )


def test_slopes_of_albedo_and_light(flame, surface, texture):
    truth, state = make_state(1, texture.basis.shape[3]), make_state(2, texture.basis.shape[3])
    term = level(picture(flame, surface, texture, truth))
    vertices = posed(flame, state.head)

    def cost(albedo, light):
        moved = replace(state, albedo=albedo, light=light)
        return pixel_equations(moved, vertices, surface, texture, term, n_geometry=0)[0].cost

    found, count = pixel_equations(state, vertices, surface, texture, term, n_geometry=0)
    assert count > 1000
    n = len(state.albedo)
    direction = np.random.default_rng(0).normal(size=n + 27)
    step = 1e-2 * direction
    ahead = cost(state.albedo + step[:n], state.light + step[n:].reshape(3, 9).T)
    behind = cost(state.albedo - step[:n], state.light - step[n:].reshape(3, 9).T)
    assert found.gradient @ step == pytest.approx((ahead - behind) / 2, rel=2e-2)
    assert np.linalg.eigvalsh(found.hessian).min() > -1e-3 * found.hessian.diagonal().max()


@pytest.mark.parametrize("seed", range(2))
def test_slope_of_the_lens(flame, surface, texture, seed):
    """The cost's derivative on skin of one colour, where pictures have no edges; on any skin, one step mends a lens."""
    plain = TextureSpace(
        np.full_like(texture.mean, 0.5), np.zeros((*texture.mean.shape[:2], 3, 0), np.float32), texture.uv
    )
    wide = face_surface(flame.arrays, np.arange(9976), n_shape=N_SHAPE, n_expression=N_EXPRESSION)
    n = surface.model.columns.eyes.stop
    for colors in (plain, texture):
        truth = make_state(seed, colors.basis.shape[3])
        term = level(picture(flame, wide, colors, truth, size=256), outlier=1e3)
        inside = see(posed(flame, truth.head), surface, term, focal=500.0).inside
        term = replace(term, allowed=binary_erosion(inside, iterations=12))
        vertices = posed(flame, truth.head)

        def lens(wrong, truth=truth):
            return replace(truth, head=replace(truth.head, log_focal=truth.head.log_focal + wrong))

        def cost(wrong, colors=colors, term=term, lens=lens, vertices=vertices):
            return pixel_equations(lens(wrong), vertices, surface, colors, term, n_geometry=0)[0].cost

        for wrong in (-0.01, 0.004):
            found, _ = pixel_equations(lens(wrong), vertices, surface, colors, term, n_geometry=n, with_focal=True)
            assert -found.gradient[-1] / found.hessian[-1, -1] == pytest.approx(-wrong, rel=0.1)
            if colors is plain:
                slope = (cost(wrong + 2e-3) - cost(wrong - 2e-3)) / 4e-3
                assert found.gradient[-1] == pytest.approx(slope, rel=0.2)
            without, _ = pixel_equations(lens(wrong), vertices, surface, colors, term, n_geometry=n)
            np.testing.assert_array_equal(found.gradient[:-1], without.gradient)
            np.testing.assert_array_equal(found.hessian[:-1, :-1], without.hessian)
            np.testing.assert_allclose(found.hessian, found.hessian.T, rtol=0, atol=1e-4 * found.hessian.max())


def test_slopes_of_a_turning_face():
    rng = np.random.default_rng(3)
    corners = rng.normal(size=(3, 3))

    def normal(points):
        n = np.cross(points[1] - points[0], points[2] - points[0])
        return n / np.linalg.norm(n)

    found = np.zeros((3, 9))
    kernels._turning(corners, 0, 1, 2, found)
    wanted = np.empty((3, 9))
    for column in range(9):
        step = np.zeros(9)
        step[column] = 1e-6
        ahead, behind = (normal(corners + sign * step.reshape(3, 3)) for sign in (1, -1))
        wanted[:, column] = (ahead - behind) / 2e-6
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-8)


def test_pixels_are_thinned_evenly():
    inside = np.zeros((60, 80), dtype=bool)
    inside[10:50, 15:70] = True
    thin = inside.copy()
    kernels.thin(thin, np.count_nonzero(inside), 550)
    assert not (thin & ~inside).any() and 500 <= thin.sum() <= 600
    quarters = [thin[10:30, 15:42], thin[10:30, 42:70], thin[30:50, 15:42], thin[30:50, 42:70]]
    assert all(100 < quarter.sum() < 180 for quarter in quarters)


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_found_again_from_its_own_picture(flame, texture, seed):
    rng = np.random.default_rng(seed)
    settings = PhotometricSettings(sizes=(96, 192), iterations=(5, 6), worth=5000.0)
    wide = face_surface(
        flame.arrays, np.arange(9976), n_shape=settings.landmarks.n_shape, n_expression=settings.landmarks.n_expression
    )
    state = make_state(seed, texture.basis.shape[3])
    head = replace(
        state.head,
        shape=np.pad(state.head.shape, (0, settings.landmarks.n_shape - N_SHAPE)),
        expression=np.pad(state.head.expression, (0, settings.landmarks.n_expression - N_EXPRESSION)),
    )
    state = replace(state, head=head)
    photo = picture(flame, wide, texture, state, size=256)
    vertices = posed(flame, head)
    seen = observation(flame, vertices, CAMERA, rng)
    start = fit_landmarks(flame, seen, focal=500.0)
    found = fit_photometric(flame, photo, seen, start, texture, settings=settings)
    face = np.unique(flame.arrays.faces[flame.region_faces("face").numpy()])
    before, after = (error(flame, fit, vertices, face) for fit in (start, found.fit))
    assert after < 0.6 * before
    assert found.fit.fingerprint == flame.fingerprint


def observation(flame, vertices: np.ndarray, camera: Camera, rng: np.random.Generator):
    """Landmarks with a detector's noise."""
    world = flame.landmarks(torch.as_tensor(vertices).float(), "mediapipe478").double()
    points = project(world @ camera.rotation.double().mT, camera.focal.double(), camera.center.double()).numpy()
    return Observation(points + rng.normal(0, 0.7, points.shape), "mediapipe478", camera.size)


def error(flame, fit: Fit, truth: np.ndarray, face: np.ndarray) -> float:
    """Mean distance of the face's vertices after a rigid alignment with scale, metres."""
    with torch.no_grad():
        found = flame(fit.params).vertices.double().numpy()[face]
    a, b = found - found.mean(0), truth[face] - truth[face].mean(0)
    u, s, vt = np.linalg.svd(b.T @ a)
    turn = u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
    return float(np.linalg.norm((s.sum() / (a**2).sum()) * a @ turn.T - b, axis=1).mean())


def test_a_fit_survives_the_way_to_the_solver_and_back(flame):
    rng = np.random.default_rng(5)
    state = make_state(5, 0)
    fit = fit_landmarks(flame, observation(flame, posed(flame, state.head), CAMERA, rng), focal=500.0)
    again = posed(flame, head_state(fit, 300, 100))
    with torch.no_grad():
        np.testing.assert_allclose(again, flame(fit.params).vertices.double().numpy(), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"photo": np.zeros((10, 256, 3), np.float32)}, "its landmarks are of 256 x 256 pixels"),
        ({"mask": np.ones((256, 250), dtype=bool)}, "give booleans of shape"),
        ({"mask": np.zeros((256, 256), dtype=bool)}, "a mask that leaves it free"),
        ({"settings": PhotometricSettings(sizes=(64,), iterations=(2, 2))}, "do not go together"),
    ],
)
def test_what_does_not_belong_together_is_refused(flame, texture, change, sentence):
    head = make_state(4, 0).head
    seen = observation(flame, posed(flame, head), CAMERA, np.random.default_rng(0))
    start = fit_landmarks(flame, seen, focal=500.0)
    arguments = {"photo": np.zeros((256, 256, 3), np.float32), "mask": None, "settings": None} | change
    with pytest.raises(InputError, match=sentence):
        fit_photometric(
            flame, arguments["photo"], seen, start, texture, mask=arguments["mask"], settings=arguments["settings"]
        )
    other = replace(start, fingerprint="another")
    with pytest.raises(InputError, match="start from a fit of this model"):
        fit_photometric(flame, np.zeros((256, 256, 3), np.float32), seen, other, texture)


def test_derivatives_in_single_precision_are_those_of_the_landmarks(flame, surface):
    head = make_state(6, 0).head
    _, wanted = landmark_points(surface.model, head)
    n = surface.model.columns.eyes.stop
    found = _by_head(surface, head, n).reshape(-1, 3, n) * [[1.0], [-1.0], [-1.0]]
    np.testing.assert_allclose(found, wanted[..., :n], rtol=0, atol=2e-6)
