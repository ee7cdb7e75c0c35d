"""Texture models on files in the official layouts, against the formulas of those who published them."""

import numpy as np
import pytest
import torch

from flamehead.builtin.albedo_space import builtin_albedo, decode
from flamehead.errors import AssetNotFound, InputError
from flamehead.model import load_texture

K = 5
SIZE = 6


def _image(random, *components, scale=1.0, size=(SIZE, 4)):
    return scale * random.random((*size, 3, *components))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The three official layouts, channels reversed as their programs store them."""
    random, folder = np.random.default_rng(4), tmp_path_factory.mktemp("textures")
    layout = {"vt": random.random((5118, 2)), "ft": random.integers(0, 5118, (9976, 3)).astype(np.int32)}
    mean, basis = _image(random, scale=255.0), _image(random, K, scale=9.0) - 4.5
    np.savez(folder / "a.npz", mean=mean, tex_dir=basis, **layout)
    parts = {"MU": 0.5 + _image(random) / 2, "PC": _image(random, K) / 9 - 0.05}
    parts |= {"specMU": _image(random) / 9, "specPC": _image(random, K) / 90}
    np.savez(folder / "b.npz", **parts, **layout)
    flat = random.random(512 * 512 * 3), np.repeat(random.random((64, K)) / 9, 512 * 512 * 3 // 64, axis=0)
    np.savez(folder / "c.npz", MU=flat[0], PC=flat[1])
    np.save(folder / "l_eyelid.npy", np.zeros((5023, 3)))
    return folder


def _official(path, c):
    """What the programs that use these files show, 0..1, before clipping."""
    with np.load(path) as file:
        if "tex_dir" in file:
            return (file["mean"] + file["tex_dir"] @ c)[..., ::-1] / 255
        if "specMU" in file:
            both = file["MU"] + file["PC"] @ c + file["specMU"] + file["specPC"] @ c
            return (0.6 * np.maximum(both, 0.0))[..., ::-1] ** (1 / 2.2)
        return (file["MU"] + file["PC"] @ c).reshape(512, 512, 3)[..., ::-1]


@pytest.mark.parametrize("name", ["a", "b", "c"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-6), (torch.float32, 2e-6)])
def test_textures_are_those_of_the_official_programs(folder, name, dtype, atol):
    texture = load_texture(folder / f"{name}.npz", dtype=dtype)
    c = np.random.default_rng(1).normal(size=K)
    out = texture(torch.tensor(c, dtype=dtype))
    assert out.dtype == dtype and texture.n_components == K and out.shape == (*texture.size, 3)
    wanted = torch.tensor(_official(folder / f"{name}.npz", c).copy())
    torch.testing.assert_close(out.double(), wanted, rtol=0, atol=atol)
    assert (texture.uv is None) == (name == "c")


@pytest.mark.parametrize("name", ["a", "b", None])
def test_batches_first_components_and_the_mean(folder, name):
    path = None if name is None else folder / f"{name}.npz"
    texture, few = load_texture(path, n_components=3), load_texture(path, n_components=2)
    c = torch.randn(2, 1, 3, generator=torch.Generator().manual_seed(0))
    out = texture(c)
    assert out.shape == (2, 1, *texture.size, 3)
    torch.testing.assert_close(out[1, 0], texture(c[1, 0]))
    torch.testing.assert_close(few(c[..., :2]), texture(c[..., :2]))
    torch.testing.assert_close(texture(c[..., :2]), texture(c * torch.tensor([1.0, 1.0, 0.0])))
    torch.testing.assert_close(texture(texture.zeros((4,)))[3], load_texture(path, n_components=0)(c[0, 0, :0]))


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:DeprecationWarning")  # Raised inside torch.func.
@pytest.mark.parametrize("name", ["a", "b"])
def test_gradients(folder, name):
    texture = load_texture(folder / f"{name}.npz", n_components=3, dtype=torch.float64)
    c = torch.randn(2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(texture, c)
    assert torch.autograd.gradgradcheck(texture, c)
    forward = torch.func.jacfwd(texture)(c)
    torch.testing.assert_close(forward, torch.autograd.functional.jacobian(texture, c))
    compiled = torch.compile(texture, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(c), texture(c))


def test_nothing_is_clipped_and_dark_texels_have_finite_gradients(folder):
    for name in ("a", "b"):
        texture = load_texture(folder / f"{name}.npz", dtype=torch.float64)
        c = torch.full((K,), 300.0, dtype=torch.float64, requires_grad=True)
        out = texture(c)
        assert out.max() > 1.0
        (grad,) = torch.autograd.grad(texture(-c).sum(), c)
        assert torch.isfinite(grad).all()


def test_the_built_in_albedo_is_the_same_as_its_own_decoder():
    texture = load_texture(n_components=40)
    assert texture.n_components == 31
    c = 0.7 * torch.randn(31, generator=torch.Generator().manual_seed(3))
    wanted = decode(builtin_albedo(), c.numpy())
    torch.testing.assert_close(texture(c).clamp(0, 1), torch.from_numpy(wanted), rtol=0, atol=2e-5)
    diffuse, specular = texture.albedo(texture.zeros())
    torch.testing.assert_close(diffuse, torch.from_numpy(builtin_albedo().mean_diffuse))
    torch.testing.assert_close(specular, torch.from_numpy(builtin_albedo().mean_specular))
    assert not texture.state_dict()


def test_albedo_is_linear_light(folder):
    texture = load_texture(folder / "b.npz", dtype=torch.float64)
    diffuse, specular = texture.albedo(texture.zeros())
    with np.load(folder / "b.npz") as file:
        wanted = [torch.tensor(file[key][..., ::-1].copy()) for key in ("MU", "specMU")]
    torch.testing.assert_close([diffuse, specular], wanted, rtol=0, atol=1e-6)


def test_wrong_input_gets_one_sentence(folder, tmp_path):
    texture = load_texture(folder / "a.npz", n_components=2)
    with pytest.raises(InputError, match=r"shape \(3,\), but .*a.npz was loaded with 2 components"):
        texture(torch.zeros(3))
    with pytest.raises(InputError, match=r"float64 on cpu, but the texture is torch.float32"):
        texture(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(InputError, match="holds colours and no albedo"):
        texture.albedo(torch.zeros(2))
    with pytest.raises(InputError, match="no texture space but a EyelidOffsets"):
        load_texture(folder / "l_eyelid.npy")
    with pytest.raises(InputError, match="n_components is -1"):
        load_texture(n_components=-1)
    with pytest.raises(AssetNotFound):
        load_texture(tmp_path / "absent.npz")
