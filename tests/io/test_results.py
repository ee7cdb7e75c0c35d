"""A saved fit comes back bit by bit; foreign and damaged files are refused; reports are valid JSON."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flamehead.data import Camera, Fit, FlameParams, Observation
from flamehead.errors import InputError
from flamehead.io import load_params, save_fit, write_json
from flamehead.solve import Status


def _fit(batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float32) -> Fit:
    torch.manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*batch, *shape, dtype=dtype)

    params = FlameParams(random(7), random(4), *(random(3) for _ in range(6)))
    camera = Camera(random(3, 3), random(3), random(2), random(2), (640, 480))
    seen = Observation(np.zeros((68, 2)), "ibug68", (640, 480))
    return Fit(params, camera, Status("cost", 9), 1.5, seen, np.zeros((68, 2)), "abc123")


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_fit_comes_back_exactly(tmp_path, batch, dtype):
    fit = _fit(batch, dtype)
    save_fit(tmp_path / "params.npz", fit, model_source="built-in head")
    saved = load_params(tmp_path / "params.npz")
    for field in fields(FlameParams):
        torch.testing.assert_close(getattr(saved.params, field.name), getattr(fit.params, field.name), rtol=0, atol=0)
    for name in ("rotation", "translation", "focal", "center"):
        torch.testing.assert_close(getattr(saved.camera, name), getattr(fit.camera, name), rtol=0, atol=0)
    assert saved.camera.size == (640, 480) and saved.format_version == 1
    assert (saved.fingerprint, saved.model_source) == ("abc123", "built-in head")
    assert saved.status == "Converged: the cost fell by less than the tolerance after 9 iterations."
    assert [p.name for p in tmp_path.iterdir()] == ["params.npz"]


def test_tensors_that_require_gradients_are_saved_too(tmp_path):
    fit = _fit()
    fit = replace(fit, params=replace(fit.params, jaw=fit.params.jaw.requires_grad_()))
    save_fit(tmp_path / "a.npz", fit)
    assert not load_params(tmp_path / "a.npz").params.jaw.requires_grad


def test_a_fit_that_is_not_finite_is_not_saved(tmp_path):
    fit = _fit()
    with pytest.raises(InputError, match="'neck'"):
        save_fit(tmp_path / "a.npz", replace(fit, params=replace(fit.params, neck=fit.params.neck * float("nan"))))
    with pytest.raises(InputError, match="suffix"):
        save_fit(tmp_path / "a.pt", fit)
    assert not list(tmp_path.iterdir())


def _change(path, **changes):
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"jaw": None}, "lacks 'jaw'"),
        ({"fingerprint": None}, "lacks 'fingerprint'"),
        ({"jaw": np.zeros(4)}, "'jaw'"),
        ({"jaw": np.array(["a", "b", "c"])}, "'jaw'"),
        ({"jaw": np.full(3, np.nan)}, "'jaw'"),
        ({"shape": np.array(1.0)}, "'shape'"),
        ({"camera_rotation": np.eye(4)}, "'camera_rotation'"),
        ({"camera_size": np.array([0, 4])}, "image size"),
        ({"format": np.array(99)}, "update flamehead"),
        ({"format": np.array("x")}, "'format'"),
        ({"format": None}, "not a saved fit"),
        ({"extra": np.array([{}], dtype=object)}, "Object arrays"),
    ],
)
def test_a_changed_file_is_refused_by_name(tmp_path, changes, wanted):
    path = tmp_path / "a.npz"
    save_fit(path, _fit())
    _change(path, **changes)
    with pytest.raises(InputError, match=wanted) as caught:
        load_params(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_cut_file_is_refused(tmp_path, share):
    path = tmp_path / "a.npz"
    save_fit(path, _fit())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match="damaged"):
        load_params(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="not found"):
        load_params(tmp_path / "absent.npz")
    with pytest.raises(InputError, match="folder"):
        load_params(tmp_path)


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
_reports = st.dictionaries(st.text(), st.recursive(_leaves, lambda inner: st.lists(inner) | st.tuples(inner, inner)))


@given(report=_reports)
def test_every_report_is_valid_json(tmp_path_factory, report):
    path = tmp_path_factory.mktemp("json") / "report.json"
    write_json(path, report)

    def refuse(name: str):
        raise AssertionError(name)

    assert json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse).keys() == report.keys()


def test_reports_take_arrays_tensors_and_paths(tmp_path):
    report = {"a": np.float32(0.5), "b": torch.arange(2), "c": np.array([1.0, np.inf]), "d": tmp_path, "e": {1: (2,)}}
    write_json(tmp_path / "r.json", report)
    expected = {"a": 0.5, "b": [0, 1], "c": [1.0, None], "d": str(tmp_path), "e": {"1": [2]}}
    assert json.loads((tmp_path / "r.json").read_text()) == expected


def test_a_parallel_projection_is_remembered(tmp_path):
    fit = _fit()
    save_fit(tmp_path / "a.npz", replace(fit, camera=replace(fit.camera, orthographic=True)))
    saved = load_params(tmp_path / "a.npz")
    # An older flamehead would take it for a pinhole: the format says that it cannot read this.
    assert saved.camera.orthographic and saved.format_version == 2
    save_fit(tmp_path / "a.npz", fit)
    assert not load_params(tmp_path / "a.npz").camera.orthographic
