"""Eyelids, lips and eyeballs keep out of each other over the range of motion that a face has."""

import dataclasses

import numpy as np
import pytest
import torch

from flamehead.builtin import builtin_head
from flamehead.geometry.landmark_sets import LIPS_INNER
from flamehead.model import load_flame

HEAD, BALL = 3931, 546
LIMIT = 0.0003  # Metres.


@pytest.fixture(scope="module")
def head():
    return builtin_head()


@pytest.fixture(scope="module")
def flame():
    return load_flame(dtype=torch.float64)


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


def surface_points(vertices, head):
    """Vertices of skin and sockets; edge and triangle middles of the skin (a socket lies unseen behind its ball)."""
    faces = head.arrays.faces[(head.part[head.arrays.faces] == 0).all(1)]
    corners = vertices[faces]
    return np.concatenate([vertices[:HEAD], corners.mean(1), corners[:, :2].mean(1), corners[:, 1:].mean(1)])


def lid_depth(vertices, head):
    """How deep skin or socket reach into an eyeball, metres; negative when they stay outside."""
    points = surface_points(vertices, head)
    deepest = -np.inf
    for first, ids in ((HEAD, head.regions["left_eyeball"]), (HEAD + BALL, head.regions["right_eyeball"])):
        assert ids[0] == first
        ball = vertices[ids]
        center = np.linalg.lstsq(np.c_[2 * ball, np.ones(len(ball))], (ball**2).sum(1), rcond=None)[0][:3]
        radius = np.linalg.norm(ball - center, axis=1).mean()
        deepest = max(deepest, float((radius - np.linalg.norm(points - center, axis=1)).max()))
    return deepest


def lip_depth(vertices, head):
    """How far the upper lip hangs below the lower one where they meet, metres."""
    table = head.embeddings["mediapipe468"]
    loop = (head.arrays.faces[table.face_ids] * (table.barycentric == 1)).sum(1)[LIPS_INNER]
    upper, lower = vertices[loop[1:10]], vertices[loop[19:10:-1]]
    return float((lower - upper)[:, 1].max())


def with_blink(flame, head, params, amount):
    expression = params.expression.clone()
    for side in ("left", "right"):
        expression[head.expression_names.index(f"blink_{side}")] = amount
    return dataclasses.replace(params, expression=expression)


@pytest.mark.parametrize("amount", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_blinking_lids_slide_over_the_ball(flame, head, amount):
    vertices = flame(with_blink(flame, head, flame.zeros(), amount)).vertices.numpy()
    assert lid_depth(vertices, head) < LIMIT


@pytest.mark.parametrize("pitch", [-25, 0, 25])
@pytest.mark.parametrize("yaw", [-25, 0, 25])
def test_lids_follow_the_gaze_without_touching(flame, head, pitch, yaw):
    gaze = tensor(np.deg2rad(pitch), np.deg2rad(yaw), 0.0)
    vertices = flame(dataclasses.replace(flame.zeros(), left_eye=gaze, right_eye=gaze)).vertices.numpy()
    assert lid_depth(vertices, head) < LIMIT


def test_random_people_blink_look_and_speak_without_penetration(flame, head):
    rng = np.random.default_rng(0)
    for _ in range(60):
        params = with_blink(flame, head, flame.zeros(), rng.uniform())
        gaze = tensor(*np.deg2rad(rng.uniform(-25, 25, 2)), 0.0)
        params = dataclasses.replace(
            params,
            shape=tensor(*np.clip(rng.normal(size=300), -2, 2)),
            jaw=tensor(0.35 * rng.uniform(), 0.0, 0.0),
            left_eye=gaze,
            right_eye=gaze,
        )
        vertices = flame(params).vertices.numpy()
        assert lid_depth(vertices, head) < LIMIT
        assert lip_depth(vertices, head) < LIMIT


def test_an_extreme_single_direction_keeps_the_mouth_closed(flame, head):
    for k in range(60):
        for sign in (-2.0, 2.0):
            shape = torch.zeros(300, dtype=torch.float64)
            shape[k] = sign
            vertices = flame(dataclasses.replace(flame.zeros(), shape=shape)).vertices.numpy()
            assert -0.001 < lip_depth(vertices, head) < LIMIT
            assert lid_depth(vertices, head) < LIMIT


def test_a_closed_mouth_is_closed_and_a_dropped_jaw_opens_it(flame, head):
    assert -0.0004 < lip_depth(flame(flame.zeros()).vertices.numpy(), head) < 0.0
    opened = flame(dataclasses.replace(flame.zeros(), jaw=tensor(0.3, 0.0, 0.0))).vertices.numpy()
    table = head.embeddings["mediapipe468"]
    middle = (head.arrays.faces[table.face_ids] * (table.barycentric == 1)).sum(1)[[13, 14]]
    assert (opened[middle[0]] - opened[middle[1]])[1] > 0.015


def test_teeth_are_an_option_that_changes_no_parameter(head):
    plain, toothed = load_flame(), load_flame(teeth=True)
    assert toothed.fingerprint == plain.fingerprint and toothed.n_shape == plain.n_shape
    assert len(toothed.template) > 5023 == len(plain.template)
    params = plain.zeros()
    params = dataclasses.replace(params, shape=torch.randn(300), jaw=torch.tensor([0.2, 0.0, 0.0]))
    torch.testing.assert_close(toothed(params).vertices[:5023], plain(params).vertices, atol=1e-6, rtol=0)
    lower, upper = toothed.regions["teeth_lower"], toothed.regions["teeth_upper"]
    moved = toothed(params).vertices - toothed(dataclasses.replace(params, jaw=torch.zeros(3))).vertices
    assert moved[upper].abs().max() < 1e-5 and moved[lower].norm(dim=1).min() > 0.005
