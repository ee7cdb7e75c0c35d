"""The sliding jaw contour follows the outline of the face, turns smoothly and is mirror-symmetric."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from flamehead.builtin import builtin_head
from flamehead.builtin.contour import ROWS, dynamic_contour
from flamehead.raster import rasterize

FAR_LEFT = np.arange(9, 17)
PIXEL = 0.0005
"""Metres."""


@pytest.fixture(scope="module")
def head():
    return builtin_head()


@pytest.fixture(scope="module")
def mesh(head):
    """The parts of the mesh that the contour is made from, in centimetres."""
    vertices, faces = 100.0 * head.arrays.template, head.arrays.faces
    points = head.embeddings["mediapipe468"]
    face_vertices = faces[points.face_ids, points.barycentric.argmax(1)]
    mirror = KDTree(vertices).query(vertices * [-1.0, 1.0, 1.0])[1]
    return SimpleNamespace(vertices=vertices, faces=faces, mirror=mirror, face_vertices=face_vertices)


@pytest.fixture(scope="module")
def table(head):
    return head.contour_faces, head.contour_barycentric


@pytest.fixture(scope="module")
def points(head, table):
    """Metres."""
    return (head.arrays.template[head.arrays.faces[table[0]]] * table[1][..., None]).sum(2)


def by_yaw(table):
    """Rows in the order of yaw -39..39."""
    return np.concatenate([table[:39:-1], table[:40]])


def turn(points, degrees):
    """Turn the face towards +x."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return points @ np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]).T


def test_table_has_the_layout_of_flame(table):
    faces, weights = table
    assert faces.shape == (ROWS, 17) == (79, 17) and weights.shape == (79, 17, 3)
    assert faces.dtype == np.int64 and faces.min() >= 0 and faces.max() < 9976
    assert weights.min() >= 0.0
    np.testing.assert_allclose(weights.sum(2), 1.0, atol=1e-12)


def test_rows_and_their_opposites_are_mirror_images(points):
    np.testing.assert_allclose(points[1:40], points[40:, ::-1] * [-1.0, 1.0, 1.0], atol=1e-9)
    np.testing.assert_allclose(points[0], points[0, ::-1] * [-1.0, 1.0, 1.0], atol=1e-9)


def test_points_run_from_the_right_ear_over_the_chin_to_the_left_ear(head, points):
    # Strictly along x on the front view; down to the chin and up again in every row.
    assert (np.diff(points[0, :, 0])[3:13] > 0).all() and (points[:, 0, 0] < 0).all() and (points[:, 16, 0] > 0).all()
    assert (np.diff(points[:, :9, 1], axis=1) < 0).all() and (np.diff(points[:, 8:, 1], axis=1) > 0).all()
    fixed = head.embeddings["ibug68"]
    jaw = (head.arrays.template[head.arrays.faces[fixed.face_ids]] * fixed.barycentric[..., None]).sum(1)[:17]
    np.testing.assert_allclose(points[:, 8], np.broadcast_to(jaw[8], (79, 3)), atol=1e-12)
    np.testing.assert_allclose(points[..., 1], np.broadcast_to(jaw[:, 1], (79, 17)), atol=1e-9)
    assert np.linalg.norm(points[0] - jaw, axis=1).max() < 0.015


def test_contour_moves_smoothly_and_only_forward_on_the_far_side(points):
    path = by_yaw(points)
    steps = np.diff(path, axis=0)
    assert np.linalg.norm(steps, axis=2).max() < 0.0025  # Metres per degree.
    assert (steps[:, FAR_LEFT, 2] >= -2e-4).all()
    bends = np.linalg.norm(np.diff(steps, axis=0), axis=2)
    assert bends.max() < 0.0012
    # On the near side, in front of the ear, the points come to rest.
    assert np.linalg.norm(path[0, FAR_LEFT] - path[19, FAR_LEFT], axis=1).max() < 0.004


def outline_of_the_face(head, degrees):
    """Coverage of the front of the head without ears, neck and scalp, seen from far away: a bool image."""
    template, faces = head.arrays.template, head.arrays.faces
    hidden = np.zeros(len(template), bool)
    for name in ("left_ear", "right_ear", "scalp"):
        hidden[head.regions[name]] = True
    hidden |= template[:, 2] < -0.05
    # The landmarks of the jaw lie on the border to the neck, so that triangles there stay.
    neck = np.isin(faces, head.regions["neck"]).all(1)
    kept = faces[~hidden[faces].any(1) & ~neck]
    seen = turn(template, degrees)
    pixels = np.column_stack([seen[:, 0] / PIXEL + 300, 400 - seen[:, 1] / PIXEL, 1.0 - seen[:, 2]])
    return rasterize(torch.from_numpy(pixels), torch.from_numpy(kept), (600, 700)).covered.numpy()


@pytest.mark.parametrize("degrees", range(10, 40, 3))
def test_far_side_lies_on_the_rendered_outline(head, points, degrees):
    covered = outline_of_the_face(head, degrees)
    seen = turn(points[degrees], degrees)[FAR_LEFT]
    row = np.floor(400 - seen[:, 1] / PIXEL).astype(int)
    edge = covered.shape[1] - covered[row, ::-1].argmax(1)
    distance = (edge - 300) * PIXEL - seen[:, 0]
    assert np.abs(distance).max() < 0.002, np.round(1000 * distance, 2)


def test_near_side_stays_inside_the_picture_of_the_head(head, points):
    for degrees in (10, 25, 39):
        near, far = turn(points[degrees], degrees)[:8, 0], turn(points[degrees], degrees)[9:, 0]
        assert near.max() < 0.05 and (far[::-1] > near).all()


def test_is_made_in_less_than_a_second(head, mesh, points):
    start = time.perf_counter()
    faces, weights = dynamic_contour(mesh, head.regions["face"])
    assert time.perf_counter() - start < 1.0
    again = (head.arrays.template[head.arrays.faces[faces]] * weights[..., None]).sum(2)
    np.testing.assert_allclose(again, points, atol=1e-9)
