"""Regions, vertices, landmarks and summaries."""

import numpy as np
import pytest

from flamehead.errors import InputError
from flamehead.evaluate import (
    REGIONS,
    Normalization,
    cumulative_share,
    face_regions,
    landmark_error_2d,
    landmark_error_3d,
    region_errors,
    regions_of_scan,
    seven_of,
    summarize,
    vertex_error,
)
from flamehead.geometry.similarity import moved


@pytest.fixture(scope="module")
def parts(flame):
    return face_regions(flame.template.numpy(), flame.regions)


def test_the_parts_of_the_face_are_apart_and_where_they_belong(flame, parts):
    ids = np.concatenate(list(parts.values()))
    assert tuple(parts) == REGIONS and len(ids) == len(np.unique(ids)) and min(map(len, parts.values())) > 100
    x, y = flame.template.numpy()[:, :2].T
    heights = {name: y[rows].mean() for name, rows in parts.items()}
    assert heights["mouth"] < heights["nose"] < heights["forehead"]
    assert abs(x[parts["cheek"]]).mean() > abs(x[parts["nose"]]).mean()


def test_a_scan_is_labelled_like_the_head_it_shows(flame, person, parts, motion):
    scan = person(7, strength=0.7)
    by = motion(1)
    labels = regions_of_scan(
        moved(scan.vertices, by),
        moved(scan.landmarks, by),
        flame.template.numpy(),
        scan.faces,
        seven_of(flame.landmarks(flame.template, "ibug68").numpy()),
        parts,
    )
    for name, ids in parts.items():
        common = np.intersect1d(ids, labels[name])
        assert len(common) > 0.75 * len(ids) and len(common) > 0.7 * len(labels[name]), name


def test_a_moved_head_has_no_error_in_any_part(person, parts, motion):
    scan, by = person(0), motion(3)
    errors = region_errors(
        scan.vertices, scan.landmarks, parts, moved(scan.vertices, by), scan.faces, moved(scan.landmarks, by)
    )
    assert tuple(errors) == REGIONS
    assert max(error.distances.max() for error in errors.values()) < 1e-5


def test_a_wrong_nose_is_an_error_of_the_nose_alone(person, parts):
    scan = person(0)
    wrong = scan.vertices.copy()
    rows = parts["nose"]
    tip = scan.vertices[rows][:, 2].max()
    # The nose grows with its height, so that no motion of it undoes the change.
    wrong[rows, 2] += np.clip(8.0 - 0.4 * (tip - scan.vertices[rows, 2]), 0.0, None)
    errors = region_errors(scan.vertices, scan.landmarks, parts, wrong, scan.faces, scan.landmarks)
    means = {name: summarize(error.distances).mean for name, error in errors.items()}
    assert means["nose"] > 0.3
    assert max(means[name] for name in ("mouth", "forehead", "cheek")) < 0.2 * means["nose"]


def test_a_part_that_the_scan_lacks_is_named(person, parts):
    scan = person(0)
    with pytest.raises(InputError, match="30 vertices in nose"):
        region_errors(
            scan.vertices, scan.landmarks, {**parts, "nose": np.arange(5)}, scan.vertices, scan.faces, scan.landmarks
        )
    with pytest.raises(InputError, match="no region lips, forehead"):
        face_regions(scan.vertices, {name: np.array([0]) for name in ("face", "nose", "eye_region")})


@pytest.mark.parametrize("align", ["rigid", "similarity"])
def test_alignment_takes_out_just_the_motion(person, motion, align):
    truth = person(0).vertices
    by = motion(2, scaled=align == "similarity")
    assert vertex_error(moved(truth, by), truth, align=align).distances.max() < 1e-9
    shift = vertex_error(truth + np.array([3.0, 4.0, 0.0]), truth).distances
    np.testing.assert_allclose(shift, 5.0)
    ids = np.arange(100)
    assert vertex_error(np.vstack([truth[:100], truth[100:] + 50]), truth, align=align, ids=ids).distances.max() < 1e-9


def test_meshes_that_do_not_match_are_named(person):
    truth = person(0).vertices
    with pytest.raises(InputError, match="one topology"):
        vertex_error(truth[:-1], truth)
    with pytest.raises(InputError, match="ids name vertices outside"):
        vertex_error(truth, truth, ids=np.array([len(truth)]))
    with pytest.raises(InputError, match="no alignment 'affine'"):
        vertex_error(truth, truth, align="affine")  # pyright: ignore[reportArgumentType]


def test_landmarks_that_one_side_lacks_are_left_out():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(68, 3))
    predicted = truth + np.array([0.0, 0.0, 2.0])
    predicted[7] = np.nan
    distances = landmark_error_3d(predicted, truth).distances
    assert np.isnan(distances[7]) and np.nanmax(distances) == pytest.approx(2.0)
    assert np.nanmax(landmark_error_3d(predicted, truth, align="rigid").distances) < 1e-9


def test_image_errors_are_shares_of_the_face():
    truth = 100.0 * np.random.default_rng(0).uniform(size=(68, 2))
    predicted = truth + np.array([3.0, 4.0])
    eyes = float(np.linalg.norm(truth[36] - truth[45]))
    box = float(np.sqrt(np.prod(np.ptp(truth, axis=0))))
    sizes: list[tuple[Normalization, float]] = [("none", 1.0), ("eyes", eyes), ("box", box)]
    for divide_by, size in sizes:
        np.testing.assert_allclose(landmark_error_2d(predicted, truth, divide_by=divide_by), 5.0 / size)
    truth[36] = np.nan
    with pytest.raises(InputError, match="outer eye corners"):
        landmark_error_2d(predicted, truth)
    with pytest.raises(InputError, match="which of 5 landmarks"):
        landmark_error_2d(predicted[:5], truth[:5])


def test_summaries_are_those_of_numpy():
    values = np.random.default_rng(0).exponential(size=1001)
    summary = summarize(values)
    assert (summary.median, summary.mean, summary.std, summary.count) == pytest.approx(
        (np.median(values), values.mean(), values.std(), 1001)
    )
    assert summary.rms**2 == pytest.approx(summary.mean**2 + summary.std**2)
    limits = np.linspace(0.0, 10.0, 50)
    share = cumulative_share(values, limits)
    np.testing.assert_allclose(share, [(values <= limit).mean() for limit in limits])
    with pytest.raises(InputError, match="nothing to summarize"):
        summarize(np.empty(0))
