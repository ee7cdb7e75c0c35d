"""The sRGB curves on tensors: inverse to each other, the same as on arrays, with true gradients."""

import torch

from flamehead.render import decode_srgb, encode_srgb, linear_to_srgb, srgb_to_linear


def test_curves_undo_each_other_also_beyond_one():
    values = torch.linspace(-0.2, 2.0, 500, dtype=torch.float64)
    torch.testing.assert_close(decode_srgb(encode_srgb(values)), values, atol=1e-6, rtol=1e-6)


def test_they_are_those_of_arrays():
    values = torch.linspace(0, 1, 300)
    torch.testing.assert_close(encode_srgb(values).numpy(), linear_to_srgb(values.numpy()), atol=1e-6, rtol=0)
    torch.testing.assert_close(decode_srgb(values).numpy(), srgb_to_linear(values.numpy()), atol=1e-6, rtol=0)


def test_gradients_are_those_of_finite_differences():
    values = torch.linspace(-0.1, 1.5, 33, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(encode_srgb, values)
    assert torch.autograd.gradcheck(decode_srgb, values)
