"""Nearest points of meshes: what every such point fulfils, and agreement with a search through all faces."""

import numpy as np
import pytest
import trimesh

from flamehead.errors import InputError
from flamehead.geometry.nearest import build_surface_tree, nearest_in_tree, nearest_on_mesh


def soup(rng, n_faces, *, size=1.0):
    """Triangles in no order, each somewhere in a box."""
    vertices = rng.normal(size=(n_faces, 1, 3)) + size * rng.normal(size=(n_faces, 3, 3))
    return vertices.reshape(-1, 3), np.arange(3 * n_faces).reshape(-1, 3)


def brute_force(points, vertices, faces):
    """Distances by trimesh's formula, every point against every face."""
    triangles = vertices[faces]
    distances = []
    for point in points:
        closest = trimesh.triangles.closest_point(triangles, np.broadcast_to(point, (len(faces), 3)))
        distances.append(np.linalg.norm(closest - point, axis=1).min())
    return np.array(distances)


@pytest.mark.parametrize("n_faces", [1, 2, 3, 4, 5, 9, 64, 333])
@pytest.mark.parametrize("size", [0.02, 1.0, 30.0])
def test_agrees_with_a_search_through_all_faces(n_faces, size):
    rng = np.random.default_rng(n_faces)
    vertices, faces = soup(rng, n_faces, size=size)
    points = rng.normal(size=(60, 3)) * (1.0 + size)
    found = nearest_on_mesh(points, vertices, faces)
    np.testing.assert_allclose(found.distances, brute_force(points, vertices, faces), atol=1e-10 * (1 + size))


def test_the_result_is_one_point_of_the_named_face():
    rng = np.random.default_rng(1)
    vertices, faces = soup(rng, 200, size=0.1)
    points = rng.normal(size=(5000, 3))
    found = nearest_on_mesh(points, vertices, faces)
    assert found.barycentric.min() >= 0.0
    np.testing.assert_allclose(found.barycentric.sum(1), 1.0, atol=1e-14)
    rebuilt = np.einsum("nk,nkx->nx", found.barycentric, vertices[faces[found.face_ids]])
    np.testing.assert_allclose(found.points, rebuilt, atol=1e-13)
    np.testing.assert_allclose(found.distances, np.linalg.norm(points - rebuilt, axis=1), atol=1e-12)


def test_points_of_the_surface_have_no_distance():
    rng = np.random.default_rng(2)
    vertices, faces = soup(rng, 500, size=0.2)
    rows, weights = rng.integers(500, size=2000), rng.dirichlet(np.ones(3), size=2000)
    points = np.einsum("nk,nkx->nx", weights, vertices[faces[rows]])
    assert nearest_on_mesh(points, vertices, faces).distances.max() < 1e-12
    assert nearest_on_mesh(vertices, vertices, faces).distances.max() < 1e-14


def test_faces_without_area_are_segments_and_points():
    line = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0], [5, 5, 5]])
    faces = np.array([[0, 1, 2], [3, 3, 3], [0, 0, 1]])
    points = np.array([[2.0, 1, 0], [-1, 0, 0], [5, 5, 7], [0.5, 0, -2]])
    found = nearest_on_mesh(points, line, faces)
    np.testing.assert_allclose(found.distances, [1, 1, 2, 2])
    np.testing.assert_allclose(found.points, [[2, 0, 0], [0, 0, 0], [5, 5, 5], [0.5, 0, 0]])


@pytest.mark.parametrize("height", 10.0 ** -np.arange(3, 16))
def test_slivers_are_as_exact_as_other_faces(height):
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0.4, height, 0]])
    points = np.array([[0.4, height / 3, 0.0], [0.7, height / 4, 0.2], [0.5, -1.0, 0.0], [0.2, 1.0, 0.0]])
    found = nearest_on_mesh(points, vertices, np.array([[0, 1, 2]]))
    corner = vertices[2]
    edge = np.cross([0.4, height, 0.0], points[3])[2] / np.hypot(0.4, height)
    expected = [0.0, 0.2, 1.0, min(edge, np.linalg.norm(points[3] - corner))]
    np.testing.assert_allclose(found.distances, expected, atol=2e-6)


def test_many_equal_faces_end_in_a_tree():
    vertices, faces = np.eye(3), np.tile([0, 1, 2], (3000, 1))
    assert nearest_on_mesh(np.zeros((5, 3)), vertices, faces).distances == pytest.approx(3**-0.5)


def test_threads_and_order_change_nothing():
    rng = np.random.default_rng(3)
    vertices, faces = soup(rng, 300, size=0.1)
    tree = build_surface_tree(vertices, faces)
    points = rng.normal(size=(30_000, 3))
    one, two = (nearest_in_tree(points, tree, threads=n) for n in (1, 3))
    np.testing.assert_array_equal(one.face_ids, two.face_ids)
    np.testing.assert_array_equal(one.distances, two.distances)
    swap = rng.permutation(len(points))
    np.testing.assert_allclose(nearest_in_tree(points[swap], tree).distances, one.distances[swap], atol=1e-14)


def test_a_moved_scene_keeps_its_distances():
    rng = np.random.default_rng(4)
    vertices, faces = soup(rng, 100)
    points = rng.normal(size=(500, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    near = nearest_on_mesh(points, vertices, faces).distances
    moved = nearest_on_mesh(1e3 * points @ turn + 7.0, 1e3 * vertices @ turn + 7.0, faces).distances
    np.testing.assert_allclose(moved, 1e3 * near, atol=1e-9)


def test_no_points_give_no_points():
    assert nearest_on_mesh(np.empty((0, 3)), np.eye(3), np.array([[0, 1, 2]])).points.shape == (0, 3)


@pytest.mark.parametrize(
    "points, vertices, faces, says",
    [
        (np.full((1, 3), np.nan), np.eye(3), [[0, 1, 2]], "points hold NaN"),
        (np.zeros((1, 2)), np.eye(3), [[0, 1, 2]], "shape"),
        (np.zeros((1, 3)), np.eye(3), np.empty((0, 3), int), "no faces"),
        (np.zeros((1, 3)), np.eye(3), [[0, 1, 3]], "another mesh"),
        (np.zeros((1, 3)), np.full((3, 3), np.inf), [[0, 1, 2]], "vertices of the mesh"),
    ],
)
def test_what_cannot_be_searched_is_named(points, vertices, faces, says):
    with pytest.raises(InputError, match=says):
        nearest_on_mesh(points, vertices, np.array(faces))
