"""The networks against the original implementations' numbers, and the usual mistakes against the networks."""

import zlib

import numpy as np
import pytest
import torch
from torch import nn

from flamehead.regress._arcface import ArcFace, Block
from flamehead.regress._detail import DetailDecoder
from flamehead.regress._folded import folded
from flamehead.regress._layout import layout
from flamehead.regress._mapping import Mapping, normalised
from flamehead.regress._resnet import Encoder
from flamehead.regress.checkpoint import load_network

TOLERANCE = {torch.float32: ("f32", 1e-5), torch.float64: ("f64", 1e-9)}


def _net(build, weights, dtype=torch.float32):
    with torch.device("meta"):
        net = build()
    return load_network(net, weights).to(dtype)


def _close(found, wanted, tolerance):
    wanted = torch.from_numpy(np.asarray(wanted))
    assert found.dtype == wanted.dtype
    torch.testing.assert_close(found, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))


def _far(found, wanted, least):
    wanted = torch.from_numpy(np.asarray(wanted))
    assert float((found - wanted).abs().max() / wanted.abs().max()) > least


def _checksum(arrays):
    crc = 0
    for array in arrays:
        crc = zlib.crc32(np.ascontiguousarray(array).tobytes(), crc)
    return crc


@pytest.fixture(scope="module")
def recipes(recipe):
    return {network: recipe(network) for network in ("MICA", "DECA")}


@pytest.mark.assets
@pytest.mark.parametrize("network", ["MICA", "DECA"])
def test_names_shapes_and_types_are_the_official_ones(official_names, network):
    wanted = {
        f"{part}.{name}": (tuple(entry["shape"]), getattr(torch, entry["dtype"]))
        for part, entries in official_names(network).items()
        for name, entry in entries.items()
    }
    assert layout(network) == wanted


@pytest.mark.assets
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_mica_matches_the_original(recipes, parity, mica_input, dtype):
    suffix, tolerance = TOLERANCE[dtype]
    expected, parts = parity("mica_expected.npz"), recipes["MICA"]
    crc = dict(zip(expected["recipe_names"].tolist(), expected["recipe_crc32"].tolist(), strict=True))
    assert _checksum(value.numpy() for value in parts["arcface"].values()) == crc["arcface"]
    regressor = {name.removeprefix("regressor."): value for name, value in parts["flameModel"].items()}
    raw = _net(ArcFace, parts["arcface"], dtype)(torch.from_numpy(mica_input).to(dtype))
    _close(raw, expected[f"embedding_raw_{suffix}"], tolerance)
    _close(normalised(raw), expected[f"embedding_{suffix}"], tolerance)
    mapping = _net(Mapping, regressor, dtype)
    _close(mapping(normalised(raw)), expected[f"shape_code_{suffix}"], tolerance)
    _far(mapping(raw), expected[f"shape_code_{suffix}"], 1.0)


@pytest.mark.assets
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_deca_matches_the_original(recipes, parity, deca_input, dtype):
    suffix, tolerance = TOLERANCE[dtype]
    expected, parts = parity("deca_expected.npz"), recipes["DECA"]
    for name, crc in zip(expected["recipe_names"].tolist(), expected["recipe_crc32"].tolist(), strict=True):
        if name in parts:
            assert _checksum(value.numpy() for value in parts[name].values()) == crc
    image = torch.from_numpy(deca_input).to(dtype)
    code = _net(lambda: Encoder(236), parts["E_flame"], dtype)(image)
    _close(code, expected[f"code_{suffix}"], tolerance)
    _close(_net(lambda: Encoder(128), parts["E_detail"], dtype)(image), expected[f"detail_{suffix}"], tolerance)
    decoder = _net(DetailDecoder, parts["D_detail"], dtype)
    uv_z = decoder(torch.from_numpy(expected["detail_latent"]).to(dtype))
    texels = expected["uv_pixels"]
    _close(uv_z[:, 0][:, texels][:, :, texels], expected[f"uv_z_{suffix}"], tolerance)


@pytest.mark.assets
def test_the_usual_epsilon_of_batch_norm_is_wrong_by_far(recipes, parity):
    expected = parity("deca_expected.npz")
    decoder = _net(DetailDecoder, recipes["DECA"]["D_detail"])
    for layer in decoder.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-5
    texels = expected["uv_pixels"]
    wrong = decoder(torch.from_numpy(expected["detail_latent"]))[:, 0][:, texels][:, :, texels]
    _far(wrong, expected["uv_z_f32"], 0.1)


def test_the_first_batch_norm_of_the_decoder_has_the_usual_epsilon_and_all_others_have_not():
    with torch.device("meta"):
        found = [layer.eps for layer in DetailDecoder().modules() if isinstance(layer, nn.BatchNorm2d)]
    assert found == [1e-5, 0.8, 0.8, 0.8, 0.8, 0.8]


@pytest.mark.assets
def test_red_and_blue_swapped_or_expression_before_jaw_is_wrong(recipes, parity, mica_input, deca_input):
    expected = parity("mica_expected.npz")
    arcface = _net(ArcFace, recipes["MICA"]["arcface"])
    wrong = arcface(torch.from_numpy(np.ascontiguousarray(mica_input[:, ::-1])))
    _far(wrong, expected["embedding_raw_f32"], 0.05)
    expected = parity("deca_expected.npz")
    latent = torch.from_numpy(expected["detail_latent"])
    jaw, expression, detail = latent.split([3, 50, 128], dim=1)
    texels = expected["uv_pixels"]
    decoder = _net(DetailDecoder, recipes["DECA"]["D_detail"])
    wrong = decoder(torch.cat([expression, jaw, detail], dim=1))[:, 0][:, texels][:, :, texels]
    _far(wrong, expected["uv_z_f32"], 0.1)


@pytest.mark.assets
def test_a_stride_on_the_first_convolution_is_wrong(recipes, parity, mica_input):
    net = _net(ArcFace, recipes["MICA"]["arcface"])
    for block in net.modules():
        if isinstance(block, Block) and block.downsample is not None:
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
    _far(net(torch.from_numpy(mica_input)), parity("mica_expected.npz")["embedding_raw_f32"], 0.05)


@pytest.mark.parametrize(
    ("part", "build", "shape"),
    [
        pytest.param("arcface", ArcFace, (3, 112, 112), marks=pytest.mark.slow),
        ("E_detail", lambda: Encoder(128), (3, 224, 224)),
        ("D_detail", DetailDecoder, (181,)),
    ],
)
def test_folding_batch_norms_changes_nothing(recipes, part, build, shape):
    net = _net(build, recipes["MICA" if part == "arcface" else "DECA"][part], torch.float64)
    image = torch.linspace(-1, 1, 2 * int(np.prod(shape)), dtype=torch.float64).sin().reshape(2, *shape)
    light = folded(net)
    norms = [layer for layer in light.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert len(norms) == {"arcface": 50, "E_detail": 0, "D_detail": 1}[part]
    wanted = net(image)
    torch.testing.assert_close(light(image), wanted, rtol=0, atol=1e-12 * float(wanted.abs().max()))
