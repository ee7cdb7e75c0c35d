"""Calibrated photos with a real detector: rendered heads, whose landmarks nobody hands over."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from flamehead import detect_face, load_flame
from flamehead.data import Camera
from flamehead.errors import InputError
from flamehead.fit import fit_views
from flamehead.formats import CalibratedCamera
from flamehead.render import render

FLIP, FOCAL = np.diag([1.0, -1.0, -1.0]), 900.0


@pytest.mark.detect
@pytest.mark.parametrize("yaws", [(-20, 5, 25), (-60, 0, 50)])
def test_detected_landmarks_find_the_head_and_the_mistakes(yaws):
    flame = load_flame(dtype=torch.float64)
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    vertices = flame(replace(flame.zeros(), shape=shape)).vertices.detach()
    seen, cameras = [], []
    for yaw in yaws:
        turn = FLIP @ Rotation.from_euler("yx", [yaw, 4.0], degrees=True).as_matrix().T
        place = np.array([0.02, -0.01, 0.75])
        lens = torch.tensor([[FOCAL, FOCAL], [256.0, 256.0]], dtype=torch.float64)
        camera = Camera(torch.tensor(turn), torch.tensor(place), lens[0], lens[1], (512, 512))
        picture = np.asarray(render(vertices, flame.faces, camera, colors=flame.colors).image)[..., :3]
        seen.append(detect_face(picture))
        cameras.append(CalibratedCamera(turn, place, np.array([[FOCAL, 0, 256], [0, FOCAL, 256], [0, 0, 1]])))
    found = flame(fit_views(flame, seen, cameras).fits[0].params).vertices.detach()
    assert 1000 * (found - vertices)[flame.regions["face"]].norm(dim=1).mean() < 6.0
    for sentence, spoiled in (
        ("millimetres", [replace(c, translation=1000 * c.translation) for c in cameras]),
        ("OpenGL", [replace(c, rotation=FLIP @ c.rotation, translation=FLIP @ c.translation) for c in cameras]),
        ("world", [replace(c, rotation=c.rotation.T, translation=-c.rotation.T @ c.translation) for c in cameras]),
        ("times as large", [replace(c, matrix=c.matrix * [[2.0], [2.0], [1.0]]) for c in cameras]),
    ):
        with pytest.raises(InputError, match=sentence):
            fit_views(flame, seen, spoiled)
