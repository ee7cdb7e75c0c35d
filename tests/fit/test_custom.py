"""Adam on any loss of a drawn head."""

from dataclasses import replace

import pytest
import torch

from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.fit import Guess, fit_custom
from flamehead.model import load_flame

CAMERA = Camera(
    torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.zeros(3), torch.full((2,), 130.0), torch.full((2,), 32.0),
    (64, 64),
)  # fmt: skip


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def paint(albedo):
    return albedo.expand(5023, 3)


def make_start(flame, x=0.0):
    params = replace(flame.zeros(), translation=torch.tensor([x, 0.0, -0.6]))
    return Guess(params, CAMERA, torch.full((3,), 0.5), None)


def test_a_moved_head_and_its_colour_are_found_again(flame):
    truth = replace(make_start(flame, 0.02), albedo=torch.tensor([0.8, 0.5, 0.3]))
    target = fit_custom(flame, truth, lambda drawing, _: drawing.image.mean() * 0, paint=paint, steps=0)
    assert target.losses == (0.0,)
    seen = []

    def remember(drawing, _):
        seen.append(drawing.image.detach())
        return drawing.image.sum() * 0

    fit_custom(flame, truth, remember, paint=paint, steps=0)
    found = fit_custom(
        flame, make_start(flame), lambda drawing, _: (drawing.image - seen[0]).square().mean(), paint=paint,
        free=("translation", "albedo"), steps=60, rates={"translation": 1e-3},
    )  # fmt: skip
    assert min(found.losses) < 0.02 * found.losses[0] and len(found.losses) == 61
    assert abs(float(found.best.params.translation[0]) - 0.02) < 2e-3
    torch.testing.assert_close(found.best.albedo, truth.albedo, atol=0.03, rtol=0)
    assert not found.best.params.shape.any() and not found.best.albedo.requires_grad


def test_what_cannot_be_fitted_is_said(flame):
    start = make_start(flame)
    with pytest.raises(InputError, match="choose from shape, expression"):
        fit_custom(flame, start, lambda drawing, _: drawing.image.mean(), paint=paint, free=("light",))
    with pytest.raises(InputError, match="one finite number"):
        fit_custom(flame, start, lambda drawing, _: drawing.image.mean() / 0, paint=paint, free=("shape",))
    with pytest.raises(InputError, match="one finite number"):
        fit_custom(flame, start, lambda drawing, _: drawing.image, paint=paint, free=("shape",))
