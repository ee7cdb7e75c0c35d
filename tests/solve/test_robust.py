import numpy as np
import pytest

from flamehead.solve import LOSSES, RobustBlock, huber
from flamehead.solve.robust import robust_cost


@pytest.mark.parametrize("name", list(LOSSES))
@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_weight_is_the_derivative_of_the_loss(name, scale):
    s = np.linspace(1e-3, 40.0, 400) * scale**2 + 1e-4
    h = 1e-6 * scale**2
    slope = (LOSSES[name](s + h, scale)[0] - LOSSES[name](s - h, scale)[0]) / (2 * h)
    np.testing.assert_allclose(LOSSES[name](s, scale)[1], slope, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", list(LOSSES))
def test_small_residuals_are_squared_and_weights_never_grow(name):
    tiny = np.array([0.0, 1e-12])
    rho, weight = LOSSES[name](tiny, 1.0)
    np.testing.assert_allclose(rho, tiny, atol=1e-20)
    np.testing.assert_allclose(weight, 1.0)
    weights = LOSSES[name](np.linspace(0.0, 100.0, 200), 1.0)[1]
    assert np.all(np.diff(weights) <= 1e-15)
    assert np.all((weights > 0) & (weights <= 1))


def test_groups_share_one_weight_and_other_rows_keep_theirs():
    residuals = np.array([3.0, 4.0, 0.1, 0.1, 7.0])
    cost, weights = robust_cost(residuals, [RobustBlock(slice(0, 4), 2, huber, 1.0)])
    assert weights is not None
    np.testing.assert_allclose(weights, [0.2, 0.2, 1.0, 1.0, 1.0])
    assert cost == pytest.approx(0.5 * ((2 * 5 - 1) + 0.02 + 49.0))


def test_no_blocks_mean_plain_least_squares():
    residuals = np.arange(4.0)
    assert robust_cost(residuals, ()) == (7.0, None)
