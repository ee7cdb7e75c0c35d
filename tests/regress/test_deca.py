"""The whole of DECA, on random weights in the official layout and the built-in head."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.io import loadmat

from flamehead import load_flame, load_params
from flamehead.assets import TexelTable
from flamehead.data import Observation
from flamehead.errors import AssetNotFound, InputError
from flamehead.formats import deca_from_vector, read_deca
from flamehead.geometry.camera import project, world_to_camera
from flamehead.io import read_image, read_mesh
from flamehead.raster import interpolate
from flamehead.regress import (
    builtin_deca_assets,
    decode,
    encode,
    load_deca,
    read_deca_assets,
    save_decoded,
    telephoto,
    transfer,
)
from flamehead.regress._harmonics import flip, harmonic_shading, weak_projection
from flamehead.regress._texels import area_normals, sample_image, under_texels
from flamehead.regress.deca_decode import render_shape

FILES = """
ann.mat ann.mtl ann.obj ann.png ann_depth.jpg ann_detail.obj ann_inputs.jpg ann_kpt2d.txt ann_kpt3d.txt
ann_landmarks2d.jpg ann_normals.png ann_rendered_images.jpg ann_shape_detail_images.jpg ann_shape_images.jpg
ann_vis.jpg codes.npz params.npz
""".split()


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(5)
    return np.kron(rng.random((15, 20, 3)), np.ones((16, 16, 1))).astype(np.float32)


@pytest.fixture(scope="module")
def encoded(deca, photo):
    points = np.random.default_rng(6).uniform((90, 60), (230, 200), (68, 2))
    return encode(deca, photo, seen=Observation(points, "ibug68", (320, 240), source="a test"))


@pytest.fixture(scope="module")
def decoded(deca, encoded):
    return decode(deca, encoded.codes, crop=encoded.crop)


def _codes(**parts):
    """A neutral face before a camera, with these parts."""
    plain = deca_from_vector(torch.zeros(236), detail=torch.zeros(128))
    return dataclasses.replace(plain, cam=torch.tensor([8.0, 0.0, 0.0]), **parts)


@pytest.mark.assets
@pytest.mark.parametrize(("suffix", "dtype", "exact"), [("f32", torch.float32, 1e-5), ("f64", torch.float64, 1e-9)])
def test_light_and_projection_match_the_original(parity, suffix, dtype, exact):
    expected = parity("deca_expected.npz")
    normals, light, points, camera = (
        torch.from_numpy(expected[name]).to(dtype) for name in ("sh_normals", "sh_light", "orth_points", "orth_camera")
    )
    for found, name, tolerance in (
        (harmonic_shading(normals, light), "sh_shading", max(exact, 1e-6)),
        (weak_projection(points, camera), "orth_projected", exact),
    ):
        wanted = torch.from_numpy(expected[f"{name}_{suffix}"])
        torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def test_even_light_is_even():
    normals = torch.nn.functional.normalize(
        torch.linspace(-1, 1, 150, dtype=torch.float64).sin().reshape(2, 3, 5, 5), dim=1
    )
    light = torch.zeros(2, 9, 3, dtype=torch.float64)
    light[:, 0] = (4 * torch.pi) ** 0.5
    torch.testing.assert_close(harmonic_shading(normals, light), torch.ones_like(normals))


def test_codes_have_their_names_and_sizes(encoded):
    codes = encoded.codes
    assert [
        tuple(getattr(codes, name).shape) for name in ("shape", "tex", "exp", "pose", "cam", "light", "detail")
    ] == [*((100,), (50,), (50,), (6,), (3,), (9, 3), (128,))]
    assert encoded.size == (320, 240) and encoded.points_source == "a test"
    assert codes.fingerprint == load_flame().fingerprint and 7 < float(codes.cam[0]) < 8


def test_landmarks_lie_on_the_head(decoded):
    outer = decoded.trans_verts[:, :2]
    for points in (decoded.landmarks2d, decoded.landmarks3d[:, :2]):
        nearest = torch.cdist(points, outer).amin(dim=1)
        assert float(nearest.max()) < 0.05
    # The subject's right eye (36) is on the left of the picture, the chin (8) below it.
    marks = decoded.landmarks3d
    assert marks[36, 0] < marks[45, 0] and marks[8, 1] > marks[36, 1]
    torch.testing.assert_close(decoded.landmarks2d[17:], marks[17:, :2])


@pytest.mark.parametrize("yaw", [-0.5, 0.5])
def test_the_jaw_line_slides_to_where_it_is_seen(deca, yaw):
    """With the other sign of the row, FLAME_PyTorch's, it slides behind the head."""
    decoded = decode(deca, _codes(pose=torch.tensor([0.0, yaw, 0.0, 0.0, 0.0, 0.0])))
    turn = torch.tensor([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]], dtype=torch.float32)
    hidden = []
    for sign in (1, -1):
        line = deca.flame.contour(decoded.verts, turn, sign=sign)
        if sign == 1:
            placed = flip(weak_projection(line, torch.tensor([8.0, 0.0, 0.0])))[:, :2]
            torch.testing.assert_close(decoded.landmarks2d[:17], placed, rtol=0, atol=1e-5)
        normals = decoded.normals[torch.cdist(line, decoded.verts).argmin(dim=1)]
        hidden.append(int((normals[:, 2] < -0.1).sum()))
    assert hidden[0] < hidden[1]
    # The fixed jaw line does go behind the head, and is marked as not seen.
    assert 0 < int((decoded.landmarks3d[:17, 3] == 0).sum()) < 17


def test_texture_coordinates_lead_back_to_the_surface(decoded, deca):
    """A map of positions, looked up at each pixel's texture coordinates, gives the point seen at that pixel."""
    texels = under_texels(builtin_deca_assets())
    places = interpolate(decoded.verts, deca.flame.faces, texels).permute(2, 0, 1)
    seen = sample_image(places, decoded.grid)
    shown = flip(weak_projection(seen.flatten(1).T, _cam(decoded)))
    steps = (torch.arange(224) + 0.5) / 112 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    off = (shown[:, :2] - torch.stack([x, y], dim=-1).reshape(-1, 2)).norm(dim=1).reshape(224, 224)
    assert float(off[decoded.alpha_images[0] > 0].median()) < 0.01


def _cam(decoded):
    """The camera that a picture was made with, from points and their images."""
    scale = -(decoded.trans_verts[0, 2] - decoded.trans_verts[1, 2]) / (decoded.verts[0, 2] - decoded.verts[1, 2])
    x, y = decoded.trans_verts[0, :2] * torch.tensor([1, -1]) / scale - decoded.verts[0, :2]
    return torch.stack([scale, x, y])


def test_the_photos_colours_go_where_the_head_covers_them(deca):
    steps = (np.arange(224) + 0.5) / 112 - 1
    crop = np.zeros((3, 224, 224), dtype=np.float32)
    crop[0], crop[1] = steps[None] / 2 + 0.5, steps[:, None] / 2 + 0.5
    assets = dataclasses.replace(builtin_deca_assets(), mask=np.ones((256, 256)))
    decoded = decode(deca, _codes(), crop=crop, assets=assets)
    texels = under_texels(assets)
    wanted = interpolate(decoded.trans_verts, deca.flame.faces, texels)[..., :2] / 2 + 0.5
    inside = texels.covered & ((wanted > 0.01) & (wanted < 0.99)).all(dim=-1)
    torch.testing.assert_close(decoded.uv_texture_gt[:2, inside], wanted[inside].T, rtol=0, atol=1e-4)
    plain = decode(deca, _codes())
    torch.testing.assert_close(plain.uv_texture_gt, torch.full((3, 256, 256), 0.7))


def test_without_displacement_details_are_the_coarse_surface(deca):
    still = dataclasses.replace(builtin_deca_assets(), mask=np.zeros((256, 256)))
    flat = decode(deca, _codes(), assets=still)
    texels = under_texels(still)
    smooth = interpolate(flat.normals, deca.flame.faces, texels).permute(2, 0, 1)
    torch.testing.assert_close(flat.uv_detail_normals, smooth)
    dense = flat.dense
    coarse = interpolate(flat.verts, deca.flame.faces, texels)[texels.covered]
    moved = (dense.vertices - coarse).norm(dim=1)
    torch.testing.assert_close(moved, flat.displacement_map[0][texels.covered].abs(), rtol=0, atol=1e-6)
    assert len(dense.vertices) == int(texels.covered.sum()) and dense.faces.max() < len(dense.vertices)
    edges = dense.vertices[dense.faces] - dense.vertices[np.roll(dense.faces, 1, axis=1)]
    assert float(edges.norm(dim=-1).max()) < 0.03


def test_short_normals_are_not_stretched():
    """DECA divides by no less than 1e-6 square metres: tiny triangles have normals shorter than one."""
    corners = torch.tensor([[0.0, 0, 0], [1e-4, 0, 0], [0, 1e-4, 0]])
    normals = area_normals(corners, torch.tensor([[0, 1, 2]]))
    torch.testing.assert_close(normals, torch.tensor([[0.0, 0.0, 1e-2]]).expand(3, 3))


def test_decas_own_table_places_the_dense_mesh(deca):
    rng = np.random.default_rng(7)
    corners = deca.flame.faces.numpy()[rng.integers(0, 9976, 50)]
    weights = rng.dirichlet(np.ones(3), 50)
    texels = np.arange(100, 150)
    columns, rows = rng.integers(0, 256, (2, 65536)).astype(float)
    faces = rng.integers(0, 50, (20, 3))
    table = TexelTable(256, columns, rows, texels, corners, weights, None, None, faces)
    decoded = decode(deca, _codes(), assets=dataclasses.replace(builtin_deca_assets(), dense=table))
    verts, normals = decoded.verts.numpy(), decoded.normals.numpy()
    for k in range(50):
        point, normal = weights[k] @ verts[corners[k]], weights[k] @ normals[corners[k]]
        depth = float(decoded.displacement_map[0, int(rows[texels[k]]), int(columns[texels[k]])])
        wanted = point + depth * normal / np.linalg.norm(normal)
        np.testing.assert_allclose(decoded.dense.vertices[k], wanted, atol=1e-6)
    np.testing.assert_array_equal(decoded.dense.faces, faces)


def test_pictures_are_as_decas(decoded, encoded):
    facing = torch.zeros(3, 1, 1)
    facing[2] = 1
    # Four lights at 45 degrees of depth, 1/sqrt(3), and one from the front.
    wanted = 180 / 255 * 1.7 * (4 / 3**0.5 + 1) / 5
    torch.testing.assert_close(render_shape(facing), torch.full((3, 1, 1), wanted))
    assert set(decoded.alpha_images.unique().tolist()) == {0.0, 1.0}
    behind = decoded.alpha_images[0] == 0
    torch.testing.assert_close(decoded.shape_images[:, behind], torch.from_numpy(encoded.crop)[:, behind])
    assert not decoded.rendered_images.any() and not decoded.albedo.any()
    depth = decoded.depth_images[0]
    nose = (decoded.landmarks3d[30, :2] + 1) * 112
    assert not depth[behind].any() and depth[int(nose[1]), int(nose[0])] > 0.9


def test_transfer_takes_jaw_and_expression_only(deca, encoded):
    source = dataclasses.replace(encoded.codes, exp=torch.ones(50), pose=torch.arange(6.0), shape=torch.ones(100))
    mixed = transfer(encoded.codes, source)
    assert (mixed.exp == 1).all() and mixed.pose[3:].tolist() == [3.0, 4.0, 5.0]
    assert (mixed.pose[:3] == encoded.codes.pose[:3]).all()
    for name in ("shape", "tex", "cam", "light", "detail"):
        assert getattr(mixed, name) is getattr(encoded.codes, name)
    other = decode(deca, mixed)
    assert float((other.displacement_map - decode(deca, encoded.codes).displacement_map).abs().max()) > 1e-6
    kept = decode(deca, mixed, detail_codes=encoded.codes)
    torch.testing.assert_close(kept.displacement_map, decode(deca, encoded.codes).displacement_map)


def test_every_file_of_the_demo_is_there(deca, encoded, decoded, tmp_path):
    out = tmp_path / "new" / "ann"
    save_decoded(deca, encoded, decoded, out, stem="ann")
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    shapes = {name: value.shape for name, value in loadmat(out / "ann.mat").items() if not name.startswith("__")}
    assert shapes == {
        "verts": (5023, 3),
        "trans_verts": (5023, 3),
        "landmarks2d": (68, 2),
        "landmarks3d": (68, 4),
        "landmarks3d_world": (68, 3),
        "grid": (224, 224, 2),
        "rendered_images": (3, 224, 224),
        "alpha_images": (1, 224, 224),
        "normal_images": (3, 224, 224),
        "uv_texture": (3, 256, 256),
        "normals": (5023, 3),
        "uv_detail_normals": (3, 256, 256),
        "displacement_map": (1, 256, 256),
        "uv_texture_gt": (3, 256, 256),
        "albedo": (3, 256, 256),
    }
    np.testing.assert_allclose(np.loadtxt(out / "ann_kpt2d.txt"), decoded.landmarks2d, rtol=1e-6)
    assert np.loadtxt(out / "ann_kpt3d.txt").shape == (68, 4)
    coarse = read_mesh(out / "ann.obj")
    np.testing.assert_allclose(coarse.vertices, decoded.verts, atol=1e-7)
    np.testing.assert_array_equal(coarse.faces, deca.flame.faces)
    text = (out / "ann.obj").read_text()
    assert text.startswith("mtllib ann.mtl\n") and text.count("\nvt ") == 5229
    assert "map_Kd ann.png" in (out / "ann.mtl").read_text()
    line = (out / "ann_detail.obj").read_text().splitlines()[0].split()
    assert len(line) == 7 and all(0 <= int(value) <= 255 for value in line[4:])
    assert read_image(out / "ann_depth.jpg").shape == (224, 224, 3)
    back = read_deca(out / "codes.npz")
    torch.testing.assert_close(back.light, encoded.codes.light)
    saved = load_params(out / "params.npz")
    assert saved.fingerprint == deca.flame.fingerprint and "DECA" in saved.status


def test_the_far_camera_sees_the_head_where_the_crop_shows_it(encoded, decoded):
    camera = telephoto(encoded)
    pixels = project(world_to_camera(decoded.verts, camera.rotation, camera.translation), camera.focal, camera.center)
    in_crop = torch.cat([(decoded.trans_verts[:, :2] + 1) * 112, torch.ones(5023, 1)], dim=1).double()
    wanted = (in_crop @ torch.from_numpy(np.linalg.inv(encoded.matrix)).mT)[:, :2] + 0.5
    size = float((wanted.amax(0) - wanted.amin(0)).max())
    assert float((pixels - wanted).norm(dim=1).max()) < 0.01 * size
    assert camera.size == encoded.size


def test_wrong_models_tables_and_codes_are_refused(deca, deca_file, encoded, tmp_path):
    own = load_flame()
    newer = type(own)(dataclasses.replace(own.arrays, variant="2023"), embeddings=own.embeddings)
    with pytest.raises(InputError, match="FLAME 2023, but DECA's codes are for FLAME 2020"):
        load_deca(deca_file, flame=newer, engine="torch")
    assert load_deca(deca_file, flame=newer, force=True, engine="torch").flame is newer
    few = dataclasses.replace(own.arrays, shape_basis=own.arrays.shape_basis[..., :10])
    with pytest.raises(InputError, match="10 identity and 100 expression"):
        load_deca(deca_file, flame=type(own)(few), engine="torch")
    with pytest.raises(InputError, match="one face"):
        decode(deca, deca_from_vector(torch.zeros(2, 236), detail=torch.zeros(2, 128)))
    with pytest.raises(InputError, match="no detail"):
        decode(deca, dataclasses.replace(encoded.codes, detail=None))
    assets = dataclasses.replace(builtin_deca_assets(), uv_faces=np.zeros((5, 3), dtype=int))
    with pytest.raises(InputError, match="has 5 triangles"):
        decode(deca, encoded.codes, assets=assets)
    with pytest.raises(AssetNotFound, match=r"no head_template\.obj"):
        read_deca_assets(tmp_path)


def test_decas_data_folder_is_read(tmp_path, deca, encoded):
    from PIL import Image

    own = builtin_deca_assets()
    lines = ["v 0 0 0"] * 5023 + [f"vt {u} {v}" for u, v in own.uv]
    lines += [
        "f " + " ".join(f"{a + 1}/{b + 1}" for a, b in zip(*rows, strict=True))
        for rows in zip(deca.flame.faces.tolist(), own.uv_faces.tolist(), strict=True)
    ]
    (tmp_path / "head_template.obj").write_text("\n".join(lines) + "\n")
    Image.fromarray(np.rint(255 * own.mask).astype(np.uint8)).convert("RGBA").save(tmp_path / "uv_face_eye_mask.png")
    fixed = np.full((256, 256), 1e-3)
    np.save(tmp_path / "fixed_displacement_256.npy", fixed)
    basis = np.zeros((512 * 512 * 3, 199), dtype=np.float32)
    basis[:, 0] = 0.25
    mean = np.tile(np.array([0.1, 0.2, 0.3], dtype=np.float32), 512 * 512)
    np.savez(tmp_path / "FLAME_albedo_from_BFM.npz", MU=mean, PC=basis)
    assets = read_deca_assets(tmp_path)
    np.testing.assert_allclose(assets.uv, own.uv, atol=1e-7)
    codes = dataclasses.replace(encoded.codes, tex=torch.nn.functional.pad(torch.ones(1), (0, 49)))
    decoded = decode(deca, codes, assets=assets)
    bare = decode(deca, codes)
    torch.testing.assert_close(decoded.displacement_map, bare.displacement_map + 1e-3)
    # The file's colours are blue, green, red.
    torch.testing.assert_close(decoded.albedo[:, 9, 9], torch.tensor([0.55, 0.45, 0.35]))
    torch.testing.assert_close(decoded.uv_texture, decoded.albedo * decoded.shading)
    assert float(decoded.rendered_images.max()) > 0.5
