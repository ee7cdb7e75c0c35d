"""What sliders do to parameters, without a window."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import flamehead
from flamehead.errors import InputError
from flamehead.view import PRESETS, HeadState, History, all_directions, controls, params_of
from flamehead.view.controls import EYELIDS
from flamehead.view.state import (
    eyelids_of,
    from_text,
    moved,
    preset,
    pushed,
    random_person,
    redone,
    to_text,
    undone,
)


@pytest.fixture(scope="module")
def flame():
    return flamehead.load_flame()


@pytest.fixture(scope="module")
def known(flame):
    return all_directions(flame)


def test_every_slider_moves_the_parameters_it_names(flame, known):
    shown = controls(flame, known)
    assert len({control.name for control in shown}) == len(shown) > 80
    rest = flame.zeros()
    for control in shown:
        assert control.low < control.high and control.low <= 0
        direction = known[control.name]
        params = params_of(HeadState({control.name: 0.5}), flame, known, rest)
        for name in rest.__dataclass_fields__:
            change = getattr(params, name)
            assert bool(change.any()) == (name in direction.fields)
        first = getattr(params, direction.fields[0])[list(direction.rows)]
        torch.testing.assert_close(first, torch.full_like(first, 0.5 * direction.unit))


def test_what_is_loaded_and_what_sliders_say_is_added(flame, known):
    base = dataclasses.replace(flame.zeros(), shape=torch.randn(300, generator=torch.Generator().manual_seed(1)))
    row = known["nose_width"].rows[0]
    params = params_of(HeadState({"nose_width": 1.5}), flame, known, base)
    torch.testing.assert_close(params.shape[row], base.shape[row] + 1.5)
    assert torch.equal(base.shape, params_of(HeadState(), flame, known, base).shape)


def test_a_slider_at_zero_leaves_no_trace():
    state = moved(moved(HeadState(), "smile", 1.0), "smile", 0.0)
    assert state == HeadState()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["undo", "redo", "push"]), st.integers(0, 5)), max_size=30))
def test_history_is_a_line_that_is_walked_both_ways(steps):
    line, at = [HeadState()], 0
    history = History()
    for step, number in steps:
        if step == "push":
            state = HeadState({"smile": float(number)})
            history = pushed(history, state)
            if state != line[at]:
                line, at = [*line[: at + 1], state], at + 1
        elif step == "undo":
            history, at = undone(history), max(at - 1, 0)
        else:
            history, at = redone(history), min(at + 1, len(line) - 1)
        assert history.now == line[at]


def test_presets_keep_the_person(flame, known):
    state = HeadState({"nose_width": 2.0, "smile": 0.3})
    for name in PRESETS:
        found = preset(state, name, known)
        assert found.amounts["nose_width"] == 2.0
        assert set(found.amounts) <= {*known, *EYELIDS}
        assert found.amounts.get("smile", 0.0) == PRESETS[name].get("smile", 0.0)


def test_a_random_person_is_repeatable_and_keeps_the_expression(flame, known):
    state = HeadState({"smile": 1.0})
    first, again, other = (random_person(state, seed, flame, known) for seed in (1, 1, 2))
    assert first == again != other and first.amounts["smile"] == 1.0
    shape = params_of(first, flame, known, flame.zeros()).shape
    assert 0.7 < float(shape.std()) < 1.2 and float(shape.abs().max()) <= 2.6
    # A second draw replaces the first.
    assert random_person(first, 2, flame, known) == other


def test_text_round_trip(flame, known):
    state = dataclasses.replace(random_person(HeadState({"smile": 1.0}), 3, flame, known), albedo=(0.5, -1.0))
    params = params_of(state, flame, known, flame.zeros())
    text = to_text(state, params, flame.fingerprint)
    assert from_text(text, flame.fingerprint, known) == state
    stored = json.loads(text)["params"]
    torch.testing.assert_close(torch.tensor(stored["jaw"]), params.jaw)
    expression = torch.zeros(100)
    expression[: len(stored["expression"])] = torch.tensor(stored["expression"])
    torch.testing.assert_close(expression, params.expression)


def test_plain_names_are_text_too(known):
    assert from_text('{"smile": 1, "frown": 0}', "any", known) == HeadState({"smile": 1.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("smile", "no JSON"),
        ("[1]", "no JSON object"),
        ('{"smil": 1}', "no direction 'smil'"),
        ('{"smile": "wide"}', "'smile' is 'wide'"),
        ('{"smile": 1e9}', "-100 to 100"),
        ('{"smile": NaN}', "-100 to 100"),
        ('{"set": 3}', "`set` must be an object"),
        ('{"set": {}, "shape": 3}', "'shape' must be a list"),
        ('{"set": {}, "model": "other"}', "belong to the model 'other'"),
    ],
)
def test_wrong_text_is_refused_by_a_sentence(text, said, known):
    with pytest.raises(InputError, match=said):
        from_text(text, "builtin-1", known)


def test_a_model_without_names_gets_numbers_and_lids(flame):
    arrays = dataclasses.replace(flame.arrays, fingerprint="somebody else's")
    import numpy as np

    other = flamehead.Flame(arrays, eyelids=np.zeros((2, 5023, 3)))
    known = all_directions(other, components=4)
    shown = {control.name for control in controls(other, known, components=4)}
    assert {"shape_3", "expression_3", "jaw_open", *EYELIDS} <= shown
    assert not {"shape_4", "smile"} & shown
    lids = eyelids_of(HeadState({EYELIDS[0]: 0.5}), other)
    assert lids is not None and lids.tolist() == [0.5, 0.0]
    assert eyelids_of(HeadState(), other) is None
    # Presets leave out what the model does not have.
    assert preset(HeadState(), "smile", known) == HeadState()
