"""The engines: the same numbers, whoever computes them, and torch wherever another cannot serve."""

import copy
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from flamehead.errors import InputError, MissingExtra
from flamehead.regress import _engine
from flamehead.regress._engine import Quick, quick

EXAMPLE = torch.rand(2, 3, 16, 16)


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 256, 7))
    return layers.eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path))
    return tmp_path / "networks"


class Fake:
    """Stands in for a session of onnxruntime."""

    def __init__(self, net, off=0.0):
        self.net, self.off, self.calls = net, off, 0

    def run(self, _names, inputs):
        self.calls += 1
        return [(self.net(torch.from_numpy(inputs["x"])) * (1 + self.off)).numpy()]


@pytest.fixture
def handed_over(monkeypatch):
    """Pretend that both packages are there; gives what the sessions will be off by, and those that were opened."""
    seen = SimpleNamespace(place="here", off=0.0, sessions=[], exports=0, net=None)

    def export(net, _example, file):
        seen.net, seen.exports = net, seen.exports + 1
        file.write_bytes(b"a network")

    def opened(_file):
        seen.sessions.append(Fake(seen.net, seen.off))
        return seen.sessions[-1]

    monkeypatch.setattr(_engine.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(_engine, "_export", export)
    monkeypatch.setattr(_engine, "_open", opened)
    monkeypatch.setattr(_engine, "_place", lambda: seen.place)
    monkeypatch.setattr(_engine, "_refused", _without_times(_engine._refused))
    return seen


def _without_times(refused):
    """Times of a fake tell nothing."""
    return lambda found: refused(found | {"onnxruntime": [0.0, 0.0], "torch": [1.0, 1.0]})


def test_a_network_is_handed_over_once_and_opened_again(net, handed_over, cache):
    first = quick(net, EXAMPLE, name="tiny")
    assert first.session is not None and handed_over.exports == 1
    assert {path.suffix for path in cache.iterdir()} == {".onnx", ".json"}
    again = quick(net, EXAMPLE, name="tiny")
    assert again.session is not None and handed_over.exports == 1
    changed = copy.deepcopy(net)
    changed[0].bias += 1.0
    quick(changed, EXAMPLE, name="tiny")
    assert handed_over.exports == 2
    torch.testing.assert_close(again(EXAMPLE), net(EXAMPLE))


def test_outputs_that_differ_are_never_used(net, handed_over, caplog):
    handed_over.off = 2e-3
    caplog.set_level(logging.INFO, "flamehead")
    assert quick(net, EXAMPLE, name="tiny").session is None
    assert "its outputs differ by 2.0e-03" in caplog.text
    with pytest.raises(InputError, match="cannot serve tiny"):
        quick(net, EXAMPLE, name="tiny", engine="onnxruntime")
    assert handed_over.exports == 1
    handed_over.off = float("nan")
    net[0].bias += 1.0
    assert quick(net, EXAMPLE, name="tiny").session is None


def test_what_is_slower_than_torch_is_never_used():
    same = {"difference": 1e-6, "torch": [0.1, 0.4]}
    assert _engine._refused(same | {"onnxruntime": [0.2, 0.2]}) == "it takes 200 ms, torch 100 ms"
    assert _engine._refused(same | {"onnxruntime": [0.05, 0.5]}) == "it takes 500 ms, torch 400 ms"
    assert not _engine._refused(same | {"onnxruntime": [0.1, 0.3]})


def test_the_verdict_holds_for_one_machine_and_number_of_threads(net, handed_over, cache, monkeypatch):
    measured = []
    compared = _engine._compared
    monkeypatch.setattr(_engine, "_compared", lambda *things: measured.append(1) or compared(*things))
    for place, wanted in (("here", 1), ("here", 1), ("another machine", 2), ("another machine", 2)):
        handed_over.place = place
        assert quick(net, EXAMPLE, name="tiny").session is not None
        assert len(measured) == wanted and handed_over.exports == 1
    next(cache.glob("*.json")).write_text("half a verd")
    assert quick(net, EXAMPLE, name="tiny").session is not None and len(measured) == 3


def test_a_failure_leaves_nothing_behind_and_torch_does_the_work(net, handed_over, cache, monkeypatch, caplog):
    def fails(_net, _example, file):
        file.write_bytes(b"half")
        raise RuntimeError("the exporter is gone")

    monkeypatch.setattr(_engine, "_export", fails)
    caplog.set_level(logging.INFO, "flamehead")
    found = quick(net, EXAMPLE, name="tiny")
    assert found.session is None and "the exporter is gone" in caplog.text and not list(cache.iterdir())
    assert found(EXAMPLE).equal(net(EXAMPLE))


def test_other_types_gradients_and_copies_go_to_torch(net):
    session = Fake(net)
    found = Quick(net, session)
    found(EXAMPLE)
    assert session.calls == 1
    found(EXAMPLE.clone().requires_grad_())
    copied = copy.deepcopy(found)
    assert session.calls == 1 and copied.session is None
    assert copied(EXAMPLE).equal(found(EXAMPLE))
    assert found.double()(EXAMPLE.double()).dtype == torch.float64 and session.calls == 2


def test_torch_needs_no_package_and_missing_ones_are_named(net, monkeypatch):
    monkeypatch.setattr(_engine.importlib.util, "find_spec", lambda name: None)
    assert quick(net, EXAMPLE, name="tiny").session is None
    assert quick(net, EXAMPLE, name="tiny", engine="torch").session is None
    with pytest.raises(MissingExtra, match=r"needs onnx and onnxruntime; install with .*\[regress\]"):
        quick(net, EXAMPLE, name="tiny", engine="onnxruntime")
    with pytest.raises(InputError, match="no engine 'tensorrt'"):
        quick(net, EXAMPLE, name="tiny", engine="tensorrt")  # pyright: ignore[reportArgumentType]


def test_the_real_thing_gives_the_same_numbers(net, cache):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    found = quick(net, EXAMPLE, name="tiny")
    files = list(cache.iterdir())
    # A network as tiny as this may be faster in torch; its outputs are compared all the same.
    assert {path.suffix for path in files} == {".onnx", ".json"}
    session = found.session or _engine._open(next(path for path in files if path.suffix == ".onnx"))
    for size in (1, 2, 5):
        x = torch.rand(size, 3, 16, 16)
        np.testing.assert_allclose(Quick(net, session)(x), net(x), atol=1e-5)
