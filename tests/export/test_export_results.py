"""`flamehead export`: fits and tracks to files of other programs."""

import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.cli import main
from flamehead.data import Camera, FlameParams, Track
from flamehead.io import read_mesh, save_params, save_track, write_image, write_textured_obj

COUNT = 3


def camera_of(count):
    def rows(value):
        return value.expand(count, *value.shape) if count else value

    fields = rows(torch.eye(3)), rows(torch.zeros(3)), rows(torch.full((2,), 500.0)), rows(torch.full((2,), 64.0))
    return Camera(*fields, size=(128, 128))


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def results(flame, tmp_path_factory):
    """A folder with a fit, a track, and their expected vertices."""
    folder = tmp_path_factory.mktemp("results")
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(1))
    jaw, move = torch.tensor([0.2, 0.0, 0.0]), torch.tensor([0.01, 0.0, -0.5])
    one = replace(flame.zeros(), shape=shape, jaw=jaw, translation=move)
    save_params(folder / "params.npz", one, camera_of(0), fingerprint=flame.fingerprint)
    many = FlameParams(*(getattr(one, name).expand(COUNT, -1) for name in one.__dataclass_fields__))
    many = replace(many, jaw=torch.linspace(0, 0.3, COUNT)[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    lids = np.array([[0.0, 0.0], [0.5, 0.5], [1.0, 0.0]], dtype=np.float32)
    track = Track(
        many, camera_of(COUNT), np.array([0, 1, 3]), np.array([0.1, 0.2, 0.4]), np.zeros(COUNT, np.int8),
        flame.fingerprint, eyelids=lids,
    )  # fmt: skip
    (folder / "track").mkdir()
    save_track(folder / "track" / "track.npz", track)
    np.save(folder / "one.npy", flame(one).vertices.numpy())
    np.save(folder / "many.npy", flame(many, eyelids=torch.from_numpy(lids)).vertices.numpy())
    return folder


def document(path):
    data = path.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    return json.loads(data[20 : 20 + length])


def test_a_fit_becomes_a_rig(results, tmp_path, capsys, flame):
    assert main(["export", str(results / "params.npz"), "--to", "gltf", "--out", str(tmp_path / "head.glb")]) == 0
    # The first run on a machine says so before.
    assert capsys.readouterr().out.endswith(f"Wrote {tmp_path / 'head.glb'}\n")
    file = document(tmp_path / "head.glb")
    about = file["nodes"][0]["extras"]["flamehead"]
    assert about["fingerprint"] == flame.fingerprint and about["result"] == "params.npz"
    assert "animations" not in file and "images" in file
    names = file["meshes"][0]["extras"]["targetNames"]
    assert len(names) == 44 + 10


def test_a_track_becomes_an_animation_with_its_times(results, tmp_path, read_gltf, flame):
    assert main(["export", str(results / "track"), "--to", "gltf", "-o", str(tmp_path / "t.glb"), "--quiet"]) == 0
    file = read_gltf(tmp_path / "t.glb")
    assert "eyelid_left" in file.document["meshes"][0]["extras"]["targetNames"]
    vertices = np.load(results / "many.npy")
    for k, time in enumerate((0.0, 0.1, 0.3)):
        assert np.abs(file.vertices(time) - vertices[k][file.flame_rows]).max() < 1e-6


def test_the_rest_has_neither_pose_nor_animation(results, tmp_path, read_gltf, flame):
    command = ["export", str(results / "track"), "--to", "gltf", "-o", str(tmp_path / "t.glb"), "--rest", "--quiet"]
    assert main([*command, "--expressions", "0", "--no-correctives", "--texture", "none"]) == 0
    file = read_gltf(tmp_path / "t.glb")
    assert "animations" not in file.document and "images" not in file.document
    assert "targets" not in file.document["meshes"][0]["primitives"][0]
    shape = torch.randn(flame.n_shape, generator=torch.Generator().manual_seed(1))
    rest = flame(replace(flame.zeros(), shape=shape)).vertices.numpy()
    assert np.abs(file.vertices() - rest[file.flame_rows]).max() < 1e-6


@pytest.mark.parametrize("kind", ["obj", "ply"])
def test_a_sequence_is_numbered_and_whole(results, tmp_path, kind, flame):
    out = tmp_path / "meshes"
    assert main(["export", str(results / "track"), "--to", kind, "--out", str(out), "--quiet"]) == 0
    files = [f"head_{k:06d}.{kind}" for k in range(COUNT)]
    beside = {"head.png"} if kind == "obj" else set()
    assert {path.name for path in out.iterdir()} == {*files, "sequence.json"} | beside
    vertices = np.load(results / "many.npy")
    for k, name in enumerate(files):
        mesh = read_mesh(out / name, texture=True)
        np.testing.assert_allclose(mesh.vertices, vertices[k], atol=1e-6)
        np.testing.assert_array_equal(mesh.faces, flame.faces.numpy())
        assert (mesh.uv_map is not None) == (kind == "obj")
    about = json.loads((out / "sequence.json").read_text())
    assert about["times"] == [0.1, 0.2, 0.4] and about["fingerprint"] == flame.fingerprint


def test_blender_gets_a_script_beside_the_rig(results, tmp_path):
    assert main(["export", str(results / "track"), "--to", "blender", "--out", str(tmp_path / "b"), "--quiet"]) == 0
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"head.glb", "import_head.py"}
    compile((tmp_path / "b" / "import_head.py").read_text(), "import_head.py", "exec")
    assert document(tmp_path / "b" / "head.glb")["nodes"][0]["extras"]["flamehead"]["times"] == [0.0, 0.1, 0.3]


def test_usd_from_the_command_line(results, tmp_path):
    pytest.importorskip("pxr")
    assert main(["export", str(results / "params.npz"), "--to", "usd", "--out", str(tmp_path / "h.usdc")]) == 0
    assert {path.name for path in tmp_path.iterdir()} == {"h.usdc", "h.png"}


def test_a_fits_own_texture_is_taken(results, tmp_path, flame):
    """A photometric fit leaves its photo, unwrapped, as the texture of its mesh.obj."""
    from flamehead.builtin import builtin_head
    from flamehead.io import SavedAppearance, UvMap, load_params, read_image

    saved, head = load_params(results / "params.npz"), builtin_head()
    look = SavedAppearance(np.zeros(3), np.zeros((9, 3)), "the built-in albedo")
    save_params(
        tmp_path / "params.npz", saved.params, saved.camera, fingerprint=flame.fingerprint, appearance=look
    )  # fmt: skip
    green = np.zeros((8, 8, 3), dtype=np.float32)
    green[..., 1] = 1.0
    layout = UvMap(head.uv, head.uv_faces, green)
    write_textured_obj(tmp_path / "mesh.obj", np.load(results / "one.npy"), flame.faces, uv_map=layout)
    assert main(["export", str(tmp_path), "--to", "obj", "-o", str(tmp_path / "seq"), "--quiet"]) == 0
    assert np.array_equal(read_image(tmp_path / "seq" / "head.png"), green)
    write_image(tmp_path / "red.png", green[..., [1, 0, 2]])
    command = ["export", str(tmp_path), "--to", "obj", "-o", str(tmp_path / "red"), "--quiet"]
    assert main([*command, "--texture", str(tmp_path / "red.png")]) == 0
    assert np.array_equal(read_image(tmp_path / "red" / "head.png"), green[..., [1, 0, 2]])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--to", "fbx"], "--to is 'fbx'; choose one of"),
        (["--out", "{tmp}/head.obj"], "--to gltf wants .glb"),
        (["--out", "{tmp}/none/head.glb"], "create it first"),
        (["--fps", "0"], "positive number of frames"),
        (["--expressions", "400"], "give 0 to 100"),
        (["--flame-variant", "2020"], "--flame-variant"),
        (["--texture", "{tmp}/none.png"], "none.png"),
    ],
)
def test_wrong_wishes_are_refused(results, tmp_path, capsys, change, said):
    command = ["export", str(results / "params.npz"), "--to", "gltf", "--out", str(tmp_path / "head.glb")]
    assert main([*command, *(word.format(tmp=tmp_path) for word in change)]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_results_and_a_foreign_file(tmp_path, capsys, results):
    command = ["--to", "gltf", "--out", str(tmp_path / "head.glb")]
    assert main(["export", str(tmp_path), *command]) == 1
    assert "holds no result that is known here" in capsys.readouterr().err
    foreign = replace(load_flame().zeros(), shape=torch.zeros(3))
    save_params(tmp_path / "params.npz", foreign, camera_of(0), fingerprint="other")
    assert main(["export", str(tmp_path), *command]) == 1
    assert "name theirs with --model" in capsys.readouterr().err
