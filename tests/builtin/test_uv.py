"""Laws of the UV layout: nothing overlaps or flips, islands keep apart, left mirrors right, the face is large."""

from collections import Counter

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from flamehead.builtin._flatten import Outline, flat_corners, reduce_stretch, signed_areas, spread_inside, stretches
from flamehead.builtin.mesh import build_mesh
from flamehead.builtin.regions import vertex_regions
from flamehead.builtin.texture import PART_OF_ISLAND, bake, nearest_rows, texel_table, texels_on_head
from flamehead.builtin.uv import ISLANDS, MARGIN, uv_layout

# The mesh and its layout are built anew, in place of what the cache holds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mesh():
    return build_mesh()


@pytest.fixture(scope="module")
def layout(mesh):
    return uv_layout(mesh)


@pytest.fixture(scope="module")
def in_face(mesh):
    return np.isin(mesh.faces, vertex_regions(mesh, np.zeros(len(mesh.vertices), bool))["face"]).all(1)


def border_edges(faces):
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    count = Counter(map(tuple, np.sort(edges, axis=1).tolist()))
    return np.array([edge for edge, times in count.items() if times == 1])


def crossings(points, edges):
    """How many pairs of edges without a common end cross each other."""
    a, b = points[edges[:, 0]], points[edges[:, 1]]

    def side(p, q, r):
        return np.sign(
            (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (r[..., 0] - p[..., 0])
        )

    p, q, r, s = a[:, None], b[:, None], a[None], b[None]
    apart = (edges[:, None, :, None] != edges[None, :, None, :]).all((2, 3))
    return int(((side(p, q, r) * side(p, q, s) <= 0) & (side(r, s, p) * side(r, s, q) <= 0) & apart).sum()) // 2


def test_covers_every_triangle_of_the_mesh_within_the_texture(mesh, layout):
    assert layout.faces.shape == mesh.faces.shape and layout.island.shape == (9976,)
    assert layout.uv.dtype == np.float64 and set(np.unique(layout.faces)) == set(range(len(layout.uv)))
    assert layout.uv.min() >= MARGIN - 1e-12 and layout.uv.max() <= 1.0 - MARGIN + 1e-12
    # Each row of the layout belongs to one vertex.
    pairs = np.unique(np.stack([layout.faces.ravel(), mesh.faces.ravel()], -1), axis=0)
    assert len(pairs) == len(layout.uv)
    for first, last, island in ((3931, 4477, 1), (4477, 5023, 2)):
        assert (layout.island[((mesh.faces >= first) & (mesh.faces < last)).all(1)] == island).all()


def test_no_triangle_is_flipped(layout):
    assert signed_areas(layout.uv, layout.faces).min() > 0.0


@pytest.fixture(scope="module")
def covered(layout):
    """Which texels the triangles of each island cover, in a texture of 1024."""
    islands = [layout.faces[layout.island == island] for island in range(len(ISLANDS))]
    return np.stack([texel_table(layout.uv, faces, 1024).valid for faces in islands])


def test_no_texel_is_covered_twice(layout, covered):
    # Area by area: the union of all triangles has the area of their sum, up to the sampling error of the borders.
    assert covered.sum(0).max() == 1
    inside = covered.sum() / covered[0].size
    assert abs(inside - signed_areas(layout.uv, layout.faces).sum()) < 5e-4


@pytest.mark.parametrize("island", range(len(ISLANDS)))
def test_borders_of_islands_do_not_cross(layout, island):
    # Without flips, a disc or ring whose border does not cross itself lies in the plane once.
    faces = layout.faces[layout.island == island]
    assert crossings(layout.uv, border_edges(faces)) == 0


def test_islands_keep_two_texels_apart(covered):
    for island, mine in enumerate(covered):
        others = np.delete(covered, island, axis=0).any(0)
        assert np.asarray(distance_transform_edt(~mine))[others].min() > 4.0


def test_right_mirrors_left(mesh, layout):
    of_vertex = {}
    for row, vertex in zip(layout.faces.ravel(), mesh.faces.ravel(), strict=True):
        of_vertex.setdefault(int(vertex), set()).add(tuple(np.round(layout.uv[row], 9)))
    for vertex, places in of_vertex.items():
        mirrored = {(round(1.0 - u, 9), v) for u, v in of_vertex[int(mesh.mirror[vertex])]}
        assert len(places) == len(mirrored)
        np.testing.assert_allclose(sorted(places), sorted(mirrored), atol=3e-9)
    left = mesh.vertices[mesh.faces, 0].sum(1) > 0
    assert layout.uv[layout.faces[left], 0].min() >= 0.5 - 1e-12


def test_the_seam_runs_up_the_nape_only(mesh, layout):
    skin = layout.island == 0
    pairs = np.unique(np.stack([mesh.faces[skin].ravel(), layout.faces[skin].ravel()], -1), axis=0)
    twice = np.flatnonzero(np.bincount(pairs[:, 0]) > 1)
    seam = mesh.vertices[twice]
    assert len(seam) > 10 and (np.abs(seam[:, 0]) < 1e-9).all()
    assert (seam[:, 2] < -5.0).all() and seam[:, 1].min() < -16.0


def test_eyeballs_lie_in_the_upper_corners(layout):
    for island, u in ((1, 0.94), (2, 0.06)):
        middle = layout.uv[layout.faces[layout.island == island]].mean((0, 1))
        np.testing.assert_allclose(middle, [u, 0.92], atol=2e-3)


def test_the_face_is_large_and_hardly_stretched(mesh, layout, in_face):
    # Measured: share of the texture 0.34, median 1.36, 95 % 1.8; texels per area within the face 0.73..1.14.
    areas = signed_areas(layout.uv, layout.faces)
    assert areas[in_face].sum() > 0.31
    assert areas[in_face].sum() > 0.37 * areas[layout.island == 0].sum()
    stretch = stretches(layout.uv, layout.faces, flat_corners(mesh.vertices, mesh.faces))
    face = stretch[in_face & (layout.island == 0)]
    narrow = face[:, 0] / face[:, 1]
    assert np.median(narrow) < 1.5 and np.percentile(narrow, 95) < 2.1
    density = face.prod(1) / np.median(face.prod(1))
    assert np.percentile(density, 5) > 0.6 and np.percentile(density, 95) < 1.35
    rest = stretch[~in_face & (layout.island == 0)]
    assert np.percentile(rest[:, 0] / rest[:, 1], 90) < 12.0


def test_is_the_same_every_time(mesh, layout):
    again = uv_layout(mesh)
    for name in ("uv", "faces", "island"):
        np.testing.assert_array_equal(getattr(again, name), getattr(layout, name))


@pytest.mark.parametrize("size", [64, 200, 512])
def test_texels_show_the_points_under_their_centres(layout, size):
    table = texel_table(layout.uv, layout.faces, size)
    rows, columns = np.nonzero(table.valid)
    at = np.einsum("nk,nkc->nc", table.barycentric, layout.uv[layout.faces[table.face_ids]])
    np.testing.assert_allclose(at[:, 0], (columns + 0.5) / size, atol=1e-9)
    np.testing.assert_allclose(at[:, 1], 1.0 - (rows + 0.5) / size, atol=1e-9)
    assert table.barycentric.min() > -1e-6
    np.testing.assert_allclose(table.barycentric.sum(1), 1.0, atol=1e-12)


def test_a_common_edge_belongs_to_the_triangle_with_the_smaller_id():
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    table = texel_table(uv, np.array([[0, 1, 2], [0, 2, 3]]), 4)
    assert table.valid.all()
    shown = table.face_ids.reshape(4, 4)[::-1]
    np.testing.assert_array_equal(shown, np.where(np.tri(4, 4, -1, dtype=bool), 1, 0))


def test_baking_positions_gives_them_back(mesh, layout):
    texture = bake(mesh, layout, lambda rest, part: np.column_stack([rest, part]), 128)
    table = texel_table(layout.uv, layout.faces, 128)
    rest, part = texels_on_head(table, mesh.vertices, mesh.faces, PART_OF_ISLAND[layout.island])
    assert texture.shape == (128, 128, 4)
    np.testing.assert_array_equal(texture[table.valid], np.column_stack([rest, part]))
    assert set(part) == {0, 1, 2, 3}


def test_texels_outside_repeat_the_nearest_inside():
    valid = np.zeros((5, 6), bool)
    valid[1, 1], valid[3, 5] = True, True
    rows = nearest_rows(valid)
    assert rows[0, 0] == rows[1, 2] == 0 and rows[4, 5] == rows[2, 5] == 1
    np.testing.assert_array_equal(rows[valid], [0, 1])


def random_disc(seed):
    """A bumpy sheet over a triangulated disc, and its border."""
    from scipy.spatial import Delaunay

    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(24) / 24
    border = np.stack([np.cos(angle), np.sin(angle)], -1)
    inner = rng.uniform(-0.7, 0.7, (120, 2))
    flat = np.concatenate([border, inner[np.hypot(*inner.T) < 0.85]])
    faces = Delaunay(flat).simplices
    faces = np.where((signed_areas(flat, faces) > 0)[:, None], faces, faces[:, ::-1])
    height = 0.8 * np.exp(-4 * (flat**2).sum(1)) + 0.2 * np.sin(5 * flat[:, 0])
    return np.column_stack([flat, height]), faces, np.arange(24), border


@pytest.mark.parametrize("seed", range(4))
def test_flattening_lowers_the_energy_without_flips(seed):
    points, faces, border, outline = random_disc(seed)
    circle = Outline((1.0, 1.0), (2.0, 2.0), stiffness=10.0)
    start = spread_inside(points, faces, border, outline)
    assert signed_areas(start, faces).min() > 0
    rest, weight = flat_corners(points, faces), np.ones(len(faces))
    free = np.ones(start.shape, bool)
    end = reduce_stretch(start, faces, rest, weight, free=free, border=border, outline=circle)
    assert signed_areas(end, faces).min() > 0

    def energy(flat):
        s = stretches(flat, faces, rest)
        return (s**2 + s**-2.0).sum() + circle.energy(flat[border])

    assert energy(end) < energy(start)
    # At the minimum no small step leads further down.
    rng = np.random.default_rng(seed)
    for _ in range(5):
        move = 1e-4 * rng.standard_normal(end.shape)
        assert energy(end + move) - energy(end - move) < 1e-3 * energy(end)


def test_the_outline_pulls_along_its_gradient():
    outline = Outline((2.0, 1.5), (3.0, 2.4), stiffness=3.0)
    points = np.random.default_rng(0).uniform(-2, 2, (20, 2))
    pull, _ = outline.newton(points)
    for axis in (0, 1):
        step = np.zeros(2)
        step[axis] = 1e-6
        slope = [(outline.energy(p[None] + step) - outline.energy(p[None] - step)) / 2e-6 for p in points]
        np.testing.assert_allclose(pull[:, axis], slope, rtol=1e-5, atol=1e-7)
    on = outline.at(np.linspace(0, 6, 50))
    assert outline.energy(on) < 1e-20
