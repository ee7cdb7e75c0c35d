"""The exported folder holds the same head, opens with old and new programs, and appears whole or not at all."""

import json
import pickle
import pickletools
import subprocess
import sys
import textwrap
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import fit_image, load_params, save_image_fit
from flamehead.assets import find_beside, missing, read_embedding, read_masks, read_model, read_npy, read_npz
from flamehead.assets.identify import identify
from flamehead.builtin import builtin_head
from flamehead.builtin.albedo_space import BuiltinAlbedo
from flamehead.builtin.export import EXPORTED, export_builtin
from flamehead.builtin.uv_masks import find_texels
from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.io import read_mesh
from flamehead.model import Flame, load_flame

OLD_NAMES = {
    "numpy.core.multiarray _reconstruct",
    "numpy ndarray",
    "numpy dtype",
    "scipy.sparse.csc csc_matrix",
    "torch._utils _rebuild_tensor_v2",
    "torch.storage _load_from_bytes",
    "collections OrderedDict",
}
SIZE, COLUMNS = 32, 6


@pytest.fixture(scope="module")
def head():
    return builtin_head()


@pytest.fixture(scope="module")
def albedo(head):
    """A small albedo; the real one takes seconds to compress."""
    random = np.random.default_rng(1)

    def image(*shape):
        return random.random((SIZE, SIZE, 3, *shape), dtype=np.float32)

    return BuiltinAlbedo(
        mean_diffuse=0.2 + 0.3 * image(),
        mean_specular=0.1 * image(),
        diffuse_basis=0.04 * image(COLUMNS) - 0.02,
        specular_basis=0.02 * image(COLUMNS) - 0.01,
        names=tuple(f"color_{k}" for k in range(COLUMNS)),
        uv=head.uv,
        uv_faces=head.uv_faces,
    )


@pytest.fixture(scope="module")
def folder(head, albedo, tmp_path_factory):
    target = tmp_path_factory.mktemp("export") / "a" / "b"
    files = export_builtin(target, head=head, albedo=albedo)
    assert files == tuple(target / name for name in EXPORTED)
    return target


def unpickled(path):
    """What a foreign program gets."""
    with warnings.catch_warnings():
        # scipy has moved csc_matrix and says so.
        warnings.simplefilter("ignore", DeprecationWarning)
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=True, encoding="latin1")[()]
        return pickle.loads(path.read_bytes(), encoding="latin1")


def random_params(flame, seed):
    random = torch.Generator().manual_seed(seed)

    def draw(size, scale):
        return scale * torch.randn(4, size, generator=random, dtype=torch.float64)

    return FlameParams(draw(flame.n_shape, 1.0), draw(flame.n_expression, 0.5), *(draw(3, 0.2) for _ in range(6)))


def test_holds_the_files_it_says_and_no_others(folder):
    assert {path.name for path in folder.iterdir()} == set(EXPORTED)


def test_random_heads_are_the_same_within_a_micrometre(head, folder):
    arrays = read_model(folder / "generic_model.pkl")
    flame, other = (Flame(a, dtype=torch.float64) for a in (head.arrays, arrays))
    params = random_params(flame, 0)
    ours, theirs = flame(params), other(params)
    torch.testing.assert_close(theirs.vertices, ours.vertices, atol=1e-12, rtol=0)
    torch.testing.assert_close(theirs.joints, ours.joints, atol=1e-12, rtol=0)
    np.testing.assert_array_equal(arrays.faces, head.arrays.faces)


def test_the_export_is_known_as_the_built_in_head(head, folder):
    assert read_model(folder / "generic_model.pkl").fingerprint == head.arrays.fingerprint == "builtin-1"
    ours = ("generic_model.pkl", "FLAME_texture.npz", "albedoModel2020_FLAME_albedoPart.npz")
    found = [identify(folder / name) for name in ours]
    for asset in found:
        assert asset is not None and asset.built_in and "built-in head (MIT licence)" in asset.description
        assert not any(word in asset.description for word in ("NC", "academic", "redistribute"))
    # Nothing of it replaces a licensed file.
    assert {"model", "texture"} <= {wanted.kind for wanted in missing(asset for asset in found if asset)}


def test_parameters_of_the_built_in_head_apply_to_the_export_and_back(known, folder, tmp_path):
    model = folder / "generic_model.pkl"
    for flame in (load_flame(), load_flame(model)):
        found = fit_image(known.image, flame=flame, landmarks=known.landmarks, focal=known.focal)
        save_image_fit(found, tmp_path / "out")
        assert load_params(tmp_path / "out" / "params.npz").fingerprint == load_flame(model).fingerprint == "builtin-1"


@pytest.mark.parametrize("key", ["v_template", "posedirs", "flamehead"])
def test_a_changed_export_is_another_model(folder, tmp_path, key):
    entries = unpickled(folder / "generic_model.pkl")
    np.savez(tmp_path / "same.npz", **entries | {"J_regressor": entries["J_regressor"].toarray()})
    assert read_model(tmp_path / "same.npz").fingerprint == "builtin-1"
    changed = "built-in head, MIT licence" if key == "flamehead" else 1.001 * entries[key]
    (tmp_path / "changed.pkl").write_bytes(pickle.dumps(entries | {key: changed}, protocol=2))
    found = read_model(tmp_path / "changed.pkl").fingerprint
    assert len(found) == 16 and not found.startswith("builtin")


def test_landmarks_and_regions_are_the_same(head, folder):
    beside = find_beside(folder / "generic_model.pkl")
    assert {"ibug51", "ibug68", "mediapipe105"} <= beside["embeddings"].keys()
    corners = head.arrays.template[head.arrays.faces]
    for scheme in ("ibug68", "mediapipe105"):
        ours, theirs = (
            (corners[table[scheme].face_ids] * table[scheme].barycentric[..., None]).sum(1)
            for table in (head.embeddings, beside["embeddings"])
        )
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
    assert beside["regions"].keys() == read_masks(folder / "FLAME_masks.pkl").keys() == head.regions.keys()
    for name, ids in head.regions.items():
        np.testing.assert_array_equal(beside["regions"][name], ids)
    flame = load_flame(folder / "generic_model.pkl")
    assert flame.landmarks(flame(flame.zeros()).vertices, "ibug68").shape == (68, 3)


def test_contour_is_the_same_in_every_file(head, folder):
    corners = head.arrays.template[head.arrays.faces]
    wanted = (corners[head.contour_faces] * head.contour_barycentric[..., None]).sum(2)
    table = read_npy(folder / "flame_dynamic_embedding.npy")
    found = [(table["lmk_face_idx"], table["lmk_b_coords"])]
    for name in ("landmark_embedding.npy", "landmark_embedding_with_eyes.npy"):
        table = unpickled(folder / name)
        assert isinstance(table["dynamic_lmk_faces_idx"], torch.Tensor)
        found.append((table["dynamic_lmk_faces_idx"].numpy(), table["dynamic_lmk_bary_coords"].numpy()))
    for faces, weights in found:
        np.testing.assert_allclose((corners[np.array(faces)] * np.array(weights)[..., None]).sum(2), wanted, atol=1e-6)


def test_eye_centers_are_the_fronts_of_right_and_left_eyeball(head, folder):
    table = unpickled(folder / "landmark_embedding_with_eyes.npy")
    corners = head.arrays.template[head.arrays.faces]
    full = (corners[table["full_lmk_faces_idx"][0]] * table["full_lmk_bary_coords"][0][..., None]).sum(1)
    np.testing.assert_allclose(full[68:], head.arrays.template[[4597, 4051]], atol=1e-12)
    # Programs know these triangles by heart.
    np.testing.assert_array_equal(head.arrays.faces[[4628, 4053], 1], [4597, 4051])
    assert read_embedding(folder / "landmark_embedding_with_eyes.npy")["ibug68"].face_ids.shape == (68,)


def test_pickles_use_names_of_old_environments_only(folder):
    for name in ("generic_model.pkl", "landmark_embedding.npy", "flame_dynamic_embedding.npy", "texture_data_256.npy"):
        data = (folder / name).read_bytes()
        operations = list(pickletools.genops(data[128 if name.endswith(".npy") else 0 :]))
        assert {str(argument) for code, argument, _ in operations if code.name == "GLOBAL"} <= OLD_NAMES
        assert max(code.proto for code, _, _ in operations) == (3 if name.startswith("landmark") else 2)
        assert not {code.name for code, _, _ in operations} & {"STACK_GLOBAL", "FRAME", "MEMOIZE"}
    for name in ("FLAME_masks.pkl", "flame_static_embedding.pkl"):
        data = (folder / name).read_bytes()
        assert data.startswith(b"(d") and data.isascii() and b"\r" not in data and b"numpy._core" not in data


def test_foreign_programs_find_keys_and_types(folder):
    model = unpickled(folder / "generic_model.pkl")
    assert model["shapedirs"].shape == (5023, 3, 400) and model["shapedirs"].dtype == np.float64
    assert model["f"].dtype == model["kintree_table"].dtype == np.uint32
    np.testing.assert_allclose(model["J_regressor"] @ model["v_template"], model["J"], atol=1e-12)
    assert (model["J_regressor"].shape, model["bs_type"]) == ((5, 5023), "lrotmin")
    masks = unpickled(folder / "FLAME_masks.pkl")
    official = "face eye_region left_eye_region right_eye_region forehead nose lips left_eyeball right_eyeball left_ear"
    assert {*official.split(), "right_ear", "scalp", "neck", "boundary"} <= masks.keys()
    assert unpickled(folder / "flame_static_embedding.pkl")["lmk_b_coords"].shape == (51, 3)
    with np.load(folder / "mediapipe_landmark_embedding.npz") as file:
        assert file["landmark_indices"].shape == (105,)


def test_every_file_is_recognised(folder):
    kinds = {name: identify(folder / name) for name in EXPORTED}
    assert {name for name, found in kinds.items() if found is None} == {"README.txt", "components.json"}
    assert not [found.problem for found in kinds.values() if found is not None and found.problem]


def test_templates_hold_the_neutral_head(head, folder):
    for name in ("head_template.obj", "head_template_mesh.obj"):
        found = read_mesh(folder / name)
        np.testing.assert_allclose(found.vertices, head.arrays.template, atol=1e-8)
        np.testing.assert_array_equal(found.faces, head.arrays.faces)
    lines = (folder / "head_template_mesh.obj").read_text().splitlines()
    assert sum(line.startswith("vt ") for line in lines) == len(head.uv)


def test_eyelids_are_left_and_right(head, folder):
    for side, wanted in zip("lr", head.eyelids, strict=True):
        np.testing.assert_allclose(np.load(folder / f"{side}_eyelid.npy"), wanted, atol=1e-9)


def test_texture_space_shows_what_the_albedo_means(albedo, folder):
    from flamehead.builtin.albedo import to_srgb

    space = read_npz(folder / "FLAME_texture.npz")
    np.testing.assert_allclose(space["mean"][..., ::-1] / 255, to_srgb(albedo.mean_diffuse), atol=1e-6)
    coefficients = np.zeros(200)
    coefficients[:COLUMNS] = 0.3 * np.random.default_rng(2).normal(size=COLUMNS)
    shown = (space["mean"] + space["tex_dir"] @ coefficients)[..., ::-1] / 255
    meant = to_srgb(albedo.mean_diffuse + albedo.diffuse_basis @ coefficients[:COLUMNS])
    assert np.abs(shown - meant).max() < 2e-3


def test_albedo_space_is_the_albedo(albedo, folder):
    space = read_npz(folder / "albedoModel2020_FLAME_albedoPart.npz")
    for prefix, kind in (("", "diffuse"), ("spec", "specular")):
        np.testing.assert_allclose(space[f"{prefix}MU"][..., ::-1], getattr(albedo, f"mean_{kind}"))
        basis = space[f"{prefix}PC"]
        assert basis.shape == (SIZE, SIZE, 3, 145)
        np.testing.assert_array_equal(basis[:, :, ::-1, :COLUMNS], getattr(albedo, f"{kind}_basis"))


def test_uv_masks_agree_with_the_regions(head, folder):
    masks = read_npz(folder / "uv_masks.npz")
    assert {mask.shape for mask in masks.values()} == {(2048, 2048)} and all(
        mask.dtype == bool for mask in masks.values()
    )
    assert head.regions.keys() <= masks.keys() and {"skin", "left_half", "right_half", "ears", "eyeballs"} <= set(masks)
    assert (masks["left_ear"] | masks["right_ear"] == masks["ears"]).all() and masks["ears"].any()
    assert not (masks["left_half"] & masks["right_half"]).any()


def test_texels_name_the_point_under_each_pixel(head, folder):
    table = unpickled(folder / "texture_data_256.npy")
    found = find_texels(head.uv, head.uv_faces, 256)
    ids = table["valid_pixel_ids"]
    assert len(ids) == (found.face_ids >= 0).sum() > 1000
    column, row = (table[key][ids].astype(int) for key in ("x_coords", "y_coords"))
    corners = head.uv[head.uv_faces[found.face_ids[row, column]]]
    at = (corners * table["valid_pixel_b_coords"][..., None]).sum(1)
    wanted = np.column_stack([(column + 0.5) / 256, 1 - (row + 0.5) / 256])
    np.testing.assert_allclose(at, wanted, atol=2e-5)


def test_readme_states_licence_and_differences(head, folder):
    text = (folder / "README.txt").read_text(encoding="utf-8")
    assert text.startswith("The built-in head of flamehead")
    for fact in ("MIT", "NO data of the FLAME", "4628", "4053", "60 vertices instead of 30", str(len(head.uv))):
        assert fact in text
    assert "{" not in text and max(map(len, text.splitlines())) <= 120
    assert all(name in text for name in head.regions)
    for name in EXPORTED:
        assert name.replace("texture_data_512", "..._512") in text or name == "README.txt"
    names = json.loads((folder / "components.json").read_text(encoding="utf-8"))
    assert [len(names[key]) for key in ("shape", "expression", "albedo")] == [300, 100, COLUMNS]


def test_an_export_is_only_replaced_when_asked(head, albedo, folder, tmp_path):
    target = tmp_path / "export"
    target.mkdir()
    for name in ("README.txt", "generic_model.pkl"):
        (target / name).write_bytes((folder / name).read_bytes())
    (target / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="already holds an export; add --overwrite"):
        export_builtin(target, head=head, albedo=albedo)
    export_builtin(target, overwrite=True, head=head, albedo=albedo)
    assert {path.name for path in target.iterdir()} == {*EXPORTED, "notes.txt"}


def test_licensed_files_are_never_replaced(head, albedo, tmp_path):
    (tmp_path / "generic_model.pkl").write_bytes(b"licensed")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"holds generic_model\.pkl, which this command did not write"):
            export_builtin(tmp_path, overwrite=overwrite, head=head, albedo=albedo)
    assert (tmp_path / "generic_model.pkl").read_bytes() == b"licensed" and len(list(tmp_path.iterdir())) == 1


def test_a_file_in_the_way_is_one_sentence(head, albedo, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file") as caught:
        export_builtin(tmp_path / "file" / "inner", head=head, albedo=albedo)
    assert str(caught.value).count(". ") == 0


def test_failure_midway_leaves_nothing(head, albedo, tmp_path):
    broken = replace(albedo, diffuse_basis=np.zeros((SIZE, SIZE, 3, 201), np.float32))
    with pytest.raises(InputError, match="201 components"):
        export_builtin(tmp_path / "out", head=head, albedo=broken)
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a Unix notion")
def test_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    script = """
        import resource, sys
        from types import SimpleNamespace
        from flamehead.builtin import builtin_head
        from flamehead.builtin.export import export_builtin
        from flamehead.errors import InputError
        head = builtin_head()
        # As on a full disk, a write fails in the middle of a file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        try:
            export_builtin(sys.argv[1], head=head, albedo=SimpleNamespace())
        except InputError as error:
            sys.stdout.write(str(error))
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Cannot write the built-in head into ") and "name another folder." in done.stdout
    assert not list(tmp_path.iterdir())
