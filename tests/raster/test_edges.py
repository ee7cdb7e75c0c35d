"""Edges of meshes: every side of every face once, borders, folds where many sheets meet, and what is remembered."""

import numpy as np
import torch
from scipy.spatial import ConvexHull

from flamehead.raster import edges_of


def ball() -> torch.Tensor:
    return torch.tensor(ConvexHull(np.random.default_rng(0).normal(size=(60, 3))).simplices.astype(np.int64))


def test_every_edge_of_a_closed_surface_has_two_faces():
    faces = ball()
    edges = edges_of(faces)
    assert (np.diff(edges.starts) == 2).all()
    # Euler: V - E + F = 2.
    assert len(faces.unique()) - len(edges.vertices) + len(faces) == 2
    assert sorted(edges.half_edges) == list(range(3 * len(faces)))


def test_half_edges_belong_to_their_edges():
    edges = edges_of(torch.cat([ball(), torch.tensor([[0, 1, 70], [0, 1, 71], [0, 1, 72]])]))
    group = np.repeat(np.arange(len(edges.vertices)), np.diff(edges.starts))
    face, corner = edges.half_edges // 3, edges.half_edges % 3
    assert (edges.face_edges[face, corner] == group).all()
    ends = np.stack([edges.faces[face, corner], edges.faces[face, (corner + 1) % 3]], axis=1)
    assert (np.sort(ends, axis=1) == edges.vertices[group]).all()
    assert np.diff(edges.starts).max() >= 3


def test_sides_are_the_two_faces_inside_a_surface():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [0, 1, 4], [5, 6, 7], [5, 6, 8], [3, 9, 3]])
    edges = edges_of(torch.cat([faces, ball() + 10]))
    known = {tuple(ends): set(sides) for ends, sides in zip(edges.vertices.tolist(), edges.sides.tolist(), strict=True)}
    assert known[1, 2] == {0, 1}
    # A border, two faces that run the same way, and an edge of one face that is passed twice.
    assert known[0, 2] == known[0, 1] == known[5, 6] == {-1}
    # The ball's triangles turn either way; where two neighbours turn alike they are sides.
    inside = edges.sides[(edges.vertices[:, 0] >= 10) & (edges.sides[:, 0] >= 0)]
    assert len(inside) > 10 and (inside >= len(faces)).all() and (inside[:, 0] != inside[:, 1]).all()
    assert edges_of(torch.zeros(0, 3, dtype=torch.int64)).sides.shape == (0, 2)


def test_edges_are_remembered_until_the_faces_change():
    faces = ball()
    first = edges_of(faces)
    assert edges_of(faces) is first
    faces[0] = torch.tensor([0, 1, 90])
    assert edges_of(faces) is not first and edges_of(faces).vertices.max() == 90


def test_no_faces_have_no_edges():
    assert len(edges_of(torch.zeros(0, 3, dtype=torch.int64)).vertices) == 0
