"""Laws of the FLAME layer on a small random model in float64."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from flamehead.assets import LandmarkEmbedding
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.geometry.rotation import exp, log
from flamehead.model import Flame
from flamehead.model.lbs import pose_feature

BATCHES = [(), (3,), (2, 1)]
ROTATIONS = ("root", "neck", "jaw", "left_eye", "right_eye")
FIELDS = [field.name for field in dataclasses.fields(FlameParams)]


def _close(a, b, atol=1e-14):
    torch.testing.assert_close(a, b, rtol=0, atol=atol)


def _mapped(params, change):
    return FlameParams(*(change(getattr(params, name)) for name in FIELDS))


def test_zero_parameters_give_the_template(small_flame):
    out = small_flame(small_flame.zeros())
    _close(out.vertices, torch.from_numpy(small_flame.arrays.template), atol=1e-15)
    _close(out.joints, small_flame.joint_template, atol=1e-16)


@pytest.mark.parametrize("backend", ["reference", "numba"])
@pytest.mark.parametrize("batch", BATCHES)
def test_translation_shifts_everything(small_flame, random_params, batch, backend):
    params = random_params(small_flame, *batch)
    still = small_flame(dataclasses.replace(params, translation=torch.zeros_like(params.translation)), backend=backend)
    moved = small_flame(params, backend=backend)
    shift = params.translation[..., None, :]
    # The kernels begin their sums with the shift, so that the last bits differ.
    tolerance = 0.0 if backend == "reference" else 1e-15
    _close(moved.vertices, still.vertices + shift, atol=tolerance)
    _close(moved.joints, still.joints + shift, atol=tolerance)
    marks = [small_flame.landmarks(out.vertices, "ibug68") for out in (moved, still)]
    _close(marks[0], marks[1] + shift, atol=1e-15)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_root_turns_everything_about_its_joint(small_flame, random_params, batch):
    params = dataclasses.replace(random_params(small_flame, *batch), translation=torch.zeros(3, dtype=torch.float64))
    turned = small_flame(params)
    still = small_flame(dataclasses.replace(params, root=torch.zeros_like(params.root)))
    pivot, rotation = still.joints[..., :1, :], exp(params.root)
    _close(turned.vertices, (still.vertices - pivot) @ rotation.mT + pivot)
    _close(turned.joints, (still.joints - pivot) @ rotation.mT + pivot)
    marks = [small_flame.landmarks(out.vertices, "ibug68") for out in (turned, still)]
    _close(marks[0], (marks[1] - pivot) @ rotation.mT + pivot)


def test_shape_and_expression_are_linear(small_flame, random_params):
    def vertices(shape, expression):
        return small_flame(dataclasses.replace(small_flame.zeros(), shape=shape, expression=expression)).vertices

    a, b = random_params(small_flame, seed=1), random_params(small_flame, seed=2)
    base = small_flame(small_flame.zeros()).vertices
    both = vertices(a.shape + b.shape, a.expression + b.expression)
    _close(both - base, vertices(a.shape, a.expression) + vertices(b.shape, b.expression) - 2 * base)


@pytest.mark.parametrize(("eye", "rows"), [("left_eye", slice(40, 50)), ("right_eye", slice(50, 60))])
def test_an_eyeball_turns_rigidly(small_flame, random_params, eye, rows):
    params = random_params(small_flame)
    looks = small_flame(dataclasses.replace(params, **{eye: getattr(params, eye) + 0.4})).vertices[rows]
    before = small_flame(params).vertices[rows]
    assert (looks - before).abs().max() > 1e-3
    _close(torch.cdist(looks, looks), torch.cdist(before, before))


def test_which_rotation_moves_which_joint(small_flame, random_params):
    params = random_params(small_flame)
    before = small_flame(params).joints
    moved = {"root": [1, 2, 3, 4], "neck": [2, 3, 4], "jaw": [], "left_eye": [], "right_eye": []}
    for name, joints in moved.items():
        after = small_flame(dataclasses.replace(params, **{name: getattr(params, name) + 0.3})).joints
        change = (after - before).norm(dim=-1)
        assert [j for j in range(5) if change[j] > 1e-4] == joints
        assert all(change[j] < 1e-15 for j in range(5) if j not in joints)


def test_the_root_drives_no_pose_correctives(small_flame, random_params):
    params = random_params(small_flame, 3)
    root_only = dataclasses.replace(small_flame.zeros((3,)), root=params.root)
    assert not pose_feature(exp(root_only.pose)).any()
    others = dataclasses.replace(params, root=torch.zeros_like(params.root))
    assert torch.equal(pose_feature(exp(params.pose)), pose_feature(exp(others.pose)))


def test_joints_follow_identity_and_expression(small_flame, random_params):
    params = random_params(small_flame)
    rest = dataclasses.replace(small_flame.zeros(), shape=params.shape, expression=params.expression)
    out = small_flame(rest)
    _close(out.joints, torch.from_numpy(small_flame.arrays.joint_regressor) @ out.vertices)


@pytest.mark.parametrize("batch", [(3,), (2, 1), (2, 2)])
def test_a_batch_is_its_single_heads(small_flame, random_params, batch):
    params = random_params(small_flame, *batch)
    out = small_flame(params)
    assert out.vertices.shape == (*batch, 60, 3) and out.joints.shape == (*batch, 5, 3)
    for index in np.ndindex(*batch):
        one = small_flame(_mapped(params, lambda x, index=index: x[index]))
        _close(out.vertices[index], one.vertices)
        _close(out.joints[index], one.joints)


def test_permuting_the_batch_permutes_the_output(small_flame, random_params):
    params, order = random_params(small_flame, 4), torch.tensor([2, 0, 3, 1])
    _close(small_flame(_mapped(params, lambda x: x[order])).vertices, small_flame(params).vertices[order])


@pytest.mark.parametrize("single", FIELDS)
def test_fields_broadcast(small_flame, random_params, single):
    params, one = random_params(small_flame, 2, 3), random_params(small_flame, seed=4)
    mixed = dataclasses.replace(params, **{single: getattr(one, single)})
    full = dataclasses.replace(params, **{single: getattr(one, single).expand(2, 3, -1)})
    _close(small_flame(mixed).vertices, small_flame(full).vertices)
    _close(small_flame(mixed).joints, small_flame(full).joints)
    alone = dataclasses.replace(one, **{single: getattr(params, single)})
    assert small_flame(alone).vertices.shape == (2, 3, 60, 3)
    assert small_flame(alone).joints.shape == (2, 3, 5, 3)


@pytest.mark.parametrize(("n_shape", "n_expression"), [(7, 5), (4, 2), (0, 5), (7, 0)])
def test_missing_coefficients_are_zero(small_flame, random_params, n_shape, n_expression):
    params = random_params(small_flame, 2)
    short = dataclasses.replace(params, shape=params.shape[:, :n_shape], expression=params.expression[:, :n_expression])
    padded = dataclasses.replace(
        params,
        shape=torch.nn.functional.pad(short.shape, (0, 7 - n_shape)),
        expression=torch.nn.functional.pad(short.expression, (0, 5 - n_expression)),
    )
    _close(small_flame(short).vertices, small_flame(padded).vertices)
    _close(small_flame(short).joints, small_flame(padded).joints)


@pytest.mark.parametrize("name", ROTATIONS)
def test_whole_turns_change_nothing(small_flame, random_params, name):
    params = random_params(small_flame, 3)
    r = getattr(params, name)
    longer = dataclasses.replace(params, **{name: r * (1 + 2 * math.pi / r.norm(dim=-1, keepdim=True))})
    _close(small_flame(longer).vertices, small_flame(params).vertices, atol=1e-13)
    through = dataclasses.replace(params, **{name: log(exp(r))})
    _close(small_flame(through).vertices, small_flame(params).vertices, atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_gradients(small_flame, random_params, scale):
    params = _mapped(random_params(small_flame), lambda x: (scale * x).requires_grad_())

    def run(*values):
        out = small_flame(FlameParams(*values))
        return out.vertices[::7], out.joints, small_flame.landmarks(out.vertices, "ibug68")

    values = [getattr(params, name) for name in FIELDS]
    assert torch.autograd.gradcheck(run, values)
    poses = values[2:7]
    assert torch.autograd.gradgradcheck(lambda *p: run(*values[:2], *p, values[7])[1], poses)


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # Raised inside torch.func.
def test_forward_mode_and_vmap_agree_with_autograd(small_flame, random_params):
    params = random_params(small_flame)

    def run(pose):
        rows = dict(zip(ROTATIONS, pose.unbind(-2), strict=True))
        return small_flame(dataclasses.replace(params, **rows)).vertices

    forward = torch.func.jacfwd(run)(params.pose)
    _close(forward, torch.func.jacrev(run)(params.pose))
    poses = random_params(small_flame, 4, seed=8).pose
    _close(torch.func.vmap(run)(poses), run(poses))


def test_compiles_as_one_graph(small_flame, random_params):
    params = random_params(small_flame, 2)
    compiled = torch.compile(small_flame, backend="aot_eager", fullgraph=True)
    out = compiled(params)
    _close(out.vertices, small_flame(params).vertices)
    _close(out.joints, small_flame(params).joints)
    marks = torch.compile(lambda v: small_flame.landmarks(v, "ibug68"), backend="aot_eager", fullgraph=True)
    _close(marks(out.vertices), small_flame.landmarks(out.vertices, "ibug68"))


@pytest.mark.parametrize("batch", BATCHES)
def test_landmarks_ride_on_their_triangles(small_flame, random_params, batch):
    vertices = small_flame(random_params(small_flame, *batch)).vertices
    embedding = small_flame.embeddings["ibug68"]
    corners = vertices[..., small_flame.arrays.faces[embedding.face_ids], :]
    wanted = torch.einsum("...lkc,lk->...lc", corners, torch.from_numpy(embedding.barycentric))
    _close(small_flame.landmarks(vertices, "ibug68"), wanted)


def test_the_layer_does_not_touch_or_share_the_arrays(small_arrays):
    flame = Flame(small_arrays, dtype=torch.float64)
    flame.template.add_(1.0)
    flame.faces.add_(1)
    assert abs(small_arrays.template).max() < 0.2 and small_arrays.faces.max() < 60


def test_dtype_follows_the_module(small_arrays, random_params):
    flame = Flame(small_arrays)
    assert flame.zeros((2,)).shape.shape == (2, 7) and flame.zeros().root.dtype == torch.float32
    assert flame(flame.zeros()).vertices.dtype == torch.float32
    doubled = Flame(small_arrays).double()
    assert doubled(random_params(doubled)).vertices.dtype == torch.float64
    assert flame.faces.dtype == torch.int64 and not flame.state_dict()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_agrees_with_the_cpu(small_flame, small_arrays, random_params):
    params = random_params(small_flame, 2)
    on_gpu = Flame(small_arrays, embeddings=small_flame.embeddings, dtype=torch.float64, device="cuda")
    out = on_gpu(params.to(device="cuda"))
    assert out.vertices.is_cuda
    _close(out.vertices.cpu(), small_flame(params).vertices)
    assert on_gpu.landmarks(out.vertices, "ibug68").is_cuda


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": torch.zeros(8, dtype=torch.float64)}, ["shape", "(8,)", "7 shape coefficients"]),
        ({"expression": torch.zeros(2, 6, dtype=torch.float64)}, ["expression", "(2, 6)", "5 expression"]),
        ({"jaw": torch.zeros(4, dtype=torch.float64)}, ["jaw", "(4,)", "(*batch, 3)"]),
        ({"translation": torch.tensor(0.0, dtype=torch.float64)}, ["translation", "()"]),
        ({"neck": torch.zeros(3)}, ["neck", "float32", "float64", ".to("]),
        ({"root": torch.zeros(2, 3, dtype=torch.float64), "jaw": torch.zeros(4, 3, dtype=torch.float64)}, ["(2,)"]),
    ],
)
def test_wrong_parameters_get_one_sentence(small_flame, change, words):
    with pytest.raises(InputError) as caught:
        small_flame(dataclasses.replace(small_flame.zeros(), **change))
    assert all(word in str(caught.value) for word in words)


def test_unknown_landmarks_and_foreign_embeddings_are_named(small_flame, small_arrays):
    with pytest.raises(InputError, match=r"'mediapipe105'.*ibug68"):
        small_flame.landmarks(small_flame.template, "mediapipe105")
    foreign = {"ibug68": LandmarkEmbedding(np.array([80]), np.ones((1, 3)) / 3)}
    with pytest.raises(InputError, match=r"triangle 80.*80 triangles"):
        Flame(small_arrays, embeddings=foreign)
