"""The layer against the original implementation's numbers."""

import pytest
import torch

from flamehead.data import FlameParams

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
