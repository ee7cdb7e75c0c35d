"""Laws of rotations: exp and log, values and derivatives."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from flamehead.errors import InputError
from flamehead.geometry.rotation import (
    exp,
    exp_original,
    from_quaternion,
    log,
    matrices,
    to_6d,
    to_quaternion,
)

BATCHES = [(), (3,), (2, 1)]
COORDINATE = st.floats(-4.0, 4.0, allow_nan=False)
VECTOR = st.tuples(COORDINATE, COORDINATE, COORDINATE)


def _random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator)


def _with_angle(angle: float, *, count: int = 6) -> torch.Tensor:
    axis = _random(count, 3)
    return angle * axis / axis.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("batch", BATCHES)
def test_log_undoes_exp(batch):
    r = _random(*batch, 3, scale=0.9)
    torch.testing.assert_close(log(exp(r)), r)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-12, 1e-6, 1e-3, 0.4999, 0.5, 0.5001, 1.0, 3.0, math.pi - 1e-6])
def test_log_undoes_exp_at_every_angle(angle):
    r = _with_angle(angle)
    torch.testing.assert_close(log(exp(r)), r, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("angle", [math.pi - 1e-12, math.pi, math.pi + 1e-9, 4.0, 2 * math.pi - 1e-3])
def test_log_is_a_shortest_vector_of_the_same_rotation_around_pi(angle):
    rotation = exp(_with_angle(angle))
    r = log(rotation)
    assert (r.norm(dim=-1) <= math.pi + 1e-12).all()
    torch.testing.assert_close(exp(r), rotation, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", torch.eye(3, dtype=torch.float64).unbind(0))
def test_half_turns_about_the_coordinate_axes(axis):
    expected = 2 * torch.outer(axis, axis) - torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(exp(math.pi * axis), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(log(expected).abs(), math.pi * axis)


@settings(deadline=None, max_examples=60)
@given(VECTOR)
def test_exp_gives_rotations(vector):
    rotation = exp(torch.tensor(vector, dtype=torch.float64))
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-14)
    assert torch.linalg.det(rotation).item() == pytest.approx(1.0, abs=1e-14)


@settings(deadline=None, max_examples=60)
@given(VECTOR, st.floats(-1.0, 1.0))
def test_turns_about_one_axis_add_up(vector, share):
    r = torch.tensor(vector, dtype=torch.float64)
    torch.testing.assert_close(exp(share * r) @ exp((1 - share) * r), exp(r), rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=60)
@given(VECTOR)
def test_exp_log_exp_is_exp(vector):
    rotation = exp(torch.tensor(vector, dtype=torch.float64))
    torch.testing.assert_close(exp(log(rotation)), rotation, rtol=0, atol=1e-13)


@settings(deadline=None, max_examples=60)
@given(VECTOR)
def test_exp_is_the_matrix_exponential(vector):
    r = torch.tensor(vector, dtype=torch.float64)
    cross = torch.linalg.cross(r.expand(3, 3), torch.eye(3, dtype=torch.float64), dim=-1).mT
    # Not torch's matrix_exp, which is only good to 2e-11 for angles around 0.03.
    torch.testing.assert_close(exp(r), torch.from_numpy(expm(cross.numpy())), rtol=0, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.4999, 0.5001, 2.0])
def test_exp_has_first_and_second_derivatives(angle):
    r = _with_angle(angle, count=2).requires_grad_()
    assert torch.autograd.gradcheck(exp, r)
    assert torch.autograd.gradgradcheck(exp, r)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # Raised inside torch.func.
def test_exp_derivative_at_zero_is_the_cross_product_basis():
    jacobian = torch.func.jacfwd(exp)(torch.zeros(3, dtype=torch.float64))
    x = torch.tensor([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(jacobian[..., 0], x, rtol=0, atol=0)
    hessian = torch.func.jacfwd(torch.func.jacrev(exp))(torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(hessian[..., 0, 0], x @ x, rtol=0, atol=0)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 0.15, 0.21, 2.0, 3.0])
def test_log_has_first_and_second_derivatives(angle):
    rotation = exp(_with_angle(angle, count=2)).requires_grad_()
    assert torch.autograd.gradcheck(log, rotation)
    assert torch.autograd.gradgradcheck(log, rotation)


def test_large_angles_have_finite_gradients():
    r = torch.tensor([1e5, 0.0, 0.0], requires_grad=True)
    exp(r).sum().backward()
    assert r.grad is not None and torch.isfinite(r.grad).all()


def test_float32_agrees_with_float64():
    r = torch.cat([_with_angle(a) for a in (0.0, 1e-5, 0.1, 0.499, 0.501, 1.0, 3.1)])
    rotation = exp(r.float())
    assert rotation.dtype == torch.float32
    torch.testing.assert_close(rotation.double(), exp(r), rtol=0, atol=1e-6)
    torch.testing.assert_close(log(rotation).double(), r, rtol=0, atol=2e-5)


def test_both_work_under_vmap_and_compile():
    r = _random(5, 3)
    torch.testing.assert_close(torch.func.vmap(lambda x: log(exp(x)))(r), log(exp(r)))
    compiled = torch.compile(lambda x: log(exp(x)), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(r), log(exp(r)))


@pytest.mark.parametrize("batch", BATCHES)
def test_each_way_to_write_a_rotation_gives_the_same_matrix(batch):
    r = _random(*batch, 3, scale=0.9)
    rotation = exp(r)
    written = {"axis_angle": r, "6d": to_6d(rotation), "matrix": rotation, "quaternion": to_quaternion(rotation)}
    for kind, values in written.items():
        found = matrices(values, kind)  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(found, rotation, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["6d", "quaternion"])
def test_any_numbers_become_a_rotation(kind):
    values = _random(20, {"6d": 6, "quaternion": 4}[kind])
    rotation = matrices(values, kind)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand(20, 3, 3))
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: matrices(x, kind), values.requires_grad_())


def test_6d_holds_rows_and_quaternions_begin_with_w():
    quarter = exp(torch.tensor([0.0, 0.0, math.pi / 2], dtype=torch.float64))  # Takes x to y.
    rows = torch.tensor([0.0, -1.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(to_6d(quarter), rows)
    half = math.sqrt(0.5)
    wanted = torch.tensor([half, 0.0, 0.0, half], dtype=torch.float64)
    torch.testing.assert_close(to_quaternion(quarter), wanted)
    torch.testing.assert_close(from_quaternion(-3 * wanted), quarter)


def test_wrong_kinds_get_one_sentence():
    with pytest.raises(InputError, match=r"no rotation kind '9d'"):
        matrices(torch.zeros(3), "9d")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"shape \(2, 3\), but '6d' needs \(\*batch, 6\)"):
        matrices(torch.zeros(2, 3), "6d")


def test_the_original_rule_is_close_and_exact_at_zero():
    r = _random(50, 3)
    torch.testing.assert_close(exp_original(r), exp(r), rtol=0, atol=5e-8)
    zero = torch.zeros(3, dtype=torch.float64)
    assert torch.equal(exp_original(zero), torch.eye(3, dtype=torch.float64))
    found, wanted = (torch.autograd.functional.jacobian(rule, zero) for rule in (exp_original, exp))
    torch.testing.assert_close(found, wanted)
