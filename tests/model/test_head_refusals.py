"""Inputs that do not fit a head are refused in a sentence, and changed tables are noticed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.errors import InputError
from flamehead.model import load_flame

TABLES = [
    "template",
    "skin_weights",
    "shape_basis",
    "expression_basis",
    "pose_basis",
    "joint_template",
    "joint_shape_basis",
    "joint_expression_basis",
]


@pytest.fixture(scope="module")
def flame():
    return load_flame()


def some(flame):
    generator = torch.Generator().manual_seed(0)
    zeros = flame.zeros()
    turns = {name: 0.2 * torch.randn(3, generator=generator) for name in ("root", "neck", "jaw")}
    shape, expression = (torch.randn(len(x), generator=generator) for x in (zeros.shape, zeros.expression))
    return replace(zeros, shape=shape, expression=expression, **turns)


@pytest.mark.parametrize("how", ["replaced", "written"])
@pytest.mark.parametrize("name", TABLES)
def test_kernels_notice_changed_tables(name, how):
    flame = load_flame()
    params = some(flame)
    before = flame(params, backend="numba").vertices
    if how == "replaced":
        setattr(flame, name, 2.0 * getattr(flame, name))
    else:
        getattr(flame, name).mul_(2.0)
    after = flame(params, backend="numba").vertices
    assert (after - before).abs().max() > 1e-5
    torch.testing.assert_close(after, flame(params, backend="reference").vertices, rtol=0, atol=1e-5)


@pytest.mark.parametrize("ids", [[0.7], np.ones(5023, bool), torch.ones(5023, dtype=torch.bool)])
def test_subset_wants_whole_numbers(flame, ids):
    with pytest.raises(InputError, match="flatnonzero"):
        flame.subset(ids)


def test_options_are_chosen_by_name(flame):
    vertices, jaw = flame(flame.zeros()).vertices, flame.landmark_model("ibug51", contour=True)
    with pytest.raises(InputError, match="choose one of"):
        flame.contour(vertices, torch.eye(3), sign=5)
    with pytest.raises(InputError, match="choose one of"):
        jaw(flame.zeros(), chain="roott")


def test_landmarks_belong_to_the_whole_mesh(flame):
    for vertices in (torch.zeros(17, 3), torch.zeros(6000, 3), torch.zeros(5023, 2)):
        with pytest.raises(InputError, match="all of"):
            flame.landmarks(vertices, "ibug68")
        with pytest.raises(InputError, match="all of"):
            flame.contour(vertices, torch.eye(3))


def test_a_head_that_is_not_a_number_has_such_landmarks(flame):
    jaw = flame.landmark_model("ibug51", contour=True)
    params = replace(flame.zeros(), root=torch.full((3,), torch.nan))
    assert jaw(params).points.isnan().all()


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize(
    "option",
    [
        {"rotations": torch.eye(3, dtype=torch.float64).expand(5, 3, 3)},
        {"rotations": torch.eye(3).expand(3, 5, 3, 3)},
        {"eyelids": torch.zeros(2, dtype=torch.float64)},
        {"eyelids": torch.zeros(3, 2)},
        {"frame_offsets": torch.zeros(3, 5023, 3)},
        {"frame_offsets": torch.zeros(5023, 3, dtype=torch.float64)},
    ],
)
def test_options_fit_the_parameters(flame, option, backend):
    with pytest.raises(InputError, match=r"do not fit together|the model is"):
        flame(flame.zeros(batch=(2,)), backend=backend, **option)
