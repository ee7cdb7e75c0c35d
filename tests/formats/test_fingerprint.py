"""Saved parameters are applied to their own model, or by force only."""

import logging
from copy import deepcopy

import numpy as np
import pytest
import torch

from flamehead.data import Camera, Fit, Observation
from flamehead.errors import InputError
from flamehead.formats import apply_saved, check_fingerprint, params_to_tracker_frames
from flamehead.io import load_params, save_fit
from flamehead.solve import Status


@pytest.fixture
def saved(flame, tmp_path):
    """A fit of `flame` that went through a file."""
    camera = Camera(torch.eye(3), torch.zeros(3), torch.ones(2), torch.ones(2), (8, 6))
    seen = Observation(np.zeros((1, 2)), "ibug68", (8, 6))
    fit = Fit(flame.zeros(), camera, Status("cost", 3), 0.0, seen, np.zeros((1, 2)), flame.fingerprint)
    save_fit(tmp_path / "params.npz", fit)
    return load_params(tmp_path / "params.npz")


def test_the_own_model_is_posed(saved, flame):
    torch.testing.assert_close(apply_saved(saved, flame).vertices, flame.template)
    assert apply_saved(saved, deepcopy(flame).float()).vertices.dtype == torch.float32


def test_another_model_is_refused_unless_forced(saved, flame, other_flame):
    with pytest.raises(InputError, match=r"belong to the model first, but the model second is second; .*force=True"):
        apply_saved(saved, other_flame)
    assert apply_saved(saved, other_flame, force=True).vertices.shape == (60, 3)


def test_a_saved_fit_gives_its_parameters_to_its_own_model_only(saved, flame, other_flame):
    assert torch.equal(saved.params_for(flame).shape, saved.params.shape)
    assert saved.params_for(deepcopy(flame).float()).jaw.dtype == torch.float32
    with pytest.raises(InputError, match=r"belong to the model first, but the model second is second; .*force=True"):
        saved.params_for(other_flame)
    assert torch.equal(saved.params_for(other_flame, force=True).jaw, saved.params.jaw)


def test_files_of_other_dialects_are_checked_too(flame, other_flame):
    camera = Camera(*(x.double() for x in (torch.eye(3), torch.zeros(3), torch.ones(2), torch.ones(2))), size=(8, 6))
    (frame,) = params_to_tracker_frames(flame.zeros(), camera, flame)
    check_fingerprint(frame, flame)
    with pytest.raises(InputError, match="belong to the model first"):
        check_fingerprint(frame, other_flame)
    check_fingerprint(frame, other_flame, force=True)


def test_unknown_origin_passes_with_a_line_in_the_log(flame, caplog):
    with caplog.at_level(logging.WARNING):
        check_fingerprint("", flame)
    assert "do not say which model" in caplog.text
