"""A small FLAME-shaped head with smooth random bases, whose 478 face-mesh points are vertices."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from flamehead.assets.model_file import FlameArrays, LandmarkEmbedding
from flamehead.geometry import landmark_sets as sets

N_SHAPE, N_EXPRESSION, N_EXTRA = 40, 20, 222
LIKE = torch.zeros(1, dtype=torch.float64)
EYES = np.array([[0.032, 0.03], [-0.032, 0.03]])


@dataclass(frozen=True, eq=False)
class TinyHead:
    """Stands in for the Flame module with what the fitter reads of it."""

    arrays: FlameArrays
    embeddings: dict[str, LandmarkEmbedding]
    n_shape: int = N_SHAPE
    n_expression: int = N_EXPRESSION
    fingerprint: str = "tiny"
    template: torch.Tensor = LIKE


def ring(ids, center, radii, start, direction):
    angle = np.deg2rad(start) + direction * 2 * np.pi * np.arange(len(ids)) / len(ids)
    return ids, center + radii * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def face_positions(rng):
    """(x, y) of the 478 points, then the front of an ellipsoid with a nose as depth."""
    xy = rng.uniform([-0.06, -0.08], [0.06, 0.08], size=(478, 2))
    left, right = EYES
    for ids, where in [
        ring(sets.FACE_OVAL, [0.0, 0.0], [0.072, 0.095], 90, -1),
        ring(sets.RIGHT_EYE_RING, right, [0.014, 0.006], 180, -1),
        ring(sets.LEFT_EYE_RING, left, [0.014, 0.006], 0, 1),
        ring(sets.LIPS_OUTER, [0.0, -0.045], [0.026, 0.012], 180, -1),
        ring(sets.LIPS_INNER, [0.0, -0.045], [0.020, 0.004], 180, -1),
        ring(sets.RIGHT_BROW, right + np.array([0.0, 0.02]), [0.02, 0.004], 180, -1),
        ring(sets.LEFT_BROW, left + np.array([0.0, 0.02]), [0.02, 0.004], 0, 1),
        ring(sets.RIGHT_IRIS[1:], right, [0.005, 0.005], 0, 1),
        ring(sets.LEFT_IRIS[1:], left, [0.005, 0.005], 0, 1),
    ]:
        xy[ids] = where
    xy[sets.RIGHT_IRIS[0]], xy[sets.LEFT_IRIS[0]] = right, left
    xy[[168, 6, 197, 195, 5, 4]] = np.stack([np.zeros(6), np.linspace(0.03, -0.01, 6)], axis=1)
    xy[[129, 98, 97, 2, 326, 327, 358]] = np.stack([np.linspace(-0.018, 0.018, 7), np.full(7, -0.018)], axis=1)
    depth = 0.09 * np.sqrt(np.maximum(1 - (xy[:, 0] / 0.08) ** 2 - (xy[:, 1] / 0.11) ** 2, 0.05))
    nose = 0.025 * np.exp(-((xy[:, 0] / 0.012) ** 2) - ((xy[:, 1] + 0.008) / 0.02) ** 2)
    return np.column_stack([xy, depth + nose])


def smooth_fields(rng, points, count, amplitude):
    """Random smooth displacement fields (V, 3, count)."""
    frequency = rng.normal(size=(3, count)) * 25.0
    phase = rng.uniform(0, 2 * np.pi, size=(3, count))
    wave = np.sin(np.einsum("vi,ik->vk", points, frequency)[:, None, :] + phase)
    return wave * rng.normal(size=(3, count)) * amplitude / (1.0 + np.arange(count)) ** 0.6


def skinning(points):
    """Neck everywhere, jaw below the mouth, a little root at the bottom, eyeballs rigid."""
    jaw = 0.9 / (1 + np.exp((points[:, 1] + 0.045) / 0.008)) * (points[:, 2] > 0.0)
    root = 0.3 * np.clip((-0.06 - points[:, 1]) / 0.1, 0.0, 1.0)
    weights = np.stack([root, 1 - root - jaw, jaw, 0 * jaw, 0 * jaw], axis=1)
    weights[weights < 1e-3] = 0.0
    for joint, ids in ((3, sets.LEFT_IRIS), (4, sets.RIGHT_IRIS)):
        weights[ids] = np.eye(5)[joint]
    return weights / weights.sum(axis=1, keepdims=True)


def regressor(points):
    """Each joint is a weighted mean of the vertices around a place inside the head."""
    places = np.array([[0, -0.12, 0], [0, -0.04, 0], [0, -0.02, 0.02], [0.032, 0.03, 0.06], [-0.032, 0.03, 0.06]])
    distance = np.linalg.norm(points[None] - places[:, None], axis=2)
    weights = np.exp(-((distance / 0.04) ** 2))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.fixture(scope="session")
def head():
    rng = np.random.default_rng(7)
    skull = rng.normal(size=(N_EXTRA, 3))
    skull = skull / np.linalg.norm(skull, axis=1, keepdims=True) * [0.08, 0.12, 0.1]
    skull[:, 2] = -np.abs(skull[:, 2])
    points = np.concatenate([face_positions(rng), skull])
    n = len(points)
    arrays = FlameArrays(
        template=points,
        faces=np.stack([np.arange(n), (np.arange(n) + 1) % n, (np.arange(n) + 2) % n], axis=1),
        shape_basis=smooth_fields(rng, points, N_SHAPE, 4e-3),
        expression_basis=smooth_fields(rng, points, N_EXPRESSION, 3e-3),
        pose_basis=smooth_fields(rng, points, 36, 2e-3),
        skin_weights=skinning(points),
        joint_regressor=regressor(points),
        parents=(-1, 0, 1, 1, 1),
        fingerprint="tiny",
        source="test",
    )

    def vertices(ids):
        return LandmarkEmbedding(np.asarray(ids), np.tile([1.0, 0.0, 0.0], (len(ids), 1)))

    embeddings = {
        "mediapipe478": vertices(np.arange(478)),
        "mediapipe105": vertices(sets.MEDIAPIPE_105),
        "ibug68": vertices(sets.IBUG68_IN_MEDIAPIPE),
    }
    return TinyHead(arrays, embeddings)
