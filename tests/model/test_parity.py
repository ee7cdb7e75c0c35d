"""The layer against the original implementation's numbers."""

import pytest
import torch

from flamehead.data import FlameParams
from flamehead.geometry.rotation import exp, exp_original
from flamehead.model import contour_rows, head_turn

TOLERANCE = {torch.float64: ("f64", 2e-8), torch.float32: ("f32", 1e-6)}


def _params(expected, dtype):
    root, neck, jaw, left, right = torch.tensor(expected["pose"], dtype=dtype).unflatten(-1, (5, 3)).unbind(-2)
    shape, expression, translation = (
        torch.tensor(expected[name], dtype=dtype) for name in ("shape", "expression", "translation")
    )
    return FlameParams(shape, expression, root, neck, jaw, left, right, translation)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_matches_the_original_implementation(recipe_flame, expected, dtype):
    suffix, atol = TOLERANCE[dtype]
    flame, params = recipe_flame(dtype), _params(expected, dtype)
    out = flame(params)
    shift = params.translation[:, None]
    found = {
        "vertices": out.vertices[:, expected["vertex_ids"]],
        "joints_without_translation": out.joints - shift,
        "landmarks51": flame.landmarks(out.vertices, "ibug51"),
        "landmarks68_full_without_translation": flame.landmarks(out.vertices, "ibug68") - shift,
    }
    for name, value in found.items():
        wanted = torch.from_numpy(expected[f"{name}_{suffix}"])
        assert value.dtype == dtype
        torch.testing.assert_close(value, wanted, rtol=0, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


def test_float32_agrees_with_float64(recipe_flame, expected):
    single = recipe_flame(torch.float32)(_params(expected, torch.float32)).vertices
    double = recipe_flame(torch.float64)(_params(expected, torch.float64)).vertices
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-6)


def _marks68(flame, vertices, turn, sign):
    """As the original returns them: the sliding contour, then the 51 fixed points."""
    return torch.cat([flame.contour(vertices, turn, sign=sign), flame.landmarks(vertices, "ibug51")], dim=-2)


@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize(("rule", "atol"), [(exp_original, 1e-12), (exp, 2e-8)])
def test_every_number_of_the_original(recipe_flame, expected, rule, atol, backend):
    flame, params = recipe_flame(torch.float64), _params(expected, torch.float64)
    rotations = rule(params.pose)
    out = flame(params, rotations=rotations, backend=backend)
    shift, turn = params.translation[:, None], head_turn(rotations)
    found = {
        "vertices": out.vertices[:, expected["vertex_ids"]],
        "joints_without_translation": out.joints - shift,
        "landmarks51": flame.landmarks(out.vertices, "ibug51"),
        "landmarks68_full_without_translation": flame.landmarks(out.vertices, "ibug68") - shift,
        "landmarks68_minus": _marks68(flame, out.vertices, turn, -1),
        "landmarks68_plus_without_translation": _marks68(flame, out.vertices, turn, 1) - shift,
    }
    for name, value in found.items():
        wanted = torch.from_numpy(expected[f"{name}_f64"])
        torch.testing.assert_close(value, wanted, rtol=0, atol=atol, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_original_chooses_the_same_contour_rows(expected, dtype):
    turn = head_turn(exp(_params(expected, dtype).pose))
    assert contour_rows(turn, sign=-1).tolist() == expected["contour_row_minus"].tolist()
    assert contour_rows(turn, sign=1).tolist() == expected["contour_row_plus"].tolist()


def test_landmark_models_give_the_same_numbers(recipe_flame, expected):
    flame, params = recipe_flame(torch.float64), _params(expected, torch.float64)
    out = flame.landmark_model("ibug51")(params, rotations=exp_original(params.pose))
    wanted = torch.from_numpy(expected["landmarks51_f64"])
    torch.testing.assert_close(out.points, wanted, rtol=0, atol=1e-12)
    joints = torch.from_numpy(expected["joints_without_translation_f64"])
    torch.testing.assert_close(out.joints - params.translation[:, None], joints, rtol=0, atol=1e-12)
