"""ARKit coefficients: what comes back is what went in, on our head and on other models."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import InputError, load_flame
from flamehead.builtin import builtin_head
from flamehead.data import Camera, Track
from flamehead.export import ARKIT_NAMES, arkit_index, arkit_rig, from_arkit, to_arkit, track_to_arkit
from flamehead.export.arkit import _OPPOSITES
from flamehead.export.arkit_solve import box_least_squares
from flamehead.fit import fit_registered
from flamehead.model import Flame

# Movements that no face makes at once: opposite ones, and closing an eye while widening it.
_EXCLUDED = [*_OPPOSITES, *((f"eyeBlink{side}", f"eyeWide{side}") for side in ("Left", "Right"))]


@pytest.fixture(scope="module")
def flame():
    return load_flame(dtype=torch.float64)


@pytest.fixture(scope="module")
def rig(flame):
    return arkit_rig(flame)


@pytest.fixture(scope="module")
def other():
    """The built-in head as a stranger: another identity at rest, vertices and expressions mixed."""
    head, rng = builtin_head(), np.random.default_rng(0)
    a, order = head.arrays, rng.permutation(5023)
    shape = np.zeros(300)
    shape[:40] = rng.normal(size=40)
    mix = np.linalg.qr(rng.normal(size=(100, 100)))[0]
    arrays = replace(
        a,
        template=(a.template + a.shape_basis @ shape)[order],
        faces=np.argsort(order)[a.faces],
        shape_basis=a.shape_basis[order],
        expression_basis=a.expression_basis[order] @ mix,
        pose_basis=a.pose_basis[order],
        skin_weights=a.skin_weights[order],
        joint_regressor=a.joint_regressor[:, order],
        fingerprint="stranger",
        source="the stranger",
    )
    flame = Flame(
        arrays,
        embeddings={"mediapipe105": head.embeddings["mediapipe105"]},
        eyelids=head.eyelids[:, order],
        dtype=torch.float64,
    )
    return flame, arkit_rig(flame)


def drawn(count, seed=0, most=8):
    """Realistic coefficients: 1 to `most` of the 51 without tongueOut are active, none against another."""
    rng, out = np.random.default_rng(seed), np.zeros((count, 52))
    against = {a: b for pair in _EXCLUDED for a, b in (pair, pair[::-1])}
    close, jaw = arkit_index("mouthClose"), arkit_index("jawOpen")
    for row in out:
        wanted = rng.integers(1, most + 1)
        for column in rng.permutation(51):
            name = ARKIT_NAMES[column]
            if (row > 0).sum() < wanted and not (name in against and row[arkit_index(against[name])] > 0.0):
                row[column] = rng.uniform(0.05, 1.0)
        # Lips are closed no further than the jaw opened them.
        row[close] = min(row[close], row[jaw])
    return out


def test_the_names_are_52_and_in_order():
    assert len(set(ARKIT_NAMES)) == 52
    assert (ARKIT_NAMES[0], ARKIT_NAMES[17], ARKIT_NAMES[51]) == ("eyeBlinkLeft", "jawOpen", "tongueOut")


def test_a_round_trip_keeps_sparse_realistic_coefficients(flame, rig):
    """The promise: a mean absolute error of 0.02 at most, over all 51 coefficients of every draw."""
    coefficients = drawn(1000)
    params, eyelids = from_arkit(rig, coefficients)
    found = to_arkit(rig, params, eyelids=eyelids)
    error = np.abs(found.coefficients - coefficients)[:, :51]
    by_draw = error.mean(1)
    assert error.mean() <= 0.003 and np.quantile(by_draw, 0.95) <= 0.012 and by_draw.max() <= 0.04
    # Inactive ones are not diluting a bad answer: the active ones are as good.
    assert error[coefficients[:, :51] > 0].mean() <= 0.02
    assert found.residual_mm.max() < 0.01 and found.worst_mm.max() < 0.1
    few = drawn(100, seed=6)
    exact = to_arkit(rig, from_arkit(rig, few)[0], ridge=1e-3)
    assert np.abs(exact.coefficients - few).mean() < 1e-4


@pytest.mark.slow
def test_a_round_trip_through_vertices_keeps_them_too(flame, rig):
    """Coefficients to a mesh of a random person, a fit that knows no ARKit, and back."""
    coefficients = drawn(3, seed=1)
    params, eyelids = from_arkit(rig, coefficients)
    shape = torch.randn(60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = replace(params, shape=shape.expand(3, -1), root=torch.tensor([[0.1, 0.2, 0.0]]).double().expand(3, -1))
    fit = fit_registered(flame, flame(params, eyelids=eyelids).vertices.numpy())
    found = to_arkit(rig, fit.params)
    error = np.abs(found.coefficients - coefficients)[:, :51]
    assert error.mean() <= 0.02


def test_another_model_keeps_them_as_well(other):
    coefficients = drawn(200, seed=2)
    params, eyelids = from_arkit(other[1], coefficients)
    found = to_arkit(other[1], params, eyelids=eyelids)
    assert np.abs(found.coefficients - coefficients)[:, :51].mean() <= 0.02


def test_shapes_carried_over_move_another_model_as_ours(flame, rig, other):
    """The stranger is the built-in head in disguise, so that what each shape should do to it is known."""
    for name, limit in {"mouthSmileLeft": 0.05, "browInnerUp": 0.05, "eyeSquintRight": 0.1, "jawLeft": 0.15}.items():
        row = arkit_index(name)
        assert other[1].residual_mm[row] < limit * other[1].motion_mm[row], name
    assert len(other[1].approximate) == 1
    assert (other[1].residual_mm < 0.5 * other[1].motion_mm + 1e-9).all()


def test_opposite_movements_never_act_together(flame, rig):
    rng = np.random.default_rng(3)
    params = replace(
        flame.zeros((50,)),
        expression=torch.tensor(0.5 * rng.normal(size=(50, 100))),
        left_eye=torch.tensor(0.3 * rng.normal(size=(50, 3))),
        jaw=torch.tensor([0.2, 0.05, 0.0]).double() * torch.tensor(rng.normal(size=(50, 1))),
    )
    found = to_arkit(rig, params)
    assert (found.coefficients >= 0.0).all() and (found.coefficients <= 1.0).all()
    for one, two in _OPPOSITES:
        assert (np.minimum(found.coefficients[:, arkit_index(one)], found.coefficients[:, arkit_index(two)]) == 0).all()
    close, jaw = (found.coefficients[:, arkit_index(name)] for name in ("mouthClose", "jawOpen"))
    assert (close <= jaw + 1e-9).all()
    assert (found.residual_mm > 0.0).all() and (found.worst_mm >= found.residual_mm).all()


def test_signs_are_the_subjects_own(flame, rig):
    """Left is +x, down is -y, inwards is towards the nose."""

    def shift(name, ids):
        params, eyelids = from_arkit(rig, np.eye(52)[[arkit_index(name)]])
        rest = flame(flame.zeros()).vertices.numpy()
        return (flame(params, eyelids=eyelids).vertices[0].numpy() - rest)[ids].mean(0)

    pupil = flame.regions["left_iris"]
    assert shift("eyeLookInLeft", pupil)[0] < -1e-3 < 1e-3 < shift("eyeLookOutLeft", pupil)[0]
    assert shift("eyeLookDownLeft", pupil)[1] < -1e-3 < 1e-3 < shift("eyeLookUpLeft", pupil)[1]
    assert shift("eyeLookInRight", flame.regions["right_iris"])[0] > 1e-3
    chin = np.argsort(flame.arrays.template[:, 1] - 10 * flame.arrays.skin_weights[:, 2])[:50]
    assert shift("jawOpen", chin)[1] < -5e-3
    assert shift("jawLeft", chin)[0] > 2e-3 > -2e-3 > shift("jawRight", chin)[0]
    lids = flame.regions["left_eyelid"]
    assert shift("eyeBlinkLeft", lids)[1] < 0.0 and np.abs(shift("eyeBlinkRight", lids)).max() < 1e-6


def test_mouth_close_closes_most_of_the_open_mouth(flame, rig):
    def gap(**amounts):
        row = np.zeros((1, 52))
        for name, amount in amounts.items():
            row[0, arkit_index(name)] = amount
        points = flame.landmarks(flame(from_arkit(rig, row)[0]).vertices[0], "mediapipe478").numpy()
        return np.linalg.norm(points[13] - points[14])

    for amount in (0.3, 0.6, 1.0):
        assert gap(jawOpen=amount, mouthClose=amount) < 0.4 * gap(jawOpen=amount)


def test_eyelids_count_as_blinks(flame, rig):
    found = to_arkit(rig, flame.zeros((3,)), eyelids=np.array([[0.0, 0.0], [0.5, 0.0], [1.0, 0.25]]))
    blinks = found.coefficients[:, [arkit_index("eyeBlinkLeft"), arkit_index("eyeBlinkRight")]]
    np.testing.assert_allclose(blinks, [[0, 0], [0.5, 0], [1, 0.25]], atol=2e-3)


def test_bounded_least_squares_meets_the_optimality_conditions():
    rng = np.random.default_rng(4)
    a = rng.normal(size=(40, 12))
    normal, right = a.T @ a + 1e-3 * np.eye(12), rng.normal(size=(30, 40)) @ a
    lower, upper = -np.ones((1, 12)) * (np.arange(12) % 2), np.full((1, 12), 0.4)
    for smoothness in (0.0, 3.0):
        x = box_least_squares(normal, right, lower, upper, smoothness=smoothness)
        pull = np.zeros_like(x)
        force = smoothness * np.diff(x, axis=0) * np.diagonal(normal)
        pull[:-1] -= force
        pull[1:] += force
        slope = x @ normal - right + pull
        inside = (x > lower + 1e-9) & (x < upper - 1e-9)
        assert np.abs(slope[inside]).max() < 1e-3
        assert (slope[x <= lower + 1e-9] > -1e-3).all() and (slope[x >= upper - 1e-9] < 1e-3).all()


def test_smoothness_calms_frames_but_not_across_cuts(flame, rig):
    frames = np.zeros((40, 52))
    frames[20:, arkit_index("mouthSmileLeft")] = 1.0
    params, _ = from_arkit(rig, frames)
    params = replace(params, expression=params.expression + 0.1 * torch.randn(40, 100, dtype=torch.float64))
    smile = {}
    linked = np.arange(39) != 19
    for name, options in {"raw": {}, "tied": {"smoothness": 5.0}, "cut": {"smoothness": 5.0, "linked": linked}}.items():
        smile[name] = to_arkit(rig, params, **options).coefficients[:, arkit_index("mouthSmileLeft")]
    step = {name: np.abs(np.diff(values)) for name, values in smile.items()}
    calm = np.arange(39) != 19
    assert step["cut"][calm].mean() < 0.5 * step["raw"][calm].mean()
    assert step["tied"][19] < 0.7 < step["cut"][19]


def test_a_track_keeps_its_cuts_and_its_model(flame, rig):
    count = 6
    params, _ = from_arkit(rig, drawn(count, seed=5))
    camera = Camera(
        torch.eye(3).expand(count, 3, 3), torch.zeros(count, 3), torch.ones(count, 2), torch.ones(count, 2), (4, 4)
    )
    track = Track(
        params=params,
        camera=camera,
        frames=np.arange(count),
        times=np.arange(count) / 25.0,
        status=np.zeros(count, dtype=np.int8),
        fingerprint=flame.fingerprint,
        scene=np.array([0, 0, 0, 1, 1, 1]),
    )
    found = track_to_arkit(rig, track, smoothness=0.5)
    assert found.coefficients.shape == (count, 52)
    with pytest.raises(InputError, match="belongs to the model"):
        track_to_arkit(rig, replace(track, fingerprint="another"))


def test_refusals(flame, rig):
    with pytest.raises(InputError, match="52 finite numbers"):
        from_arkit(rig, np.zeros((2, 51)))
    with pytest.raises(InputError, match="NaN"):
        to_arkit(rig, replace(flame.zeros((1,)), jaw=torch.full((1, 3), torch.nan).double()))
    with pytest.raises(InputError, match="101 expression coefficients"):
        to_arkit(rig, replace(flame.zeros((1,)), expression=torch.zeros(1, 101).double()))
    with pytest.raises(InputError, match="eyelids has shape"):
        to_arkit(rig, flame.zeros((3,)), eyelids=np.zeros((2, 2)))
    with pytest.raises(InputError, match="linked has shape"):
        to_arkit(rig, flame.zeros((3,)), linked=np.ones(3, bool))
    with pytest.raises(InputError, match="ridge"):
        to_arkit(rig, flame.zeros((1,)), ridge=-1.0)
    strange = Flame(replace(flame.arrays, fingerprint="no landmarks"), dtype=torch.float64)
    with pytest.raises(InputError, match="no landmarks"):
        arkit_rig(strange)
