"""`flamehead fit --photometric`: what it adds, and that nothing changes without it."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch

from flamehead import load_flame, load_params, read_image, write_image
from flamehead.builtin import builtin_head
from flamehead.data import Camera
from flamehead.fit.appearance import load_appearance
from flamehead.fit.painted import paint_head
from flamehead.geometry.landmark_sets import MEDIAPIPE_105

FILES = {"params.npz", "mesh.obj", "mesh.ply", "overlay.png", "landmarks.npz", "report.json"}
MORE = {"texture.png", "photo_texture.png", "mesh.mtl"}
SIZE = 160
CAMERA = Camera(
    torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.zeros(3), torch.full((2,), 380.0), torch.full((2,), 80.0),
    (SIZE, SIZE),
)  # fmt: skip


def photograph(flame, appearance, albedo, folder):
    """A head under a slanted light, and where its landmarks are, nearly."""
    random = np.random.default_rng(7)
    light = np.zeros((9, 3))
    light[0], light[1], light[3] = 2.4, 0.3, -0.5
    shape = torch.zeros(flame.n_shape)
    shape[:10] = torch.from_numpy(random.standard_normal(10)).float()
    params = replace(
        flame.zeros(), shape=shape, root=torch.tensor([0.05, 0.2, 0.0]), translation=torch.tensor([0.0, 0.0, -0.6])
    )
    image = paint_head(flame, params, CAMERA, appearance.space, albedo, light, region=None).image
    write_image(folder / "photo.png", image)
    with torch.no_grad():
        points = CAMERA.project(flame.landmarks(flame(params).vertices, "mediapipe105")).numpy()
    np.save(folder / "points.npy", points + random.normal(0, 0.4, points.shape))
    return folder / "photo.png", ("--landmarks", folder / "points.npy", "--focal", 380)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    flame, folder = load_flame(), tmp_path_factory.mktemp("photo")
    return photograph(flame, load_appearance(flame), np.linspace(-0.8, 0.8, 31), folder)


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_pixels_add_colours_light_and_textures(run, photo, tmp_path):
    image, options = photo
    done = run("fit", image, *options, "--photometric", "--out", tmp_path)
    assert (done.code, done.err) == (0, "") and "PSNR" in done.out
    assert names(tmp_path) == FILES | MORE
    report = json.loads((tmp_path / "report.json").read_text())["photometric"]
    assert report["psnr_after"] > report["psnr_before"] + 1 and report["l1_after"] < report["l1_before"]
    assert report["pixels"] > 1000 and len(report["albedo"]) == 31 and np.shape(report["light"]) == (9, 3)
    saved = load_params(tmp_path / "params.npz")
    assert saved.albedo is not None and saved.light is not None
    np.testing.assert_allclose(saved.albedo, report["albedo"])
    np.testing.assert_allclose(saved.light, report["light"])
    assert saved.appearance == "the built-in albedo"
    assert "map_Kd photo_texture.png" in (tmp_path / "mesh.mtl").read_text()
    assert "mtllib mesh.mtl" in (tmp_path / "mesh.obj").read_text()[:200]
    assert read_image(tmp_path / "texture.png").shape == (512, 512, 3)
    height, width = read_image(tmp_path / "overlay.png").shape[:2]
    assert width > 5 * height


def test_without_the_flag_nothing_is_added(run, photo, tmp_path):
    image, options = photo
    assert run("fit", image, *options, "--out", tmp_path).code == 0
    assert names(tmp_path) == FILES
    assert "photometric" not in json.loads((tmp_path / "report.json").read_text())
    assert load_params(tmp_path / "params.npz").albedo is None


@pytest.mark.slow
def test_a_mask_leaves_pixels_out(run, photo, tmp_path):
    image, options = photo
    half = np.zeros((SIZE, SIZE, 3), np.float32)
    half[:, : SIZE // 2] = 1
    write_image(tmp_path / "mask.png", half)
    arguments = ("fit", image, *options, "--photometric", "--out", tmp_path / "out", "--mask")
    assert run(*arguments, tmp_path / "mask.png").code == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["photometric"]["pixels"] > 500
    write_image(tmp_path / "small.png", half[:50])
    assert "160 x 50 pixels, but the photo has 160 x 160" in run(*arguments, tmp_path / "small.png").complaint
    write_image(tmp_path / "black.png", 0 * half)
    assert "black everywhere" in run(*arguments, tmp_path / "black.png").complaint


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--mask", "mask.png"), "--mask belongs to the photometric fit"),
        (("--photometric", "--texture", "FLAME_texture.npz"), "--texture lies on FLAME's mesh"),
        (("--photometric", "--model", "generic_model.pkl"), "needs its colours"),
    ],
)
def test_options_that_do_not_go_together(run, photo, tmp_path, options, sentence):
    assert sentence in run("fit", photo[0], "--out", tmp_path / "out", *options).complaint


@pytest.fixture(scope="module")
def licensed(tmp_path_factory):
    """The built-in head under the official keys, its masks, and a texture space on a layout of its own."""
    folder, head = tmp_path_factory.mktemp("licensed"), builtin_head()
    arrays = head.arrays
    basis = np.concatenate([arrays.shape_basis[..., :20], arrays.expression_basis[..., :20]], axis=-1)
    entries = {
        "v_template": arrays.template,
        "f": arrays.faces.astype(np.uint32),
        "shapedirs": basis,
        "posedirs": arrays.pose_basis,
        "weights": arrays.skin_weights,
        "J_regressor": scipy.sparse.csc_matrix(arrays.joint_regressor),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
    }
    (folder / "generic_model.pkl").write_bytes(pickle.dumps(entries, 2))
    masks = {name: np.asarray(rows) for name, rows in head.regions.items()}
    (folder / "FLAME_masks.pkl").write_bytes(pickle.dumps(masks, 2))
    marks = head.embeddings["mediapipe105"]
    np.savez(
        folder / "mediapipe_landmark_embedding.npz",
        lmk_face_idx=marks.face_ids,
        lmk_b_coords=marks.barycentric,
        landmark_indices=np.asarray(MEDIAPIPE_105),
    )
    # Around the head's axis, with rows that no corner uses.
    x, y, z = (arrays.template - arrays.template.mean(0)).T
    uv = np.zeros((5118, 2))
    uv[:5023, 0], uv[:5023, 1] = 0.5 + np.arctan2(x, z) / 7, 0.5 + y / 0.5
    v, u = np.mgrid[:64, :64] / 64
    mean = np.stack([190 + 20 * np.sin(40 * u), 140 + 30 * np.cos(35 * v), 110 + 0 * u], axis=-1)
    waves = [np.ones_like(u), u - 0.5, np.sin(20 * u) * np.sin(20 * v)]
    basis = np.stack([np.repeat(15 * wave[..., None], 3, axis=-1) for wave in waves], axis=-1)
    layout = {"vt": uv, "ft": arrays.faces.astype(np.int32)}
    np.savez(folder / "FLAME_texture.npz", mean=mean[..., ::-1], tex_dir=basis, **layout)
    # AlbedoMM: linear light, with gloss; the last of its 145 components are beyond those that a fit takes.
    more = np.zeros((64, 64, 3, 145))
    more[..., :3] = (basis / 255) * (mean[..., ::-1, None] / 255)
    gloss = {"specMU": np.full((64, 64, 3), 0.05), "specPC": np.zeros((64, 64, 3, 145))}
    np.savez(
        folder / "albedoModel2020_FLAME_albedoPart.npz", MU=(mean[..., ::-1] / 255) ** 2.2, PC=more, **gloss, **layout
    )
    # From the Basel Face Model: flat, 512 texels on a side, black at the back of the head, and without a layout.
    covered = np.repeat(np.repeat((abs(u - 0.5) < 0.3)[..., None], 3, axis=-1), 8, axis=0).repeat(8, axis=1)
    large = [
        covered * image.repeat(8, axis=0).repeat(8, axis=1) / 255
        for image in (mean[..., ::-1], *np.moveaxis(basis, -1, 0))
    ]
    np.savez(
        folder / "FLAME_albedo_from_BFM.npz", MU=large[0].ravel(), PC=np.stack([x.ravel() for x in large[1:]], axis=-1)
    )
    lines = [f"v {x:.8f} {y:.8f} {z:.8f}" for x, y, z in arrays.template] + [f"vt {a:.8f} {b:.8f}" for a, b in uv]
    lines += [f"f {i}/{i} {j}/{j} {k}/{k}" for i, j, k in arrays.faces + 1]
    (folder / "head_template.obj").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize(
    ("texture", "uv"),
    [
        ("FLAME_texture.npz", None),
        pytest.param("albedoModel2020_FLAME_albedoPart.npz", None, marks=pytest.mark.slow),
        pytest.param("FLAME_albedo_from_BFM.npz", "head_template.obj", marks=pytest.mark.slow),
    ],
)
def test_a_licensed_model_wears_its_texture_space(run, licensed, tmp_path, texture, uv):
    flame = load_flame(licensed / "generic_model.pkl")
    layout = () if uv is None else ("--uv", licensed / uv)
    appearance = load_appearance(flame, licensed / texture, uv=None if uv is None else licensed / uv)
    assert appearance.space.encoded == (not texture.startswith("albedoModel"))
    truth = np.zeros(appearance.space.basis.shape[-1])
    truth[:3] = 1.0, -0.8, 0.6
    image, options = photograph(flame, appearance, truth, tmp_path)
    files = ("--model", licensed / "generic_model.pkl", "--texture", licensed / texture, *layout)
    done = run("fit", image, *options, *files, "--photometric", "--out", tmp_path / "out")
    assert (done.code, done.err) == (0, "") and names(tmp_path / "out") == FILES | MORE
    report = json.loads((tmp_path / "out" / "report.json").read_text())["photometric"]
    assert report["psnr_after"] > report["psnr_before"] and report["texture"].endswith(texture)
    # Brightness is shared with the light; the other two are not.
    np.testing.assert_allclose(report["albedo"][1:3], truth[1:3], atol=0.4)
    found, wanted = read_image(tmp_path / "out" / "texture.png"), appearance.picture(truth)
    assert found.shape == wanted.shape
    front = np.s_[found.shape[0] // 4 : found.shape[0] // 2, 2 * found.shape[1] // 5 : 3 * found.shape[1] // 5]
    assert np.abs(found[front] / found[front].mean() - wanted[front] / wanted[front].mean()).mean() < 0.05
    # The back of the head, which neither the photo nor the Basel Face Model shows, is not left black.
    assert read_image(tmp_path / "out" / "photo_texture.png").mean(-1).min() > 0.05
