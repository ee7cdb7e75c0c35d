"""The chosen frames begin at rest, differ from one another, and show a face."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.model import load_flame
from flamehead.track import choose_keyframes


@pytest.fixture(scope="module")
def seen():
    """Landmarks of the built-in head by yaw, pitch, opening of the jaw and depth; (N, 478, 2)."""
    flame = load_flame(dtype=torch.float64)

    def of(*poses):
        rows = torch.tensor(poses, dtype=torch.float64)
        zero = torch.zeros(len(rows), dtype=torch.float64)
        params = replace(
            flame.zeros(batch=(len(rows),)), root=torch.stack([rows[:, 1], rows[:, 0], zero], 1),
            jaw=torch.stack([rows[:, 2], zero, zero], 1), translation=torch.stack([zero, zero, -rows[:, 3]], 1),
        )  # fmt: skip
        x, y, z = flame.landmarks(flame(params).vertices, "mediapipe478").numpy().transpose(2, 0, 1)
        return np.stack([160 - 400 * x / z, 120 + 400 * y / z], axis=2)

    return of


def poses(count, seed):
    rng = np.random.default_rng(seed)
    low, high = [-0.6, -0.3, 0.0, 0.45], [0.6, 0.3, 0.3, 0.9]
    return [tuple(pose) for pose in rng.uniform(low, high, size=(count, 4)).tolist()]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("place", [0, 17, 40])
def test_the_first_looks_straight_ahead_at_rest(seen, seed, place):
    others = [(yaw + 0.2 * np.sign(yaw), *rest) for yaw, *rest in poses(40, seed)]
    others.insert(place, (0.0, 0.0, 0.0, 0.6))
    assert choose_keyframes(seen(*others), count=5)[0] == place


@pytest.mark.parametrize("count", [1, 2, 8])
@pytest.mark.parametrize("seed", range(3))
def test_as_many_as_wanted_none_twice_and_the_same_every_time(seen, seed, count):
    landmarks = seen(*poses(40, seed))
    chosen = choose_keyframes(landmarks, count=count)
    assert len(chosen) == len(set(chosen)) == count
    assert chosen == choose_keyframes(landmarks, count=count)
    assert chosen == choose_keyframes(landmarks, count=8)[:count]


def test_they_show_both_sides_and_an_open_mouth(seen):
    turns = np.linspace(-0.6, 0.6, 61)
    landmarks = seen(*[(yaw, 0.0, 0.3 * (k == 20), 0.6) for k, yaw in enumerate(turns)])
    chosen = choose_keyframes(landmarks, count=6)
    assert abs(turns[chosen[0]]) < 0.1 and 20 in chosen
    assert turns[chosen].min() < -0.4 and turns[chosen].max() > 0.4


def test_frames_without_a_face_and_unusable_ones_are_never_chosen(seen):
    landmarks = seen(*poses(30, 0))
    usable = np.arange(30) % 3 > 0
    landmarks[::2] = np.nan
    landmarks[5, 100, 1] = np.nan
    chosen = choose_keyframes(landmarks, count=30, usable=usable)
    assert chosen and all(k % 2 and k % 3 and k != 5 for k in chosen)


def test_no_face_gives_none_and_equal_frames_one(seen):
    landmarks = seen((0.1, 0.0, 0.0, 0.6))
    assert choose_keyframes(np.full((4, 478, 2), np.nan)) == []
    assert choose_keyframes(np.zeros((0, 478, 2))) == []
    assert choose_keyframes(landmarks, usable=np.zeros(1, dtype=bool)) == []
    assert len(choose_keyframes(np.repeat(landmarks, 9, axis=0))) == 1


def test_a_blink_is_left_out_unless_all_eyes_are_shut(seen):
    landmarks = seen(*poses(12, 1))
    shut = landmarks.copy()
    for up, low in ((159, 145), (386, 374)):
        shut[:, up] = shut[:, low]
    mixed = np.concatenate([shut, landmarks])
    assert all(k >= 12 for k in choose_keyframes(mixed, count=12))
    assert len(choose_keyframes(shut, count=5)) == 5


def test_size_and_place_in_the_picture_do_not_matter_to_the_first(seen):
    landmarks = seen(*poses(20, 2))
    first = choose_keyframes(landmarks, count=1)
    assert choose_keyframes(3.0 * landmarks + [50.0, -20.0], count=1) == first


def test_points_on_one_spot_are_no_face():
    """A detector that is lost may put all points in one place."""
    assert choose_keyframes(np.zeros((3, 478, 2))) == []
