"""What does not belong together is refused in a sentence: compiled code would read foreign memory."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.errors import InputError
from flamehead.raster import Fragments, antialias, edges_of, gather, interpolate, rasterize

POINTS = torch.tensor([[0.0, 0.0, 1.0], [0.0, 8.0, 1.0], [8.0, 0.0, 1.0], [8.0, 8.0, 1.0]])
FACES = torch.tensor([[0, 1, 2], [2, 1, 3]])
SIZE = (8, 8)


def seen() -> Fragments:
    return rasterize(POINTS, FACES, SIZE)


@pytest.mark.parametrize("faces", [FACES[:, :2], torch.cat([FACES, FACES[:, :1]], 1), FACES.double(), FACES > 0])
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_faces_must_be_triangles_of_whole_numbers(faces, backend):
    with pytest.raises(InputError, match="whole numbers of shape"):
        interpolate(POINTS, faces, seen(), backend=backend)
    with pytest.raises(InputError, match="whole numbers of shape"):
        antialias(torch.ones(8, 8, 1), POINTS, faces, seen(), backend=backend)
    with pytest.raises(InputError, match="whole numbers of shape"):
        edges_of(faces)


@pytest.mark.parametrize("columns", [2, 4])
def test_points_have_three_columns(columns):
    points = torch.ones(4, columns, requires_grad=True)
    with pytest.raises(InputError, match="x, y and depth"):
        interpolate(POINTS, FACES, seen(), points=points)


def test_all_parts_of_fragments_have_one_size():
    whole = seen()
    for part in (
        replace(whole, barycentric=whole.barycentric[:4]),
        replace(whole, depth=whole.depth[:, :3]),
        replace(whole, barycentric=whole.barycentric[..., :2]),
        replace(whole, face_ids=whole.face_ids.float()),
    ):
        with pytest.raises(InputError, match="face_ids"):
            interpolate(POINTS, FACES, part)
        with pytest.raises(InputError, match="face_ids"):
            antialias(torch.ones(8, 8, 1), POINTS, FACES, part)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_kernels_do_not_know_half_precision(dtype):
    with pytest.raises(InputError, match=r"\.float\(\)"):
        interpolate(POINTS.to(dtype), FACES, seen())
    with pytest.raises(InputError, match=r"\.float\(\)"):
        antialias(torch.ones(8, 8, 1, dtype=dtype), POINTS, FACES, seen())


def test_there_is_at_least_one_channel():
    with pytest.raises(InputError, match="at least one"):
        interpolate(torch.ones(4, 0), FACES, seen())
    with pytest.raises(InputError, match="at least one"):
        antialias(torch.ones(8, 8, 0), POINTS, FACES, seen())


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "faces, ids, weights",
    [
        (FACES, torch.zeros(1000, dtype=torch.int64), torch.ones(1, 3)),
        (FACES[:, :2], torch.zeros(4, dtype=torch.int64), torch.ones(4, 3)),
        (torch.cat([FACES, FACES[:, :1]], 1), torch.zeros(4, dtype=torch.int64), torch.ones(4, 3)),
        (FACES, torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, 3)),
        (FACES, torch.zeros(4, dtype=torch.int64), torch.ones(4, 2)),
        (FACES.double(), torch.zeros(4, dtype=torch.int64), torch.ones(4, 3)),
        (FACES, torch.zeros(4), torch.ones(4, 3)),
    ],
)
def test_gather_refuses_shapes_that_do_not_fit(faces, ids, weights, fast):
    values = POINTS.clone().requires_grad_(not fast)
    with pytest.raises(InputError, match=r"gather\(\) needs|whole numbers"):
        gather(values, faces, ids, weights)


def test_gather_wants_rows_of_values():
    with pytest.raises(InputError, match=r"\(V, C\)"):
        gather(POINTS[:, 0], FACES, torch.tensor([0]), torch.ones(1, 3))


def test_edges_of_another_mesh_with_as_many_faces_are_refused():
    other = edges_of(FACES + 1000)
    with pytest.raises(InputError, match="another mesh"):
        antialias(torch.ones(8, 8, 1), POINTS, FACES, seen(), edges=other)
    antialias(torch.ones(8, 8, 1), POINTS, FACES, seen(), edges=edges_of(FACES.clone()))


def test_writes_through_numpy_are_seen():
    rows = FACES.numpy().copy()
    faces = torch.from_numpy(rows)
    interpolate(POINTS, faces, seen())
    before = edges_of(faces)
    rows[:] = [[0, 1, 3], [3, 2, 0]]
    assert (edges_of(faces).faces == rows).all() and not (before.faces == rows).all()
    rows[0, 0] = 10**8
    with pytest.raises(InputError, match="one mesh"):
        interpolate(POINTS, faces, seen())
    with pytest.raises(InputError, match="one mesh"):
        antialias(torch.ones(8, 8, 1), POINTS, faces, seen())


@pytest.mark.parametrize("size", [(8.0, 8), (8, 8, 3), "88", 8, (0, 8), None])
def test_a_size_is_a_pair_of_whole_numbers(size):
    with pytest.raises(InputError, match=r"\(width, height\)"):
        rasterize(POINTS, FACES, size)


def test_other_inputs_of_the_rasterizer_are_refused(monkeypatch):
    with pytest.raises(InputError, match=r"threads is 2\.5"):
        rasterize(POINTS, FACES, SIZE, threads=2.5)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="as_tensor"):
        rasterize(POINTS.numpy(), FACES.numpy(), SIZE)  # pyright: ignore[reportArgumentType]
    assert rasterize(POINTS, FACES, tuple(np.array([8, 8]))).covered.any()
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with pytest.raises(InputError, match="CUDA tensors"):
        rasterize(POINTS, FACES, SIZE, backend="triton")
