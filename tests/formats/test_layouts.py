"""Layouts in memory: there and back, a thousand heads each way, and the orders that the programs document."""

from dataclasses import fields

import pytest
import torch

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.formats import layouts as L

WAYS = {
    "flame_pytorch": (L.params_to_flame_pytorch, L.flame_pytorch_to_params),
    "smplx": (L.params_to_smplx, L.smplx_to_params),
    "tf_flame": (L.params_to_tf_flame, L.tf_flame_to_params),
    "flame_fitting": (
        lambda params: L.params_to_flame_fitting(params, n_shape=7, n_expression=5),
        lambda layout: L.flame_fitting_to_params(layout, n_shape=7),
    ),
    "tracker": (L.params_to_tracker_layout, L.tracker_layout_to_params),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_ours_there_and_back(name, dtype, random_params, same_vertices):
    there, back = WAYS[name]
    params = random_params(1).to(dtype=dtype)
    got = back(there(params))
    assert got.root.dtype == dtype
    same_vertices(got, params, atol=1e-12 if dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("name", WAYS)
def test_theirs_there_and_back(name, random_params, same_vertices):
    there, back = WAYS[name]
    layout = there(random_params(2))
    again = there(back(layout))
    for field in fields(layout):
        torch.testing.assert_close(getattr(again, field.name), getattr(layout, field.name), rtol=0, atol=1e-12)


def test_six_numbers_need_not_be_orthonormal(random_params, same_vertices):
    layout = L.params_to_tracker_layout(random_params(3))
    noisy = L.TrackerLayout(layout.shape, layout.expression, 1.1 * layout.pose, layout.translation)
    generator = torch.Generator().manual_seed(0)
    noisy.pose.add_(0.1 * torch.randn(noisy.pose.shape, dtype=torch.float64, generator=generator))
    params = L.tracker_layout_to_params(noisy)
    same_vertices(L.tracker_layout_to_params(L.params_to_tracker_layout(params)), params)


def numbered():
    """Parameters whose numbers say what they are."""
    root, neck, jaw, left, right = (torch.arange(3.0) + 10 * i for i in range(1, 6))
    return FlameParams(torch.arange(2.0), torch.arange(1.0), root, neck, jaw, left, right, torch.arange(3.0) - 9)


def test_the_documented_orders():
    params = numbered()
    pytorch = L.params_to_flame_pytorch(params)
    assert pytorch.pose_params.tolist() == [10, 11, 12, 30, 31, 32]
    assert pytorch.eye_pose.tolist() == [40, 41, 42, 50, 51, 52] and pytorch.neck_pose.tolist() == [20, 21, 22]
    tf = L.params_to_tf_flame(params)
    assert tf.rot.tolist() == [10, 11, 12] and tf.pose.tolist() == [20, 21, 22, 30, 31, 32, 40, 41, 42, 50, 51, 52]
    fitting = L.params_to_flame_fitting(params)
    assert fitting.betas.shape == (400,) and fitting.betas[300] == 0 and fitting.betas[:2].tolist() == [0, 1]
    assert fitting.pose.tolist() == [10, 11, 12, *tf.pose.tolist()]
    smplx = L.params_to_smplx(params)
    assert smplx.leye_pose.tolist() == [40, 41, 42] and smplx.global_orient.tolist() == [10, 11, 12]


def test_six_numbers_are_rows():
    quarter = FlameParams.zeros(1, 1)
    quarter.jaw[2] = torch.pi / 2  # x goes to y, so that the first row of the matrix is (0, -1, 0).
    pose = L.params_to_tracker_layout(quarter).pose.reshape(5, 6)
    torch.testing.assert_close(pose[0], torch.tensor([1.0, 0, 0, 0, 1, 0]))
    torch.testing.assert_close(pose[2], torch.tensor([0.0, -1, 0, 1, 0, 0]))


def test_batches_broadcast(flame):
    params = flame.zeros()
    many = FlameParams(params.shape, *(getattr(flame.zeros((4,)), field.name) for field in fields(params)[1:]))
    for there, back in WAYS.values():
        assert flame(back(there(many))).vertices.shape == (4, 60, 3)


def test_gradients_pass(random_params):
    params = random_params(4)
    pose = params.jaw[:8].clone().requires_grad_()
    there = L.params_to_tracker_layout(FlameParams(*(getattr(params, f.name)[:8] for f in fields(params)))).pose

    def through(jaw):
        moved = FlameParams(*(jaw if f.name == "jaw" else getattr(params, f.name)[:8] for f in fields(params)))
        return L.params_to_tracker_layout(moved).pose

    assert there.shape == (8, 30) and torch.autograd.gradcheck(through, (pose,))


def test_wrong_shapes_are_one_sentence():
    bad = L.FlamePytorchLayout(*(torch.zeros(3) for _ in range(6)))
    with pytest.raises(InputError, match="pose_params has 3 numbers, wanted 6"):
        L.flame_pytorch_to_params(bad)
    with pytest.raises(InputError, match="pose has 12 numbers, wanted 30"):
        L.tracker_layout_to_params(L.TrackerLayout(*(torch.zeros(12) for _ in range(4))))
    with pytest.raises(InputError, match="betas has 8 numbers, wanted 300"):
        L.flame_fitting_to_params(L.FlameFittingLayout(torch.zeros(8), torch.zeros(15), torch.zeros(3)))
    with pytest.raises(InputError, match="shape has 7 coefficients, but the flame-fitting layout keeps 5"):
        L.params_to_flame_fitting(
            FlameParams(torch.ones(7), torch.zeros(5), *(torch.zeros(3),) * 6), n_shape=5, n_expression=5
        )
