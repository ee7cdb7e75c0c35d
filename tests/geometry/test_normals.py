"""Vertex normals: outward, unit, turned with the mesh, differentiable, harmless where there is no area."""

import pytest
import torch

from flamehead.geometry.normals import vertex_normals

OCTAHEDRON = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=torch.float64)
FACES = torch.tensor([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])


def test_normals_of_a_regular_body_point_outward():
    torch.testing.assert_close(vertex_normals(OCTAHEDRON, FACES), OCTAHEDRON)


def test_larger_faces_weigh_more():
    vertices = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 1]], dtype=torch.float64)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    expected = torch.tensor([3.0, 0.0, 9.0], dtype=torch.float64)
    torch.testing.assert_close(vertex_normals(vertices, faces)[0], expected / expected.norm())


@pytest.mark.parametrize("batch", [(), (3,), (2, 1)])
def test_normals_turn_with_the_mesh(batch):
    vertices = torch.randn(*batch, 6, 3, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(*batch, 3, 3, dtype=torch.float64))
    # A mirror would turn the faces inside out.
    turn = turn * turn.det()[..., None, None]
    normals = vertex_normals(vertices, FACES)
    torch.testing.assert_close(vertex_normals(vertices @ turn.mT + 5.0, FACES), normals @ turn.mT)
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(*batch, 6, dtype=torch.float64))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_normals_do_not_depend_on_scale(scale):
    vertices = OCTAHEDRON.float() * scale
    torch.testing.assert_close(vertex_normals(vertices, FACES), OCTAHEDRON.float())


def test_a_vertex_without_area_has_no_normal_and_no_gradient():
    vertices = torch.cat([OCTAHEDRON, OCTAHEDRON[:1]]).requires_grad_()
    normals = vertex_normals(vertices, torch.cat([FACES, torch.tensor([[6, 6, 6]])]))
    assert (normals[6] == 0).all()
    (normals * torch.randn(7, 3, dtype=torch.float64)).sum().backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all()


def test_gradient():
    vertices = torch.randn(2, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: vertex_normals(v, FACES), (vertices,))


@pytest.mark.parametrize("batch", [(), (2,), (2, 1)])
def test_compiled_normals_are_plain_ones(batch):
    generator = torch.Generator().manual_seed(0)
    # The last vertex has no face, and one face has no area.
    vertices = torch.randn(*batch, 7, 3, generator=generator, dtype=torch.float64)
    weight, faces = torch.randn(*batch, 7, 3, generator=generator), torch.cat([FACES, torch.tensor([[6, 6, 6]])])
    results = []
    for leaf in (vertices.float(), vertices.clone()):
        # There are no kernels for float64.
        normals = vertex_normals(leaf.requires_grad_(), faces, backend="numba")
        results.append((normals, *torch.autograd.grad((normals * weight).sum(), leaf)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * float(other.detach().abs().max()), rtol=1e-4)


def test_compiled_kernels_serve_where_a_gradient_is_asked_for(monkeypatch):
    from flamehead.geometry import _cpu_normals

    calls = []
    kernel = _cpu_normals.normals
    monkeypatch.setattr(_cpu_normals, "normals", lambda *args: calls.append(kernel(*args)))
    plain = OCTAHEDRON.float()
    vertex_normals(plain, FACES)
    vertex_normals(OCTAHEDRON.clone().requires_grad_(), FACES)
    assert not calls
    vertex_normals(plain.requires_grad_(), FACES)
    vertex_normals(plain.detach(), FACES, backend="numba")
    assert len(calls) == 2


@pytest.mark.parametrize("faces", [[[0, 1, 6]], [[0, 1, -7]]])
def test_missing_vertices_are_refused_however_it_is_computed(faces):
    with pytest.raises(IndexError):
        vertex_normals(OCTAHEDRON.float().requires_grad_(), torch.tensor(faces), backend="numba")


@pytest.mark.parametrize("columns", [2, 4])
def test_rows_of_another_width_are_refused_with_gradients_too(columns):
    with pytest.raises(RuntimeError):
        vertex_normals(torch.rand(6, columns, requires_grad=True), FACES)


def test_no_meshes_have_no_normals():
    assert vertex_normals(torch.zeros(0, 6, 3, requires_grad=True), FACES).shape == (0, 6, 3)
    assert vertex_normals(torch.zeros(2, 0, 3, requires_grad=True), FACES[:0]).shape == (2, 0, 3)
