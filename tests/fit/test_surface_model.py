"""The surface model against the landmark model, which has its own tests: two programs for one formula."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from flamehead.assets.model_file import LandmarkEmbedding
from flamehead.fit import HeadState, build_landmark_model, landmark_points
from flamehead.fit.surface_model import build_surface_model, pose_surface, surface_rows


def random_state(head, seed):
    rng = np.random.default_rng(seed)
    return HeadState(
        shape=rng.normal(size=head.n_shape),
        expression=rng.normal(size=head.n_expression),
        neck=0.3 * rng.normal(size=3),
        jaw=0.2 * rng.normal(size=3),
        eyes=0.2 * rng.normal(size=(2, 2)),
        root=Rotation.from_rotvec(rng.normal(size=3)).as_matrix(),
        translation=rng.normal(size=3),
        log_focal=0.0,
    )


@pytest.mark.parametrize("seed", range(4))
def test_points_and_rows_agree_with_the_landmark_model(head, seed):
    rng, state = np.random.default_rng(100 + seed), random_state(head, seed)
    sizes = {"n_shape": head.n_shape, "n_expression": head.n_expression}
    faces = rng.integers(0, len(head.arrays.faces), 50)
    barycentric, directions = rng.dirichlet(np.ones(3), 50), rng.normal(size=(50, 3))
    points, jacobian = landmark_points(
        build_landmark_model(head.arrays, LandmarkEmbedding(faces, barycentric), **sizes), state
    )
    model = build_surface_model(head.arrays, **sizes)
    posed, corners = pose_surface(model, state), head.arrays.faces[faces]
    np.testing.assert_allclose(np.einsum("nk,nka->na", barycentric, posed.vertices[corners]), points, atol=1e-12)
    rows = surface_rows(model, posed, corners, barycentric, directions)
    np.testing.assert_allclose(rows, np.einsum("na,nac->nc", directions, jacobian), atol=1e-11)


def test_a_layout_is_built_once(head):
    first = build_surface_model(head.arrays, n_shape=5, n_expression=3)
    assert build_surface_model(head.arrays, n_shape=5, n_expression=3) is first
    assert len(first.columns) == 5 + 3 + 16
