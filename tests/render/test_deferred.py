"""The compiled step from fragments to painted pixels: its parts' values and gradients, and bits that never change."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead.geometry.normals import vertex_normals
from flamehead.raster._cpu import fork as door
from flamehead.raster._team import Team, team
from flamehead.raster._threads import patience
from flamehead.render import Texture, build_pyramid, constant_light, decode_srgb, draw, to_screen
from flamehead.render._cpu import stages
from flamehead.render._cpu.texels import RUN, unpack
from flamehead.render._packed import Packing, Unpacking, double_up, halve_on
from flamehead.render._regions import Regions
from flamehead.render._screen import place, place_with_normals
from flamehead.render._split import split


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def flat_texture(bust, image: torch.Tensor, **how) -> Texture:
    vertices, faces = bust
    return Texture(image, 0.5 + 2.2 * vertices[:, :2], faces, **how)


@pytest.fixture
def light() -> torch.Tensor:
    out = constant_light(torch.tensor([0.7, 0.6, 0.5]))
    out[1:] += 0.1 * torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    return out


def gradients(bust, camera, texture: Texture, light: torch.Tensor, dtype: torch.dtype) -> list[torch.Tensor]:
    """The picture, and gradients of vertices, image, uv and light."""
    values = [v.detach().clone().to(dtype).requires_grad_() for v in (bust[0], texture.image, texture.uv, light)]
    pose = {name: getattr(camera, name).to(dtype) for name in ("rotation", "translation", "focal", "center")}
    painted = replace(texture, image=values[1], uv=values[2])
    drawn = draw(values[0], bust[1], replace(camera, **pose), albedo=painted, light=values[3])
    weight = noise(*drawn.image.shape, seed=7).to(dtype)
    return [drawn.image, *torch.autograd.grad((drawn.image * weight).sum(), values)]


@pytest.mark.parametrize(("height", "width"), [(64, 48), (33, 17), (5, 96), (1, 1)])
@pytest.mark.parametrize("encoding", ["srgb", "linear"])
@pytest.mark.parametrize("parallel", [False, True])
def test_it_is_its_parts_for_every_texture(bust, front, light, height, width, encoding, parallel):
    texture = flat_texture(bust, noise(height, width, 3), encoding=encoding)
    camera = front
    if parallel:
        camera = replace(front, translation=torch.zeros(3), focal=torch.full((2,), 260.0), orthographic=True)
    fast, plain = (gradients(bust, camera, texture, light, dtype) for dtype in (torch.float32, torch.float64))
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-3 * float(other.detach().abs().max()), rtol=0)


@pytest.mark.parametrize("roll", [0.0, 1.2])
def test_a_picture_of_several_bands_is_the_plain_one(bust, front, light, roll):
    turn = torch.tensor([[np.cos(roll), -np.sin(roll), 0.0], [np.sin(roll), np.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    large = replace(front, focal=3 * front.focal, center=3 * front.center, size=(283, 240))
    camera = replace(large, rotation=turn.float() @ front.rotation)
    texture = flat_texture(bust, noise(64, 48, 3))
    found = []
    for dtype in (torch.float32, torch.float64):
        values = [v.detach().clone().to(dtype).requires_grad_() for v in (bust[0], texture.image, texture.uv, light)]
        painted = replace(texture, image=values[1], uv=values[2])
        drawn = draw(values[0], bust[1], camera.to(dtype=dtype), albedo=painted, light=values[3])
        weight = noise(*drawn.image.shape[:2], 4, seed=7).to(dtype)
        loss = (drawn.image * weight[..., :3]).sum() + (drawn.alpha * weight[..., 3]).sum()
        found.append([drawn.image, drawn.alpha, *torch.autograd.grad(loss, values)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-3 * float(other.detach().abs().max()), rtol=0)


def test_a_mask_alone_moves_vertices(bust, front, light):
    vertices = bust[0].clone().requires_grad_()
    drawn = draw(vertices, bust[1], front, albedo=flat_texture(bust, noise(8, 8, 3)), light=light)
    assert torch.autograd.grad(drawn.alpha.sum(), vertices)[0].abs().sum() > 0


def test_bands_share_regions_where_all_of_them_look_everywhere():
    extents = np.tile(np.array([[0.0, 1.0]], dtype=np.float32), (8, 1))
    regions = Regions.of(extents, ((64, 64), (32, 32), (16, 16)))
    assert regions.parts == 4 and len(regions.lows) == 2
    assert (regions.lows == 0).all() and (regions.highs == [64, 32, 16]).all()
    nothing = Regions.of(np.array([[np.inf, -np.inf]], dtype=np.float32), ((4, 4), (2, 2)))
    assert (nothing.lows == nothing.highs).all()


def test_the_bits_do_not_depend_on_the_number_of_threads(bust, front, light):
    camera = replace(front, focal=6 * front.focal, center=6 * front.center, size=(576, 480))
    texture = flat_texture(bust, noise(64, 48, 3))
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(gradients(bust, camera, texture, light, torch.float32))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_shared_texture_gets_the_sum_of_a_batch(bust, front, light):
    vertices, faces = bust
    both = torch.stack([vertices, 0.8 * vertices])

    def gradient(heads: torch.Tensor) -> torch.Tensor:
        image = noise(32, 32, 3).requires_grad_()
        drawn = draw(heads, faces, front, albedo=flat_texture(bust, image), light=light)
        return torch.autograd.grad(drawn.image.square().sum(), image)[0]

    torch.testing.assert_close(gradient(both), gradient(both[0]) + gradient(both[1]), atol=1e-4, rtol=1e-4)


def test_a_texture_with_holes_harms_only_what_shows_them(bust, front, light):
    vertices, faces = bust
    image = noise(64, 64, 3)
    image[:4] = torch.nan
    texture = flat_texture(bust, image)
    large = replace(front, focal=12 * front.focal, center=12 * front.center, size=(1152, 960))
    drawn = draw(vertices, faces, large, albedo=texture, light=light, smooth_edges=False).image
    # Seen from near, nothing looks at a coarser copy, into which the holes have spread.
    assert drawn.isfinite().float().mean() > 0.9


@pytest.mark.parametrize(("height", "width"), [(8, 16), (64, 32), (40, 24), (7, 5), (1, 9)])
@pytest.mark.parametrize("decode", [False, True])
def test_packed_texels_are_those_of_the_pyramid(height, width, decode):
    image = 1.4 * noise(height, width, 3) - 0.2
    leaf = image.double().requires_grad_()
    wanted = build_pyramid(decode_srgb(leaf) if decode else leaf).texels
    packing, room = Packing.of(image, decode=decode), np.zeros(RUN, dtype=np.float32)
    for tile in range(-(-height // stages.TILE)):
        stages.pack_tile(tile, room, packing)
    stages.halve_all(packing)
    halve_on(packing.texels, packing.sizes)
    texels, sizes = torch.from_numpy(packing.texels).reshape(-1, 4), packing.sizes
    torch.testing.assert_close(texels[:, :3], wanted.float(), atol=1e-6, rtol=2e-6)
    weight = noise(len(wanted), 4, seed=3)
    wanted = torch.autograd.grad((wanted * weight[:, :3]).sum(), leaf)[0].float()
    parts: list[Regions | None] = [None]
    if height % 2 == width % 2 == 0:
        # The full image in two regions, whose sum counts.
        half = Regions.whole(0.5 * weight.reshape(-1).numpy(), sizes)
        lows, highs = (np.concatenate([rows, rows]) for rows in (half.lows, half.highs))
        begins = np.concatenate([half.begins, half.begins + len(weight)])
        parts.append(replace(half, lows=lows, highs=highs, begins=begins, texels=np.tile(half.texels, 2)))
    for finest in parts:
        gradient = weight.reshape(-1).clone().numpy()
        double_up(gradient, sizes)
        unpacking = Unpacking.of(packing, gradient, finest)
        fixed = (getattr(unpacking, name) for name in Unpacking._fields if name != "height")
        unpack(0, unpacking.height, *fixed, room, np.zeros(4 * RUN // 3, dtype=np.float32))
        found = torch.from_numpy(unpacking.out).reshape(image.shape)
        torch.testing.assert_close(found, wanted, atol=1e-6, rtol=2e-6)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_compiled_places_are_plain_ones(bust, front, batch, parallel):
    camera = replace(front, orthographic=parallel)
    results = []
    for compute, dtype in ((place, torch.float32), (to_screen, torch.float64)):
        leaf = bust[0].expand(*batch, -1, -1).clone().to(dtype).requires_grad_()
        points = compute(leaf, camera.to(dtype=dtype))
        results.append((points, *torch.autograd.grad((points * noise(*points.shape, seed=4).to(dtype)).sum(), leaf)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, atol=1e-5 * float(other.detach().abs().max()), rtol=0)


def test_a_camera_with_gradients_keeps_them(bust, front):
    turned = replace(front, translation=front.translation.clone().requires_grad_())
    assert torch.autograd.grad(place(bust[0], turned).sum(), turned.translation)[0].abs().sum() > 0


def test_split_passes_either_gradient():
    both = noise(3, 5, 4).requires_grad_()
    image, alpha = split(both)
    torch.testing.assert_close(torch.cat([image, alpha[..., None]], dim=-1), both)
    for value, first, last in ((image, 0, 3), (alpha, 3, 4)):
        (gradient,) = torch.autograd.grad(value.sum(), both, retain_graph=True)
        wanted = torch.zeros_like(both)
        wanted[..., first:last] = 1.0
        assert torch.equal(gradient, wanted)


def test_crews_and_jobs_and_one_thread_give_the_same_bits(bust, front, light, monkeypatch):
    camera = replace(front, focal=4.0 * front.focal, center=4.0 * front.center, size=(384, 320))
    texture, results, served = flat_texture(bust, noise(96, 128, 3)), [], []
    before, real, crew = torch.get_num_threads(), door.forking, team()

    def fork(workers: int) -> Team | None:
        served.append(real(workers))
        return served[-1]

    try:
        # With three threads, everything goes as jobs.
        for threads, choose in ((1, fork), (2, fork), (3, lambda workers: None)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(door, "forking", choose)
            # Beside other tests the team is late, and would rest.
            with patience():
                results.append(gradients(bust, camera, texture, light, torch.float32))
    finally:
        torch.set_num_threads(before)
    assert crew is None or crew in served
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            assert torch.equal(one, same)


def drawn(bust, camera, light, image: torch.Tensor, **how):
    """A drawing and its leaves: vertices, image, light."""
    leaves = [value.detach().clone().requires_grad_() for value in (bust[0], image, light)]
    texture = flat_texture(bust, leaves[1])
    return draw(leaves[0], bust[1], camera, albedo=texture, light=leaves[2], **how), leaves


def test_gradients_one_by_one_and_twice_are_the_same_bits(bust, front, light):
    drawing, leaves = drawn(bust, front, light, noise(24, 32, 3))
    loss = drawing.image.square().sum() + drawing.alpha.sum()
    together = torch.autograd.grad(loss, leaves, retain_graph=True)
    for leaf, wanted in zip(leaves, together, strict=True):
        assert torch.equal(torch.autograd.grad(loss, leaf, retain_graph=True)[0], wanted)


def test_coverage_alone_has_the_gradient_of_plain_torch(bust, front, light):
    found = []
    for dtype in (torch.float32, torch.float64):
        vertices = bust[0].clone().to(dtype).requires_grad_()
        texture = flat_texture(bust, noise(8, 8, 3))
        texture = replace(texture, image=texture.image.to(dtype), uv=texture.uv.to(dtype))
        drawing = draw(vertices, bust[1], front.to(dtype=dtype), albedo=texture, light=light.to(dtype))
        weight = noise(*drawing.alpha.shape, seed=2).to(dtype)
        found.append(torch.autograd.grad((drawing.alpha * weight).sum(), vertices)[0].double())
    torch.testing.assert_close(*found, atol=2e-3 * float(found[1].abs().max()), rtol=0)


@pytest.mark.parametrize("part", ["face_ids", "barycentric", "depth"])
def test_fragments_that_are_written_to_before_the_way_back_are_noticed(bust, front, light, part):
    drawing, _ = drawn(bust, front, light, noise(8, 8, 3))
    others = {n: getattr(drawing.fragments, n)._version for n in ("face_ids", "barycentric", "depth") if n != part}
    getattr(drawing.fragments, part).mul_(1)
    assert {n: getattr(drawing.fragments, n)._version for n in others} == others
    with pytest.raises(RuntimeError, match="inplace"):
        drawing.image.sum().backward()


def test_a_picture_may_be_clamped_for_show(bust, front, light):
    drawing, _ = drawn(bust, front, light, noise(8, 8, 3))
    loss = drawing.alpha.square().sum()
    drawing.image.detach().clamp_(0, 1)
    loss.backward()


def test_two_textures_of_one_mesh_in_turn(bust, front, light):
    vertices, faces = bust
    one = flat_texture(bust, noise(16, 16, 3))
    corners = torch.arange(3 * len(faces)).reshape(-1, 3)
    other = Texture(one.image, one.uv[faces.reshape(-1)], corners)
    first, second = (draw(vertices, faces, front, albedo=each, light=light).image for each in (one, other))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=0)
    assert torch.equal(draw(vertices, faces, front, albedo=one, light=light).image, first)
    corners.numpy()[:] = corners.numpy()[::-1].copy()
    assert not torch.equal(draw(vertices, faces, front, albedo=other, light=light).image, second)


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 1), (7, 5)])
def test_tiny_pictures_are_the_plain_ones(bust, front, light, size):
    camera = replace(front, focal=front.focal / 12, center=torch.tensor(size) / 2.0, size=size)
    fast, plain = (
        gradients(bust, camera, flat_texture(bust, noise(12, 10, 3)), light, dtype)
        for dtype in (torch.float32, torch.float64)
    )
    for one, other in zip(fast, plain, strict=True):
        torch.testing.assert_close(one.double(), other, atol=3e-3 * float(other.detach().abs().max()), rtol=0)


def test_a_broken_vertex_leaves_the_light_its_gradient(bust, front, light):
    broken = bust[0].clone()
    broken[700] = torch.nan
    drawing, leaves = drawn((broken, bust[1]), front, light, noise(8, 8, 3))
    assert drawing.image.isfinite().all()
    assert torch.autograd.grad(drawing.image.sum(), leaves[2])[0].isfinite().all()


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)])
def test_places_with_normals_are_both(bust, front, batch, parallel, who):
    camera, faces = replace(front, orthographic=parallel), bust[1]
    results = []
    for dtype in (torch.float32, torch.float64):
        leaf = bust[0].expand(*batch, -1, -1).clone().to(dtype).requires_grad_()
        found = place_with_normals(leaf, faces, camera.to(dtype=dtype))
        if dtype == torch.float64:
            assert found[1] is None
            found = to_screen(leaf, camera.to(dtype=dtype)), vertex_normals(leaf, faces, backend="reference")
        total = torch.stack([(found[n] * noise(*leaf.shape, seed=n).to(dtype)).sum() for n in who]).sum()
        results.append((*found, *torch.autograd.grad(total, leaf)))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one.double(), other, atol=2e-5 * float(other.detach().abs().max()), rtol=0)
