"""The two pairs of sRGB curves are inverse, agree, and match the tables of the standard."""

import numpy as np
import pytest
import torch

from flamehead._srgb import decode, decode_slope, decode_tensor, encode, encode_tensor

VALUES = np.concatenate([np.linspace(-0.2, 1.3, 301), [0.0031308, 0.04045]])


def test_known_values():
    np.testing.assert_allclose(decode(np.array([0.0, 0.04045, 0.5, 1.0])), [0, 0.0031308, 0.214041, 1], atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_inverse_and_of_the_same_type(dtype):
    values = VALUES.astype(dtype)
    # The standard's two pieces meet to 2e-7 only.
    np.testing.assert_allclose(encode(decode(values)), values, atol=1e-6)
    np.testing.assert_allclose(decode(encode(values)), values, atol=1e-6)
    assert decode(values).dtype == encode(values).dtype == dtype


@pytest.mark.parametrize(("plain", "tensor"), [(decode, decode_tensor), (encode, encode_tensor)])
def test_arrays_and_tensors_agree(plain, tensor):
    np.testing.assert_allclose(tensor(torch.from_numpy(VALUES)).numpy(), plain(VALUES), atol=1e-14)


@pytest.mark.parametrize("curve", [decode_tensor, encode_tensor])
def test_derivatives(curve):
    x = torch.linspace(-0.1, 1.2, 17, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curve, x)
    assert torch.autograd.gradgradcheck(curve, x)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_slope_is_that_of_the_curve(dtype):
    x = torch.linspace(-0.1, 1.2, 17, dtype=torch.float64, requires_grad=True)
    (wanted,) = torch.autograd.grad(decode_tensor(x).sum(), x)
    found = decode_slope(x.detach().numpy().astype(dtype))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-6)
