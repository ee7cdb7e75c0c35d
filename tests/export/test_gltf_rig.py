"""A GLB rig does what the model does: evaluated by the glTF specification, without any of the package's own code."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flamehead.assets import FlameArrays
from flamehead.errors import InputError
from flamehead.export import build_rig, joint_shift, motion_of, write_gltf_rig
from flamehead.io import UvMap
from flamehead.model import Flame

MILLIMETRE = 1e-3
TIMES = np.array([0.0, 0.04, 0.08, 0.12, 0.2, 0.24, 0.28, 0.32, 0.36, 0.4, 0.44, 0.48])


def plain(flame):
    """The model with its pose correctives off."""
    arrays = replace(flame.arrays, pose_basis=np.zeros_like(flame.arrays.pose_basis))
    return Flame(arrays)


def frame(params, k):
    return replace(params, **{name: getattr(params, name)[k] for name in params.__dataclass_fields__})


def largest(vertices, file, time=None):
    """The largest distance between the file and the model's vertices, metres."""
    return np.abs(file.vertices(time) - vertices.numpy()[file.flame_rows]).max()


@pytest.fixture(scope="module")
def layout():
    from flamehead.builtin import builtin_head

    head = builtin_head()
    picture = np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)
    return UvMap(head.uv, head.uv_faces, picture)


@pytest.fixture(scope="module")
def animated(flame, moving, layout, tmp_path_factory):
    path = tmp_path_factory.mktemp("rig") / "talk.glb"
    rig = build_rig(flame, moving)
    write_gltf_rig(path, rig, motion_of(rig, moving, times=TIMES), uv_map=layout)
    return path


@pytest.mark.parametrize("correctives", [False, True])
def test_a_still_head_is_the_models(flame, moving, tmp_path, read_gltf, correctives):
    params = frame(moving, 7)
    rig = build_rig(flame, params, correctives=correctives)
    write_gltf_rig(tmp_path / "head.glb", rig, motion_of(rig, params))
    model = flame if correctives else plain(flame)
    file = read_gltf(tmp_path / "head.glb")
    assert "animations" not in file.document
    assert largest(model(params).vertices, file) < 1e-3 * MILLIMETRE


@pytest.mark.parametrize("correctives", [False, True])
def test_an_animation_is_the_models_in_every_frame(flame, moving, tmp_path, read_gltf, correctives):
    rig = build_rig(flame, moving, correctives=correctives)
    write_gltf_rig(tmp_path / "talk.glb", rig, motion_of(rig, moving, times=TIMES))
    file = read_gltf(tmp_path / "talk.glb")
    vertices = (flame if correctives else plain(flame))(moving).vertices
    for k, time in enumerate(TIMES):
        assert largest(vertices[k], file, float(np.float32(time))) < 1e-3 * MILLIMETRE


def test_turning_joints_by_hand_needs_only_the_drivers(flame, moving, tmp_path, read_gltf):
    """What an animator does: joints of the neutral rig turned, and correctives by the formula that extras name."""
    file = neutral(flame, moving, tmp_path, read_gltf)
    params = replace(frame(moving, 9), root=torch.zeros(3), translation=torch.zeros(3))
    still = replace(params, expression=torch.zeros(flame.n_expression))
    assert largest(flame(still).vertices, driven(file, still)) < 1e-3 * MILLIMETRE


def test_expressions_on_turned_joints_stay_within_the_stated_bound(flame, moving, tmp_path, read_gltf):
    """Expressions move FLAME's joints, which a skeleton posed by hand cannot follow; docs/rigs.md states how far."""
    file = neutral(flame, moving, tmp_path, read_gltf)
    generator = torch.Generator().manual_seed(3)

    def turned(*degrees):
        return torch.deg2rad(torch.tensor(degrees)) * (2 * torch.rand(3, generator=generator) - 1)

    for neck, bound in [(30.0, 0.5 * MILLIMETRE), (0.0, 0.1 * MILLIMETRE)]:
        for _ in range(6):
            expression = torch.zeros(flame.n_expression)
            expression[torch.randperm(44, generator=generator)[:8]] = torch.rand(8, generator=generator)
            posed = replace(
                flame.zeros(),
                shape=moving.shape[0],
                expression=expression,
                neck=turned(0.7 * neck, neck, 0.5 * neck),
                jaw=turned(20.0, 3.0, 1.0).abs(),
                left_eye=turned(20.0, 30.0, 0.0),
                right_eye=turned(20.0, 30.0, 0.0),
            )
            assert largest(flame(posed).vertices, driven(file, posed)) < bound


def neutral(flame, params, folder, read_gltf):
    """The rig of a person at rest."""
    rest = replace(flame.zeros(), shape=params.shape[0])
    rig = build_rig(flame, rest)
    write_gltf_rig(folder / "rest.glb", rig, motion_of(rig, rest))
    return read_gltf(folder / "rest.glb")


def driven(file, params):
    """The file with joints and expressions set as an animator would, and the drivers applied as documented."""
    from flamehead.geometry.rotation import exp, to_quaternion

    document = json.loads(json.dumps(file.document))
    nodes = {node["name"]: node for node in document["nodes"]}
    turns = dict(zip(("root", "neck", "jaw", "left_eye", "right_eye"), exp(params.pose.double()), strict=True))
    for name, turn in turns.items():
        nodes[name]["rotation"] = to_quaternion(turn)[[1, 2, 3, 0]].tolist()
    mesh, about = document["meshes"][0], nodes["head"]["extras"]["flamehead"]
    targets = mesh["extras"]["targetNames"]
    for name, row in about["expressions"].items():
        mesh["weights"][targets.index(name)] = float(params.expression[row])
    for driver in about["drivers"]:
        row, column = driver["row"], driver["column"]
        weight = turns[driver["joint"]][row, column] - (1.0 if row == column else 0.0)
        mesh["weights"][targets.index(driver["target"])] = float(weight)
    return replace(file, document=document)


def test_between_frames_the_animation_stays_near_the_model(flame, moving, animated, read_gltf):
    """Half way between frames the model at half way parameters is met to a tenth of the frames' own distance."""
    file = read_gltf(animated)
    first, second = frame(moving, 5), frame(moving, 6)
    middle = {n: (getattr(first, n) + getattr(second, n)) / 2 for n in first.__dataclass_fields__}
    vertices = flame(replace(first, **middle)).vertices
    step = (flame(second).vertices - flame(first).vertices).abs().max()
    assert largest(vertices, file, (TIMES[5] + TIMES[6]) / 2) < 0.1 * step


def test_five_influences_take_a_second_set(moving, tmp_path, read_gltf):
    flame = Flame(random_arrays(np.random.default_rng(2)))
    params = replace(flame.zeros(), expression=torch.ones(3), jaw=torch.tensor([0.4, 0.1, 0.0]))
    rig = build_rig(flame, params)
    assert [morph.name for morph in rig.expressions] == ["expression_000", "expression_001", "expression_002"]
    write_gltf_rig(tmp_path / "five.glb", rig, motion_of(rig, params))
    file = read_gltf(tmp_path / "five.glb")
    assert "WEIGHTS_1" in file.document["meshes"][0]["primitives"][0]["attributes"]
    assert largest(flame(params).vertices, file) < 1e-3 * MILLIMETRE


def random_arrays(rng):
    """A small model in which every vertex follows all five joints."""
    count = 40
    regressor = rng.random((5, count))
    weights = rng.random((count, 5)) + 0.05
    return FlameArrays(
        template=rng.normal(size=(count, 3)) * 0.1,
        faces=rng.integers(0, count, (60, 3)),
        shape_basis=rng.normal(size=(count, 3, 4)) * 0.01,
        expression_basis=rng.normal(size=(count, 3, 3)) * 0.01,
        pose_basis=rng.normal(size=(count, 3, 36)) * 0.01,
        skin_weights=weights / weights.sum(1, keepdims=True),
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        parents=(-1, 0, 1, 1, 1),
        fingerprint="random",
        source="random model",
    )


def test_eyelids_and_offsets_are_the_models(flame, tmp_path, read_gltf):
    lids, offsets = np.array([0.7, 0.2]), 0.002 * np.random.default_rng(1).normal(size=(5023, 3))
    params = replace(flame.zeros(), jaw=torch.tensor([0.2, 0.0, 0.0]))
    rig = build_rig(flame, params, eyelids=True, offsets=offsets)
    write_gltf_rig(tmp_path / "lids.glb", rig, motion_of(rig, params, eyelids=lids))
    wanted = flame(
        params, eyelids=torch.tensor(lids).float(), frame_offsets=torch.tensor(offsets).float(), backend="reference"
    )
    assert largest(wanted.vertices, read_gltf(tmp_path / "lids.glb")) < 1e-3 * MILLIMETRE


def test_the_file_says_whose_it_is_and_what_its_targets_are(flame, animated, read_gltf):
    document = read_gltf(animated).document
    about = document["nodes"][0]["extras"]["flamehead"]
    names = document["meshes"][0]["extras"]["targetNames"]
    assert about["fingerprint"] == flame.fingerprint
    assert names[:2] == ["blink_left", "blink_right"] and "pose_jaw_12" in names
    assert len(names) == len(set(names)) == len(document["meshes"][0]["weights"])
    assert about["neutral_weights"] == [0.0] * len(names)
    assert [node.get("name") for node in document["nodes"]] == ["head", "root", "neck", "jaw", "left_eye", "right_eye"]
    assert "extensionsUsed" not in document and document["images"][0]["mimeType"] == "image/png"


def test_times_are_the_tracks(animated, read_gltf):
    file = read_gltf(animated)
    sampler = file.document["animations"][0]["samplers"][0]
    np.testing.assert_allclose(file.accessor(sampler["input"]), TIMES, atol=1e-7)


def test_rotations_take_the_short_way(flame, moving):
    rotations = motion_of(build_rig(flame, moving), moving).rotations
    assert ((rotations[1:] * rotations[:-1]).sum(-1) > 0).all()
    np.testing.assert_allclose(np.linalg.norm(rotations, axis=-1), 1.0)


def test_expressions_move_the_joints_by_less_than_a_millimetre(flame, moving):
    rig = build_rig(flame, moving)
    assert 0 < joint_shift(rig, motion_of(rig, moving)).max() < MILLIMETRE


def test_weights_and_normals_are_unit(flame, animated, read_gltf):
    file = read_gltf(animated)
    attributes = file.document["meshes"][0]["primitives"][0]["attributes"]
    np.testing.assert_allclose(file.accessor(attributes["WEIGHTS_0"]).sum(1), 1.0, atol=2e-7)
    np.testing.assert_allclose(np.linalg.norm(file.accessor(attributes["NORMAL"]), axis=1), 1.0, atol=1e-6)


def test_texture_coordinates_count_from_the_top(animated, layout, read_gltf):
    file = read_gltf(animated)
    primitive = file.document["meshes"][0]["primitives"][0]
    uv = file.accessor(primitive["attributes"]["TEXCOORD_0"])[file.accessor(primitive["indices"])]
    np.testing.assert_allclose(uv, layout.uv[layout.faces.reshape(-1)] * [1, -1] + [0, 1], atol=1e-6)


def test_other_loaders_read_it(animated):
    pygltflib = pytest.importorskip("pygltflib")
    read = pygltflib.GLTF2().load_binary(str(animated))
    assert len(read.skins[0].joints) == 5 and len(read.animations[0].channels) >= 7


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"times": np.zeros(12)}, "increasing"),
        ({"times": np.arange(11.0)}, "12 increasing numbers"),
        ({"eyelids": np.ones((12, 2))}, "eyelids=True"),
    ],
)
def test_wrong_motions_are_refused(flame, moving, change, said):
    with pytest.raises(InputError, match=said):
        motion_of(build_rig(flame, moving), moving, **change)


def test_wrong_rigs_are_refused(flame, moving, layout, tmp_path):
    two = replace(moving, shape=torch.randn(12, flame.n_shape))
    with pytest.raises(InputError, match="different identities"):
        build_rig(flame, two)
    with pytest.raises(InputError, match="give 0 to 100"):
        build_rig(flame, moving, expressions=101)
    with pytest.raises(InputError, match="which the rig does not have"):
        motion_of(build_rig(flame, flame.zeros(), expressions=3), moving)
    rig = build_rig(flame, flame.zeros())
    wrong = UvMap(layout.uv, layout.faces[:-1])
    with pytest.raises(InputError, match="UV layout of this mesh"):
        write_gltf_rig(tmp_path / "x.glb", rig, motion_of(rig, flame.zeros()), uv_map=wrong)
    assert not list(tmp_path.iterdir())


@pytest.mark.node("gltf-validator")
def test_the_khronos_validator_finds_nothing(animated, flame, tmp_path, node_modules):
    rig = build_rig(flame, flame.zeros())
    write_gltf_rig(tmp_path / "rest.glb", rig, motion_of(rig, flame.zeros()), colors=flame.colors)
    five = Flame(random_arrays(np.random.default_rng(2)))
    rig = build_rig(five, five.zeros())
    write_gltf_rig(tmp_path / "five.glb", rig, motion_of(rig, five.zeros()))
    for path in (animated, tmp_path / "rest.glb", tmp_path / "five.glb"):
        issues = validated(path, node_modules)
        assert issues["numErrors"] == 0 and issues["numWarnings"] == 0, issues["messages"]


def validated(path, node_modules):
    """What the Khronos validator says of a file."""
    code = (
        "const [modules, file] = process.argv.slice(1);"
        "const validator = require(modules + '/gltf-validator');"
        "validator.validateBytes(new Uint8Array(require('fs').readFileSync(file)))"
        ".then(report => console.log(JSON.stringify(report.issues)));"
    )
    node = shutil.which("node")
    assert node is not None
    done = subprocess.run(
        [node, "-e", code, str(node_modules), str(Path(path))], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)
