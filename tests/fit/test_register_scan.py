"""Closed loops on the built-in head: scans made of a known head, spoiled in the ways real scans are."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.fit import (
    ScanFitSettings,
    ScanStage,
    clean_scan,
    fit_points,
    free_vertices,
    guess_unit,
    mouth_intersections,
    register_scan,
    scan_distances,
)

QUICK = ScanFitSettings(
    stages=(ScanStage(20, 10, 0.02, 2e-3, 6), ScanStage(80, 40, 0.01, 3e-3, 8)), samples=2500, cost_tolerance=5e-3
)


def registered(case, points, faces, *, settings=QUICK, landmarks=None):
    """Median distance of the true scan's face from the fitted head, millimetres; the fit, and the head."""
    marks = case.landmarks if landmarks is None else landmarks
    start = fit_points(case.flame, marks, scale=0.001)
    fit = register_scan(case.flame, clean_scan(points, faces), start, marks, settings=settings)
    head = case.flame(fit.params).vertices.numpy() / fit.scale
    measured = scan_distances(case.flame, head, case.points, scale=0.001)
    return 1000.0 * float(np.median(measured.distances[measured.in_face])), fit, head


@pytest.fixture(scope="module")
def plain(known_scan):
    return registered(known_scan, known_scan.points, known_scan.faces)


def test_a_clean_scan_is_explained(known_scan, plain):
    error, fit, head = plain
    assert error < 0.25 and fit.explained > 0.95
    assert np.linalg.norm(head - known_scan.vertices, axis=1)[known_scan.flame.regions["face"]].mean() < 2.0
    assert len(mouth_intersections(known_scan.flame, head)) == 0


def test_outliers_do_little_harm_and_less_than_without_a_robust_loss(known_scan, plain):
    rng = np.random.default_rng(0)
    spoiled = known_scan.points.copy()
    wrong = rng.choice(len(spoiled), len(spoiled) // 20, replace=False)
    push = rng.normal(size=(len(wrong), 3))
    spoiled[wrong] += 50.0 * push / np.linalg.norm(push, axis=1, keepdims=True)
    robust, _, _ = registered(known_scan, spoiled, known_scan.faces)
    wide = tuple(ScanStage(s.n_shape, s.n_expression, 10.0, s.landmark_sigma, s.iterations) for s in QUICK.stages)
    reach = ScanFitSettings(stages=wide, samples=2500, reach=0.1, normal_cosine=-1.0, cost_tolerance=5e-3)
    gullible, _, _ = registered(known_scan, spoiled, known_scan.faces, settings=reach)
    assert robust < 2.0 * plain[0] + 0.05 and robust < gullible


@pytest.mark.parametrize("spoil", ["half", "holes", "degenerate", "cloud", "inside out of order"])
def test_what_is_missing_or_broken_asks_for_nothing(known_scan, plain, spoil):
    points, faces = known_scan.points, known_scan.faces
    rng = np.random.default_rng(1)
    if spoil == "half":
        # The head's own left half: the eyes' line is a landmark's direction.
        axis = known_scan.landmarks[28] - known_scan.landmarks[19]
        keep = (points - known_scan.landmarks.mean(axis=0)) @ axis > 0.0
        faces = faces[keep[faces].all(axis=1)]
    elif spoil == "holes":
        for center in points[rng.choice(len(points), 25)]:
            faces = faces[(np.linalg.norm(points[faces[:, 0]] - center, axis=1) > 12.0)]
    elif spoil == "degenerate":
        same = rng.integers(0, len(points), (2000, 1)) * np.ones((1, 3), int)
        faces = np.concatenate([faces, same, np.stack([faces[:500, 0], faces[:500, 1], faces[:500, 0]], axis=1)])
    elif spoil == "cloud":
        faces = np.zeros((0, 3), int)
    else:
        faces = np.roll(faces, 1, axis=1)[rng.permutation(len(faces))]
    error, fit, head = registered(known_scan, points, faces)
    assert fit.explained > 0.7
    # Half a head tells of the other half what symmetry of the statistics does.
    assert error < (2.0 if spoil == "half" else 0.4)
    assert len(mouth_intersections(known_scan.flame, head)) == 0


def test_offsets_reach_what_the_model_cannot_and_can_be_posed(known_scan, plain):
    _, fit, head = plain
    cheek = known_scan.landmarks[31] + (known_scan.landmarks[31] - known_scan.landmarks[37])
    away = known_scan.points - known_scan.points[np.argmin(np.linalg.norm(known_scan.points - cheek, axis=1))]
    normals = clean_scan(known_scan.points, known_scan.faces).normals
    bump = 3.0 * np.exp(-((np.linalg.norm(away, axis=1) / 10.0) ** 2))[:, None] * normals
    scan = clean_scan(known_scan.points + bump, known_scan.faces)
    offsets = free_vertices(known_scan.flame, fit.params, scan, scale=fit.scale)
    moved = known_scan.flame(fit.params, frame_offsets=offsets).vertices.numpy() / fit.scale
    before, after = (scan_distances(known_scan.flame, v, scan.vertices, scale=0.001) for v in (head, moved))
    assert np.median(after.distances[after.in_face]) < 0.6 * np.median(before.distances[before.in_face])
    hill = np.linalg.norm(away, axis=1) < 8.0
    assert 1000.0 * after.distances[hill].mean() < 0.4 < 1000.0 * before.distances[hill].mean()
    assert len(mouth_intersections(known_scan.flame, moved)) == 0


def test_a_scan_elsewhere_is_refused(known_scan):
    start = fit_points(known_scan.flame, known_scan.landmarks, scale=0.001)
    scan = clean_scan(known_scan.points + 1000.0, known_scan.faces)
    with pytest.raises(InputError, match="points of the scan lie near the head"):
        register_scan(known_scan.flame, scan, start, known_scan.landmarks)


@pytest.mark.parametrize(("factor", "unit"), [(1.0, "mm"), (0.1, "cm"), (0.001, "m"), (17.0, "unknown")])
def test_the_unit_is_told_by_the_size_of_the_face(known_scan, factor, unit):
    found, scale = guess_unit(known_scan.flame, factor * known_scan.landmarks)
    assert found == unit and scale == pytest.approx(0.001 / factor, rel=0.3)


def test_no_points_no_scan():
    with pytest.raises(InputError, match="holds 0 points"):
        clean_scan(np.zeros((0, 3)), np.zeros((0, 3), int))
    with pytest.raises(InputError, match="not finite"):
        clean_scan(np.full((200, 3), np.nan), np.zeros((0, 3), int))
