"""Point lights: their formula, the square law, and the limit of a lamp far away."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.render import DirectionalLight, Lighting, PointLight, render, shade

BLACK = (0.0, 0.0, 0.0)


def scene(n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(n, 3))
    points = rng.uniform(-0.1, 0.1, size=(n, 3)) + np.array([0.0, 0.0, 0.6])
    return normals / np.linalg.norm(normals, axis=1, keepdims=True), points, rng.uniform(size=(n, 3))


@pytest.mark.parametrize("sharpness", [16.0, 5.5, 60.0])
def test_lamps_follow_their_formula(sharpness):
    normals, points, albedo = scene()
    lamp = PointLight((0.2, -0.3, 0.1), (0.9, 0.8, 0.5), distance=0.5, wrap=0.2)
    found = shade(normals, albedo, Lighting((lamp,), BLACK, BLACK, gloss=0.2, sharpness=sharpness), points=points)
    to_lamp = np.array(lamp.position) - points
    d = np.linalg.norm(to_lamp, axis=1, keepdims=True)
    half = to_lamp / d - points / np.linalg.norm(points, axis=1, keepdims=True)
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    diffuse = np.maximum(((normals * to_lamp / d).sum(1, keepdims=True) + 0.2) / 1.2, 0)
    shine = 0.2 * np.maximum((normals * half).sum(1, keepdims=True), 0) ** sharpness
    np.testing.assert_allclose(found, (albedo * diffuse + shine) * np.array(lamp.color) * (0.5 / d) ** 2, atol=2e-6)


@pytest.mark.parametrize("far", [2.0, 5.0])
def test_light_falls_off_with_the_square_of_the_distance(far):
    normal, point, white = np.array([[0.0, 0.0, -1.0]]), np.array([[0.0, 0.0, 10.0]]), np.ones(3)
    near, away = (
        shade(normal, white, Lighting((PointLight((0.0, 0.0, 10.0 - d), (1.0, 1.0, 1.0)),), BLACK, BLACK), points=point)
        for d in (1.0, far)
    )
    np.testing.assert_allclose(near, 1.0, atol=1e-6)
    np.testing.assert_allclose(near / away, far**2, rtol=1e-5)


def test_a_lamp_far_away_is_a_directional_light():
    normals, points, albedo = scene()
    towards = np.array([0.3, -0.8, -0.5])
    lamp = PointLight(
        (1e4 * towards[0], 1e4 * towards[1], 1e4 * towards[2]), (1.0, 0.9, 0.8), 1e4 * float(np.linalg.norm(towards))
    )
    sun = DirectionalLight((0.3, -0.8, -0.5), (1.0, 0.9, 0.8))
    found, wanted = (
        shade(normals, albedo, Lighting((light,), BLACK, BLACK), points=points if light is lamp else None)
        for light in (lamp, sun)
    )
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_parallel_rays_see_the_highlight_of_a_distant_light():
    normals, points, _ = scene()
    lamp = PointLight((3e3, -8e3, -5e3), (1.0, 1.0, 1.0), float(np.linalg.norm((3e3, -8e3, -5e3))))
    sun = DirectionalLight((0.3, -0.8, -0.5), (1.0, 1.0, 1.0))
    near = shade(normals, np.zeros(3), Lighting((lamp,), BLACK, BLACK, gloss=1.0), points=points, orthographic=True)
    far = shade(normals, np.zeros(3), Lighting((sun,), BLACK, BLACK, gloss=1.0))
    np.testing.assert_allclose(near, far, atol=5e-3)


def test_lamps_light_pictures(bust, front):
    vertices, faces = bust
    # In the camera's frame, to the left of the head.
    lamp = Lighting((PointLight((-0.3, 0.0, 0.4), (1.0, 1.0, 1.0), distance=0.3),), BLACK, BLACK)
    image = render(vertices, faces, front, lighting=lamp).image.mean(axis=(0, 2))
    assert image[:48].mean() > 4 * image[48:].mean()


def test_a_lamp_needs_points():
    with pytest.raises(InputError, match="points="):
        shade(np.ones((2, 3)), np.ones(3), Lighting((PointLight((0.0, 0.0, 0.0), BLACK),), BLACK, BLACK))
