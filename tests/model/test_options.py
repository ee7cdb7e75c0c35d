"""What a head can be asked for besides its parameters: rotations, identities, subsets, eyelids, offsets, contour."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from flamehead.assets import LandmarkEmbedding
from flamehead.assets.model_file import ContourEmbedding
from flamehead.builtin import builtin_head
from flamehead.errors import InputError
from flamehead.geometry.rotation import exp, matrices, to_6d, to_quaternion
from flamehead.model import Flame, contour_rows, from_camera, head_turn, load_flame

BATCHES = [(), (3,), (2, 1)]
CAMERA = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""Rotation world to camera (OpenCV) that looks at the face of an unturned head."""


def _close(a, b, atol=1e-14):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def _without_shape(params):
    return dataclasses.replace(params, shape=params.shape[..., :0])


def _noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(12)) / 100


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("kind", ["axis_angle", "6d", "matrix", "quaternion"])
def test_rotations_written_in_any_way_pose_the_same_head(small_flame, random_params, batch, kind):
    params = random_params(small_flame, *batch)
    rotation = exp(params.pose)
    written = {"axis_angle": params.pose, "6d": to_6d(rotation), "quaternion": to_quaternion(rotation)}
    turned = matrices(written.get(kind, rotation), kind)
    still = dataclasses.replace(small_flame.zeros(), **{n: getattr(params, n) for n in ("shape", "expression")})
    still = dataclasses.replace(still, translation=params.translation)
    out, wanted = small_flame(still, rotations=turned), small_flame(params)
    _close(out.vertices, wanted.vertices)
    _close(out.joints, wanted.joints)


@pytest.mark.parametrize("batch", BATCHES)
def test_an_identity_built_in_changes_nothing(small_flame, random_params, batch):
    params = random_params(small_flame, *batch)
    person = small_flame.with_identity(params.shape)
    assert person.n_shape == 0 and person.zeros((2,)).shape.shape == (2, 0)
    out, wanted = person(_without_shape(params)), small_flame(params)
    _close(out.vertices, wanted.vertices)
    _close(out.joints, wanted.joints)
    posed = small_flame.with_identity(params.shape, expression=params.expression)
    assert posed.n_expression == 0
    bare = dataclasses.replace(_without_shape(params), expression=params.expression[..., :0])
    _close(posed(bare).vertices, wanted.vertices)
    few = small_flame.with_identity(params.shape[..., :3])(_without_shape(params))
    _close(few.vertices, small_flame(dataclasses.replace(params, shape=params.shape[..., :3])).vertices)


@pytest.mark.parametrize("batch", BATCHES)
def test_a_subset_is_rows_of_the_whole(small_flame, random_params, batch):
    params, ids = random_params(small_flame, *batch), [59, 0, 7, 7]
    out, wanted = small_flame.subset(ids)(params), small_flame(params)
    _close(out.vertices, wanted.vertices[..., ids, :])
    _close(out.joints, wanted.joints)
    person = small_flame.with_identity(params.shape).subset(np.array(ids))
    _close(person(_without_shape(params)).vertices, wanted.vertices[..., ids, :])


@pytest.mark.parametrize("batch", BATCHES)
def test_landmarks_without_the_mesh(small_flame, random_params, batch):
    params = random_params(small_flame, *batch)
    wanted = small_flame(params)
    marks = small_flame.landmarks(wanted.vertices, "ibug68")
    model = small_flame.landmark_model("ibug68")
    assert len(model.vertex_ids) <= 12 and model.zeros().shape.shape == (7,)
    for backend in ("numba", "reference"):
        out = model(params, backend=backend)
        _close(out.points, marks)
        _close(out.joints, wanted.joints)
    person = small_flame.landmark_model("ibug68", head=small_flame.with_identity(params.shape))
    _close(person(_without_shape(params)).points, marks)


def test_offsets_of_a_person_move_the_joints_and_those_of_a_frame_do_not(small_flame, random_params):
    params, offsets = random_params(small_flame, 2), _noise(60, 3)
    rest = dataclasses.replace(small_flame.zeros(), shape=params.shape)
    plain = small_flame(rest)
    static, frame = small_flame(rest, offsets=offsets), small_flame(rest, frame_offsets=offsets)
    _close(static.vertices, plain.vertices + offsets)
    _close(frame.vertices, plain.vertices + offsets)
    regressor = torch.from_numpy(small_flame.arrays.joint_regressor)
    _close(static.joints, plain.joints + regressor @ offsets)
    _close(frame.joints, plain.joints)
    # The same head, were the offsets part of its template.
    moved = dataclasses.replace(small_flame.arrays, template=small_flame.arrays.template + offsets.numpy())
    out, wanted = small_flame(params, offsets=offsets), Flame(moved, dtype=torch.float64)(params)
    _close(out.vertices, wanted.vertices)
    _close(out.joints, wanted.joints)
    person = small_flame.with_identity(params.shape, offsets=offsets)
    _close(person(_without_shape(params)).vertices, wanted.vertices)
    _close(person.subset([5])(_without_shape(params)).vertices, wanted.vertices[:, [5]])


def test_eyelids_before_and_after_skinning(lidded_flame, random_params):
    params, lids = random_params(lidded_flame, 2), torch.tensor([[0.5, 0.0], [0.2, 1.0]], dtype=torch.float64)
    fields = lidded_flame.eyelid_basis.unflatten(-1, (-1, 3))
    moved = (lids[:, :, None, None] * fields).sum(1)
    plain = lidded_flame(params)
    after = lidded_flame(params, eyelids=lids, eyelids_after_skinning=True)
    _close(after.vertices, plain.vertices + moved)
    before = lidded_flame(params, eyelids=lids)
    _close(before.vertices, lidded_flame(params, frame_offsets=moved).vertices)
    _close(before.joints, plain.joints)
    rest = lidded_flame.zeros((2,))
    still = [lidded_flame(rest, eyelids=lids, eyelids_after_skinning=late).vertices for late in (True, False)]
    _close(*still)


@pytest.mark.parametrize(
    ("degrees", "row"),
    [(0.3, 0), (0.7, 1), (7.2, 7), (39.3, 39), (85, 39), (-0.7, 40), (-7.2, 46), (-38.3, 77), (-39.3, 78), (-85, 78)],
)
def test_rows_of_the_contour(degrees, row):
    turn = exp(torch.tensor([0.0, math.radians(degrees), 0.0], dtype=torch.float64))
    assert int(contour_rows(turn)) == row
    assert int(contour_rows(exp(torch.tensor([0.0, -math.radians(degrees), 0.0])), sign=-1)) == row
    # Through a camera in front of the face, whatever way its y axis points, the sign is settled.
    assert int(contour_rows(from_camera(CAMERA, turn))) == row
    assert int(contour_rows(CAMERA @ turn, sign=-1)) == row


def test_the_camera_turns_the_contour_like_the_head(lidded_flame, random_params):
    vertices = lidded_flame(random_params(lidded_flame, 2)).vertices
    yaw = exp(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    turned = lidded_flame.contour(vertices, yaw)
    seen = lidded_flame.contour(vertices, torch.eye(3, dtype=torch.float64), camera=CAMERA @ yaw)
    assert turned.shape == (2, 17, 3)
    assert torch.equal(turned, seen)
    rows = contour_rows(yaw).expand(2)
    faces = lidded_flame.contour_corners[rows]
    corners = torch.stack([vertices[i][faces[i]] for i in range(2)])
    _close(turned, (corners * lidded_flame.contour_weights[rows][..., None]).sum(-2))


def test_each_head_of_a_batch_has_its_own_row(lidded_flame, random_params):
    vertices = lidded_flame(random_params(lidded_flame, 3)).vertices
    turns = exp(torch.tensor([[0.0, a, 0.0] for a in (-0.5, 0.0, 0.3)], dtype=torch.float64))
    together = lidded_flame.contour(vertices, turns)
    for i in range(3):
        _close(together[i], lidded_flame.contour(vertices[i], turns[i]), atol=0)
    compiled = torch.compile(lidded_flame.contour, backend="aot_eager", fullgraph=True)
    _close(compiled(vertices, turns), together, atol=1e-15)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_the_contour_without_the_mesh(small_arrays, lidded_flame, random_params, batch, backend):
    embedding = LandmarkEmbedding(np.array([0, 5, 9]), np.full((3, 3), 1 / 3))
    contour = lidded_flame.contour_table
    flame = Flame(small_arrays, embeddings={"ibug51": embedding}, contour=contour, dtype=torch.float64)
    params, yaw = random_params(flame, *batch), exp(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    model = flame.landmark_model("ibug51", contour=True)
    out, whole = model(params, camera=CAMERA @ yaw, backend=backend), flame(params)
    turn = head_turn(exp(params.pose))
    jaw = flame.contour(whole.vertices, turn, camera=CAMERA @ yaw)
    _close(out.points, torch.cat([jaw, flame.landmarks(whole.vertices, "ibug51")], dim=-2))
    _close(out.joints, whole.joints)
    like_smplx = model(params, rotations=exp(params.pose), sign=-1, chain="root", backend=backend).points[..., :17, :]
    _close(like_smplx, flame.contour(whole.vertices, head_turn(exp(params.pose), chain="root"), sign=-1))
    shape = params.shape.clone().requires_grad_()
    person = flame.landmark_model("ibug51", head=flame.with_identity(shape), contour=True)
    person(_without_shape(params)).points.sum().backward()
    assert torch.isfinite(shape.grad).all() and shape.grad.abs().max() > 0


def test_the_chain_follows_root_and_neck_or_the_root_alone(random_params, small_flame):
    rotations = exp(random_params(small_flame, 4).pose)
    _close(head_turn(rotations), rotations[:, 0] @ rotations[:, 1])
    assert torch.equal(head_turn(rotations, chain="root"), rotations[:, 0])


def test_the_built_in_head_has_eyelids_and_a_contour():
    flame, head = load_flame(dtype=torch.float64), builtin_head()
    rest = flame.zeros()
    shut = flame(rest, eyelids=torch.ones(2, dtype=torch.float64)).vertices - flame.template
    _close(shut, torch.from_numpy(head.eyelids.sum(0)), atol=1e-9)
    jaw = flame.contour(flame.template, torch.eye(3, dtype=torch.float64))
    corners = head.arrays.template[head.arrays.faces[head.contour_faces[0]]]
    _close(jaw, torch.from_numpy((corners * head.contour_barycentric[0][..., None]).sum(1)), atol=1e-9)
    full = flame.landmarks(flame.template, "ibug68")[:17]
    assert (jaw - full).norm(dim=-1).max() > 1e-3  # Row 0 and the fixed contour are different points.
    assert load_flame(teeth=True).eyelid_basis is not None


def test_contour_rows_r_and_r_plus_39_are_mirror_images():
    flame = load_flame(dtype=torch.float64)

    def points(degrees):
        turn = exp(torch.tensor([0.0, math.radians(degrees), 0.0], dtype=torch.float64))
        return flame.contour(flame.template, turn)

    mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)
    for degrees in (1, 10, 25, 39):
        there, back = points(degrees), points(-degrees).flip(0) * mirror
        assert (there - back).norm(dim=-1).max() < 2e-3


def test_mirroring_the_template_permutes_its_vertices():
    template = torch.from_numpy(builtin_head().arrays.template)
    distance, twin = torch.cdist(template, template * torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)).min(-1)
    assert distance.max() < 1e-6
    assert torch.equal(twin[twin], torch.arange(len(twin)))


def test_region_masks_choose_triangles(small_flame, small_arrays):
    flame = Flame(small_arrays, regions={"part": np.arange(30)}, dtype=torch.float64)
    faces = flame.region_faces("part")
    inside = np.isin(small_arrays.faces, np.arange(30)).all(1)
    assert faces.tolist() == np.flatnonzero(inside).tolist()
    with pytest.raises(InputError, match=r"no region 'ears'.*part"):
        flame.region_faces("ears")


def test_wrong_options_get_one_sentence(small_flame, lidded_flame):
    rest, eye = lidded_flame.zeros(), torch.eye(3, dtype=torch.float64)
    with pytest.raises(InputError, match=r"no eyelids.*l_eyelid.npy"):
        small_flame(rest, eyelids=torch.zeros(2, dtype=torch.float64))
    with pytest.raises(InputError, match=r"eyelids has shape \(3,\), wanted \(\*batch, 2\)"):
        lidded_flame(rest, eyelids=torch.zeros(3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"rotations has shape \(3, 3\), wanted matrices \(\*batch, 5, 3, 3\)"):
        lidded_flame(rest, rotations=eye)
    with pytest.raises(InputError, match=r"with_identity\(shape, offsets=...\)"):
        lidded_flame.subset([0])(rest, offsets=torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"offsets has shape \(59, 3\), wanted \(\*batch, 60, 3\)"):
        lidded_flame(rest, offsets=torch.zeros(59, 3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"frame_offsets has shape \(59, 3\)"):
        lidded_flame(rest, frame_offsets=torch.zeros(59, 3, dtype=torch.float64))
    with pytest.raises(InputError, match=r"vertex ids from 0 to 59"):
        lidded_flame.subset([60])
    with pytest.raises(InputError, match=r"no sliding contour.*landmark_embedding.npy"):
        small_flame.contour(rest, eye)
    with pytest.raises(InputError, match=r"no sliding contour"):
        small_flame.landmark_model("ibug68", contour=True)
    with pytest.raises(InputError, match=r"shape has shape \(8,\)"):
        lidded_flame.with_identity(torch.zeros(8, dtype=torch.float64))
    with pytest.raises(InputError, match=r"'ibug51'.*none"):
        lidded_flame.landmark_model("ibug51")
    with pytest.raises(InputError, match=r"eyelids has shape \(1, 60, 3\), wanted \(2, 60, 3\)"):
        Flame(small_flame.arrays, eyelids=np.zeros((1, 60, 3)))
    with pytest.raises(InputError, match=r"'contour' use triangle 99"):
        Flame(small_flame.arrays, contour=ContourEmbedding(np.full((79, 17), 99), np.zeros((79, 17, 3))))
