"""The NoW protocol: what a known motion must give, and a slow reference that shares no code with it."""

import numpy as np
import pytest
import trimesh
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from flamehead.errors import InputError
from flamehead.evaluate import NOW_LANDMARKS, now_crop, now_error, summarize
from flamehead.evaluate._surface_fit import distances_to_moved_mesh, move_mesh_onto_points
from flamehead.geometry.nearest import build_surface_tree
from flamehead.geometry.similarity import Similarity, align_points, inverted, moved


@pytest.mark.parametrize("seed", range(3))
def test_a_moved_scan_has_no_error(person, motion, seed):
    scan, known = person(seed), motion(seed)
    prediction = moved(scan.vertices, known)
    found = now_error(scan.vertices, scan.landmarks, prediction, scan.faces, moved(scan.landmarks, known))
    assert found.distances.max() < 1e-6 and found.status.converged
    np.testing.assert_allclose(found.placed.scale, inverted(known).scale, rtol=1e-8)
    rigid = motion(seed, scaled=False)
    metrical = now_error(
        scan.vertices,
        scan.landmarks,
        moved(scan.vertices, rigid) / 1000.0,
        scan.faces,
        moved(scan.landmarks, rigid) / 1000.0,
        metrical=True,
        unit="m",
    )
    assert metrical.distances.max() < 1e-6


def sphere_mesh(radius):
    """Triangles whose corners lie on a sphere."""
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return np.asarray(sphere.vertices), np.asarray(sphere.faces)


@pytest.mark.parametrize("factor", [0.95, 1.04])
def test_a_wrong_size_is_an_error_in_metrical_mode_only(factor):
    """A whole sphere within one of another radius: nothing can be gained by moving it, so the offset is the radii's."""
    points, faces = sphere_mesh(50.0)
    unit = np.array([[-1, 1, 3], [-0.3, 1, 3], [0.3, 1, 3], [1, 1, 3], [0, -1, 3], [-0.7, -2, 3], [0.7, -2, 3]])
    marks = 50.0 * unit / np.linalg.norm(unit, axis=1, keepdims=True)
    # Landmarks far apart make the sphere of the crop hold all of the scan.
    wide = marks * [[8.0, 1, 1]]
    free = now_error(points, wide, factor * points, faces, factor * wide)
    assert free.vertex_ids.size == len(points) and free.distances.max() < 1e-6
    fixed = now_error(points, wide, factor * points, faces, factor * wide, metrical=True)
    expected = 50.0 * abs(1.0 - factor)
    assert summarize(fixed.distances).median == pytest.approx(expected, abs=0.06)


@pytest.mark.parametrize("metrical", [False, True])
def test_agrees_with_a_slow_reference(person, motion, metrical):
    """All faces against all points with trimesh's formula, and scipy's solver on finite differences."""
    scan, other = person(1), person(2)
    head = Similarity(1.0, motion(5).rotation, np.array([10.0, -20.0, 30.0]))
    near = now_crop(scan.vertices, scan.landmarks)[::90]
    few = scan.vertices[near]
    front = np.flatnonzero(other.vertices[other.faces][..., 2].min(axis=1) > 20.0)
    faces = other.faces[front]
    prediction, marks = moved(other.vertices, head), moved(other.landmarks, head)

    def distances(x):
        placed = (x[0] * Rotation.from_rotvec(x[1:4]).apply(prediction) + x[4:])[faces]
        pairs = trimesh.triangles.closest_point(np.tile(placed, (len(few), 1, 1)), np.repeat(few, len(faces), axis=0))
        apart = np.linalg.norm(pairs.reshape(len(few), -1, 3) - few[:, None], axis=2)
        return apart.min(axis=1)

    tree = build_surface_tree(prediction, faces)
    start = align_points(marks, scan.landmarks, scaled=not metrical)
    found = move_mesh_onto_points(few, tree, start, scaled=not metrical)
    ours = distances_to_moved_mesh(few, tree, found.state)
    x = np.r_[found.state.scale, Rotation.from_matrix(found.state.rotation).as_rotvec(), found.state.translation]
    np.testing.assert_allclose(ours, distances(x), atol=1e-9)
    free = slice(1 if metrical else 0, 7)

    def residuals(part):
        full = x.copy()
        full[free] = part
        return distances(full)

    slow = least_squares(residuals, x[free], max_nfev=3, xtol=1e-12, ftol=1e-12, gtol=1e-12, x_scale="jac")
    assert np.sqrt(np.mean(slow.fun**2)) == pytest.approx(np.sqrt(np.mean(ours**2)), abs=1e-4)
    assert np.median(slow.fun) == pytest.approx(np.median(ours), abs=1e-3)


def test_the_crop_is_the_sphere_of_the_protocol():
    marks = np.array([[-45.0, 40, 0], [-15, 40, 0], [15, 40, 0], [45, 40, 0], [0, 0, 0], [-25, -30, 0], [25, -30, 0]])
    radius = 1.4 * (90.0 + 40.0) / 2.0
    points = np.array([[0.0, 12.0, radius - 1e-9], [0.0, 12.0, radius + 1e-6], [0.0, 12.0 - radius + 1e-9, 0.0]])
    np.testing.assert_array_equal(now_crop(points, marks), [0, 2])


def test_only_the_crop_is_measured_and_flaws_elsewhere_change_nothing(person):
    scan, other = person(3), person(4)
    clean = now_error(scan.vertices, scan.landmarks, other.vertices, other.faces, other.landmarks)
    far = np.vstack([scan.vertices, [[0.0, 0.0, -5000.0]]])
    degenerate = np.vstack([other.faces, [[0, 0, 0], [5, 5, 9]]])
    same = now_error(far, scan.landmarks, other.vertices, degenerate, other.landmarks)
    np.testing.assert_allclose(same.distances, clean.distances, atol=1e-6)


def test_the_error_does_not_depend_on_where_the_prediction_lies(person, motion):
    scan, other = person(3), person(4)
    errors = []
    for seed in range(3):
        by = motion(seed)
        found = now_error(
            scan.vertices, scan.landmarks, moved(other.vertices, by), other.faces, moved(other.landmarks, by)
        )
        errors.append(summarize(found.distances))
    assert np.ptp([error.mean for error in errors]) < 1e-4
    assert 0.1 < errors[0].median < 5.0


def test_missing_landmarks_are_named(person):
    scan = person(0)
    marks = scan.landmarks.copy()
    marks[4] = np.nan
    with pytest.raises(InputError, match="prediction lack nose bottom"):
        now_error(scan.vertices, scan.landmarks, scan.vertices, scan.faces, marks)
    with pytest.raises(InputError, match=f"scan lack {NOW_LANDMARKS[5]}, {NOW_LANDMARKS[6]}"):
        now_error(scan.vertices, scan.landmarks[:5], scan.vertices, scan.faces, scan.landmarks)
    with pytest.raises(InputError, match="unit and frame"):
        now_error(scan.vertices, scan.landmarks / 1000.0 + 5.0, scan.vertices, scan.faces, scan.landmarks)
