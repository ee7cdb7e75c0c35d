"""GLB and OBJ with uv: what another reader finds in them is what was given."""

import json
import struct
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial

from flamehead.errors import InputError
from flamehead.io import UvMap, read_image, read_mesh, write_glb, write_textured_obj


@pytest.fixture(scope="module")
def tent():
    """Four sides around a tip; the uv of the first vertex differs between the first and the last side."""
    vertices = np.array([[1.0, 0, 0], [0, 0, 1.0], [-1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0], [9.0, 9.0, 9.0]])
    faces = np.array([[1, 0, 4], [2, 1, 4], [3, 2, 4], [0, 3, 4]])
    uv = np.array([[0.0, 0.0], [0.25, 0.0], [0.5, 0.0], [0.75, 0.0], [1.0, 0.0], [0.5, 1.0]])
    uv_faces = np.array([[1, 0, 5], [2, 1, 5], [3, 2, 5], [4, 3, 5]])
    return vertices, faces, uv, uv_faces


def chunks(path):
    data = path.read_bytes()
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    length, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and length % 4 == 0
    document = json.loads(data[20 : 20 + length])
    size, kind = struct.unpack_from("<I4s", data, 20 + length)
    assert kind == b"BIN\0" and size == document["buffers"][0]["byteLength"]
    return document, data[28 + length :]


def column(document, blob, number):
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    dtype = {5126: "<f4", 5125: "<u4"}[accessor["componentType"]]
    part = np.frombuffer(blob[view["byteOffset"] :][: view["byteLength"]], dtype)
    return part.reshape(accessor["count"], -1)


def test_glb_with_colours(tent, tmp_path):
    vertices, faces, _, _ = tent
    colors = np.linspace(0, 1, 18).reshape(6, 3)
    write_glb(tmp_path / "a.glb", vertices, faces, colors=colors)
    document, blob = chunks(tmp_path / "a.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    np.testing.assert_array_equal(column(document, blob, attributes["POSITION"]), vertices.astype("f4"))
    np.testing.assert_array_equal(column(document, blob, 3).reshape(-1, 3), faces)
    np.testing.assert_allclose(np.linalg.norm(column(document, blob, attributes["NORMAL"]), axis=1), 1, rtol=1e-6)
    # sRGB 0.5 is 0.214 in linear light.
    linear = column(document, blob, attributes["COLOR_0"])
    np.testing.assert_allclose(np.interp(0.5, colors[:, 0], linear[:, 0]), 0.214, atol=0.02)
    back = read_mesh(tmp_path / "a.glb")
    np.testing.assert_array_equal(back.faces, faces)
    np.testing.assert_allclose(back.vertices, vertices)
    assert back.colors is not None
    np.testing.assert_allclose(back.colors, colors, atol=0.003)


def test_glb_with_texture(tent, tmp_path):
    vertices, faces, uv, uv_faces = tent
    picture = np.zeros((4, 8, 3))
    picture[0, :, 0] = 1.0
    write_glb(tmp_path / "a.glb", vertices, faces, uv_map=UvMap(uv, uv_faces, picture), colors=vertices)
    document, blob = chunks(tmp_path / "a.glb")
    attributes = document["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    # Vertex 0 has two uv; vertex 5 has no triangle and is left out.
    points, index = column(document, blob, attributes["POSITION"]), column(document, blob, 3).reshape(-1, 3)
    assert len(points) == 6
    np.testing.assert_array_equal(points[index], vertices[faces].astype("f4"))
    got = column(document, blob, attributes["TEXCOORD_0"])[index]
    np.testing.assert_allclose(got, uv[uv_faces] * [1, -1] + [0, 1])
    loaded: Any = trimesh.load(tmp_path / "a.glb", force="mesh", process=False)
    image = np.asarray(loaded.visual.material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(image, np.rint(picture * 255))


def test_obj_with_texture(tent, tmp_path):
    vertices, faces, uv, uv_faces = tent
    picture = np.random.default_rng(0).uniform(size=(5, 7, 3))
    written = write_textured_obj(tmp_path / "a.obj", vertices, faces, uv_map=UvMap(uv, uv_faces, picture))
    assert [p.name for p in written] == ["a.png", "a.mtl", "a.obj"] and len(list(tmp_path.iterdir())) == 3
    back = read_mesh(tmp_path / "a.obj")
    np.testing.assert_allclose(back.vertices, vertices)
    np.testing.assert_array_equal(back.faces, faces)
    assert "map_Kd a.png" in (tmp_path / "a.mtl").read_text()
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), picture, atol=0.5 / 255 + 1e-6)
    lines = (tmp_path / "a.obj").read_text().splitlines()
    assert [line for line in lines if line.startswith("f")][3] == "f 1/5 4/4 5/6"
    assert write_textured_obj(tmp_path / "b.obj", vertices, faces, uv_map=UvMap(uv, uv_faces)) == [tmp_path / "b.obj"]
    assert "mtllib" not in (tmp_path / "b.obj").read_text()


def test_what_does_not_belong_together_is_refused(tent, tmp_path):
    vertices, faces, uv, uv_faces = tent
    for wrong in (UvMap(uv, uv_faces[:2]), UvMap(uv[:3], uv_faces), UvMap(uv * np.nan, uv_faces)):
        for write in (write_glb, write_textured_obj):
            with pytest.raises(InputError, match="UV layout"):
                write(tmp_path / "a.obj", vertices, faces, uv_map=wrong)
    with pytest.raises(InputError, match="texture"):
        write_glb(tmp_path / "a.glb", vertices, faces, uv_map=UvMap(uv, uv_faces, np.zeros((4, 4))))
    with pytest.raises(InputError, match="NaN"):
        write_glb(tmp_path / "a.glb", vertices * np.nan, faces)
    assert not list(tmp_path.iterdir())


def on_picture(mesh):
    """uv at every corner, which does not depend on how a file repeats vertices."""
    return mesh.uv_map.uv[mesh.uv_map.faces]


def test_the_texture_comes_back(tent, tmp_path):
    vertices, faces, uv, uv_faces = tent
    picture = np.random.default_rng(0).integers(0, 256, (4, 6, 3)) / 255.0
    write_glb(tmp_path / "a.glb", vertices, faces, uv_map=UvMap(uv, uv_faces, picture))
    write_textured_obj(tmp_path / "b.obj", vertices, faces, uv_map=UvMap(uv, uv_faces, picture))
    write_glb(tmp_path / "c.glb", vertices, faces, uv_map=UvMap(uv, uv_faces))
    write_textured_obj(tmp_path / "d.obj", vertices, faces, uv_map=UvMap(uv, uv_faces))
    for name in ("a.glb", "b.obj", "c.glb", "d.obj"):
        mesh = read_mesh(tmp_path / name, texture=True)
        assert mesh.uv_map is not None and read_mesh(tmp_path / name).uv_map is None
        np.testing.assert_allclose(on_picture(mesh), uv[uv_faces], atol=1e-6)
        if name[0] in "ab":
            assert mesh.uv_map.picture is not None
            np.testing.assert_allclose(mesh.uv_map.picture, picture, atol=1e-6)
        else:
            assert mesh.uv_map.picture is None


MATERIAL = "newmtl one\nmap_Kd\t-s 1 1 1 -clamp on my picture.png\nnewmtl two\nmap_Kd other.png\n"
SQUARE = "mtllib m.mtl\nusemtl one\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt\t0 0\nvt 2 0\nvt 2 1\nvt 0 1\n"


@pytest.mark.parametrize(
    ("faces", "material", "warned"),
    [
        ("f 1/1 2/2 3/3 4/4\n", MATERIAL, ""),
        ("f -4/-4 -3/-3 -2/-2 -1/-1\n", MATERIAL, ""),
        ("f 1/1 2/2 3/3\nusemtl two\nf 1/1 3/3 4/4\n", MATERIAL, "several materials"),
        ("f 1/1 2/2 3/3\n", None, "is not there"),
        ("f 1/1 2/2 3/3\n", MATERIAL.replace("my", "no"), "texture is left out"),
    ],
)
def test_materials_of_obj_files(tmp_path, caplog, faces, material, warned):
    Image.new("RGB", (2, 1), (255, 0, 0)).save(tmp_path / "my picture.png")
    (tmp_path / "a.obj").write_text(SQUARE + faces)
    if material is not None:
        (tmp_path / "m.mtl").write_text(material)
    mesh = read_mesh(tmp_path / "a.obj", texture=True)
    assert mesh.uv_map is not None and len(mesh.uv_map.faces) == len(mesh.faces)
    assert warned in caplog.text and bool(caplog.text) == bool(warned)
    if not warned:
        assert mesh.uv_map.picture is not None and mesh.uv_map.file == tmp_path / "my picture.png"
        np.testing.assert_array_equal(mesh.uv_map.picture, np.broadcast_to([1.0, 0.0, 0.0], (1, 2, 3)))
    else:
        assert mesh.uv_map.picture is None


def test_a_corner_without_uv_means_no_map(tmp_path):
    (tmp_path / "a.obj").write_text(SQUARE + "f 1/1 2/2 3/3\nf 1 3 4\n")
    assert read_mesh(tmp_path / "a.obj", texture=True).uv_map is None


def box(color, x, tint=None):
    """A cube with a picture of one colour."""
    part = trimesh.creation.box()
    part.apply_translation([x, 0, 0])
    picture = Image.new("RGB", (4, 4), color)
    material = PBRMaterial(baseColorTexture=picture, baseColorFactor=tint)
    part.visual = TextureVisuals(uv=np.full((len(part.vertices), 2), 0.4), material=material)
    return part


def colors_of_triangles(mesh):
    """At the middle of each triangle."""
    height, width = mesh.uv_map.picture.shape[:2]
    u, v = on_picture(mesh).mean(axis=1).T
    return mesh.uv_map.picture[((1 - v) * height).astype(int), (u * width).astype(int)]


def test_the_parts_of_a_scene_keep_their_pictures(tmp_path, caplog):
    trimesh.Scene([box((255, 0, 0), 0), box((0, 255, 0), 3)]).export(tmp_path / "a.glb")
    mesh = read_mesh(tmp_path / "a.glb", texture=True)
    right = mesh.vertices[mesh.faces].mean(axis=1)[:, 0] > 1.5
    wanted = np.where(right[:, None], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0])
    np.testing.assert_array_equal(colors_of_triangles(mesh), wanted)
    assert not caplog.text


def test_the_base_colour_multiplies_the_picture(tmp_path, caplog):
    half = [128, 255, 255, 255]
    box((255, 255, 0), 0, half).export(tmp_path / "a.glb")
    # 128 / 255 of the linear light is 0.737 in sRGB.
    mesh = read_mesh(tmp_path / "a.glb", texture=True)
    np.testing.assert_allclose(colors_of_triangles(mesh)[0], [0.737, 1.0, 0.0], atol=1e-3)
    trimesh.Scene([box((255, 255, 0), 0, half), box((0, 255, 0), 3)]).export(tmp_path / "b.glb")
    assert read_mesh(tmp_path / "b.glb", texture=True).uv_map is None and "differ in kind" in caplog.text
