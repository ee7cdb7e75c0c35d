"""The one-file viewer, in a real browser without a network: it renders, moves, plays, and poses like the model."""

import importlib.util
import re
import shutil
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch

from flamehead import InputError, load_flame
from flamehead.builtin import builtin_head
from flamehead.data import Camera, Track
from flamehead.export import write_html
from flamehead.export.html_motion import _seen_pose
from flamehead.geometry.rotation import exp
from flamehead.model import Flame

TOLERANCE = 2e-5
"""Metres, between the page's vertices and ours: sixteen bits and single precision."""
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --use-angle=swiftshader "
    "--enable-unsafe-swiftshader --window-size=1200,800"
)

in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(_CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    # What the driver and its connections leave to the garbage collector is not ours to close.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def marked(test):
    """A test that drives the browser."""
    for mark in in_browser:
        test = mark(test)
    return test


@pytest.fixture(scope="module")
def flame():
    return load_flame(dtype=torch.float64)


@pytest.fixture(scope="module")
def browser():
    """Chromium with an empty profile, offline."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = _CHROMIUM  # pyright: ignore[reportAttributeAccessIssue]
        for option in (*_OPTIONS.split(), f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
        driver.set_script_timeout(60)
        driver.set_network_conditions(offline=True, latency=0, download_throughput=0, upload_throughput=0)
        yield driver
        driver.quit()


def opened(browser, page):
    """Open a page, wait until it has drawn, and see that nothing went wrong."""
    browser.get_log("browser")
    browser.get(page.as_uri())
    drawn(browser)
    assert browser.execute_script("return document.getElementById('message').hidden")


def drawn(browser):
    """Wait until two more pictures were asked for, so that what changed is on the canvas."""
    browser.execute_async_script(
        "const [done] = arguments, next = requestAnimationFrame; next(() => next(() => next(done)))"
    )


def errors(browser):
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def pixels(browser):
    """The canvas as a thumbnail, RGBA."""
    rows = browser.execute_script(
        """
        const view = flamehead.page.view, gl = view.gl;
        view.stale = true;
        view.draw();
        const { width, height } = view.canvas, out = new Uint8Array(4 * width * height);
        gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, out);
        const step = 4, thumb = [];
        for (let y = 0; y < height; y += step)
          for (let x = 0; x < width; x += step) thumb.push(...out.slice(4 * (y * width + x), 4 * (y * width + x) + 4));
        return thumb;
        """
    )
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def vertices(browser, coefficients, pose, translation):
    flat = browser.execute_script(
        "return flamehead.vertices(...arguments)", list(coefficients), list(pose), list(translation)
    )
    return np.array(flat).reshape(-1, 3)


def walk(flame, count=12):
    """A short track: a person who turns, talks and blinks before a camera."""
    t = np.arange(count) / 25.0
    generator = torch.Generator().manual_seed(0)
    rows = torch.from_numpy(t)[:, None]
    params = replace(
        flame.zeros((count,)),
        shape=torch.randn(flame.n_shape, generator=generator, dtype=torch.float64).expand(count, -1),
        expression=0.3
        * torch.randn(flame.n_expression, generator=generator, dtype=torch.float64)
        * torch.sin(9 * rows),
        jaw=torch.tensor([0.2, 0.02, 0.0]) * torch.sin(7 * rows).abs(),
        root=torch.tensor([0.1, 0.5, 0.05]) * torch.sin(4 * rows),
        neck=torch.tensor([0.1, 0.1, 0.0]) * torch.cos(3 * rows),
        left_eye=torch.tensor([0.1, 0.2, 0.0]) * torch.sin(5 * rows),
        translation=torch.tensor([0.05, 0.02, -0.9]) + 0.02 * torch.sin(2 * rows),
    )
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    camera = Camera(
        flip.expand(count, 3, 3),
        torch.zeros(count, 3, dtype=torch.float64),
        torch.full((count, 2), 900.0, dtype=torch.float64),
        torch.full((count, 2), 256.0, dtype=torch.float64),
        (512, 512),
    )
    return Track(
        params=params,
        camera=camera,
        frames=np.arange(count),
        times=t,
        status=np.zeros(count, dtype=np.int8),
        fingerprint=flame.fingerprint,
        eyelids=np.stack([np.linspace(0, 1, count), np.linspace(1, 0, count)], axis=1),
    )


@marked
def test_the_page_renders_offline_and_is_small(flame, browser, tmp_path):
    write_html(tmp_path / "head.html", flame, title="A <head> & more")
    assert (tmp_path / "head.html").stat().st_size <= 12_000_000
    opened(browser, tmp_path / "head.html")
    assert browser.title == "A <head> & more"
    image = pixels(browser)
    covered = image[image[:, 3] > 250]
    # The head stands before an empty canvas, in many colours that are mostly skin.
    assert 0.1 < len(covered) / len(image) < 0.7
    assert covered[:, :3].std(0).min() > 20 and (covered[:, 0] > covered[:, 2]).mean() > 0.8
    assert not errors(browser)


@marked
def test_sliders_presets_mouse_and_reset_move_the_head(flame, browser, tmp_path):
    from selenium.webdriver import ActionChains

    write_html(tmp_path / "head.html", flame)
    opened(browser, tmp_path / "head.html")
    first = pixels(browser)

    def changed(before):
        drawn(browser)
        now = pixels(browser)
        return (np.abs(now - before).sum(1) > 30).mean(), now

    move = "const s = document.querySelector(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))"
    browser.execute_script(move, "[data-name=jaw_open]", 25)
    share, opened_mouth = changed(first)
    assert share > 0.005
    assert browser.execute_script("return flamehead.page.pose[6]") == pytest.approx(np.radians(25), abs=1e-6)
    browser.execute_script(move, "[data-name=smile_left]", 1)
    row = flamehead_row(browser, "smile_right")
    assert browser.execute_script("return flamehead.page.coefficients[arguments[0]]", row) == 1
    last = changed(opened_mouth)[1]
    for button in ("Random person", "Wink", "Neutral"):
        click(browser, button)
        share, last = changed(last)
        assert share > 0.001, button
    canvas = browser.find_element("id", "canvas")
    ActionChains(browser).drag_and_drop_by_offset(canvas, 150, 20).perform()
    share, turned = changed(last)
    assert share > 0.02
    ActionChains(browser).scroll_from_origin(origin_of(canvas), 0, 400).perform()
    assert changed(turned)[0] > 0.02
    click(browser, "Reset")
    drawn(browser)
    assert np.abs(pixels(browser) - first).max() == 0
    assert not errors(browser)


def origin_of(canvas):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(canvas)


def click(browser, label):
    browser.execute_script(
        "[...document.querySelectorAll('button')].find((b) => b.textContent === arguments[0]).click()", label
    )


def flamehead_row(browser, name):
    return browser.execute_script("return flamehead.page.names.indexOf(arguments[0])", name)


@marked
def test_the_page_poses_like_the_model(flame, browser, tmp_path):
    """Random identities, expressions, rotations of all joints and translations: correctives and skinning agree."""
    generator = torch.Generator().manual_seed(1)
    hidden = 0.5 * torch.randn(flame.n_shape, generator=generator, dtype=torch.float64)
    write_html(tmp_path / "head.html", flame, replace(flame.zeros(), shape=hidden), n_shape=30, n_expression=60)
    opened(browser, tmp_path / "head.html")
    for _ in range(5):
        coefficients = 0.7 * torch.randn(90, generator=generator, dtype=torch.float64)
        pose = 0.3 * torch.randn(5, 3, generator=generator, dtype=torch.float64)
        shift = torch.randn(3, generator=generator, dtype=torch.float64)
        shape, expression = hidden.clone(), torch.zeros(flame.n_expression, dtype=torch.float64)
        shape[:30], expression[:60] = coefficients[:30], coefficients[30:]
        wanted = flame(type(flame.zeros())(shape, expression, *pose, shift)).vertices.numpy()
        got = vertices(browser, coefficients.tolist(), pose.flatten().tolist(), shift.tolist())
        assert np.abs(got - wanted).max() < TOLERANCE


@marked
def test_another_model_has_eyelids_and_no_names(flame, browser, tmp_path):
    strange = Flame(replace(flame.arrays, fingerprint="other"), eyelids=builtin_head().eyelids, dtype=torch.float64)
    write_html(tmp_path / "other.html", strange, eyelids=np.array([1.0, 0.2]), n_shape=3, n_expression=4)
    opened(browser, tmp_path / "other.html")
    assert browser.execute_script("return flamehead.page.names").count("eyelid_left") == 1
    wanted = strange(strange.zeros(), eyelids=torch.tensor([1.0, 0.2]).double()).vertices.numpy()
    start = browser.execute_script("return Array.from(flamehead.page.coefficients)")
    assert np.abs(vertices(browser, start, [0] * 15, [0] * 3) - wanted).max() < TOLERANCE
    assert not errors(browser)


@marked
def test_a_track_plays_and_its_frames_are_ours(flame, browser, tmp_path):
    track = walk(flame)
    write_html(tmp_path / "track.html", flame, track)
    opened(browser, tmp_path / "track.html")
    wanted = flame(track.params, eyelids=torch.from_numpy(track.eyelids)).vertices.numpy()
    offsets = []
    for frame in (0, 5, 11):
        got = browser.execute_script(
            "const p = flamehead.page; p.player.seek(arguments[0]);"
            "return flamehead.vertices(p.coefficients, p.pose, p.translation)",
            frame,
        )
        got = np.array(got).reshape(-1, 3)
        # The head that stands in the middle is moved as a whole; steps of sixteen bits add to the tolerance.
        offset = (got - wanted[frame]).mean(0)
        assert np.abs(got - wanted[frame] - offset).max() < 2 * TOLERANCE
        offsets.append(offset)
    assert np.ptp(offsets, axis=0).max() < 2 * TOLERANCE
    browser.execute_script("flamehead.page.player.seek(0); document.getElementById('play').click()")
    # However slow the machine is, a later frame comes; the script's time limit says if none does.
    browser.execute_async_script(
        """
        const [done] = arguments;
        const look = () => (flamehead.page.player.frame > 0 ? done() : requestAnimationFrame(look));
        look();
        """
    )
    assert browser.execute_script("return flamehead.page.player.playing")
    browser.execute_script("document.getElementById('play').click()")
    browser.execute_script("document.getElementById('motion').click()")
    assert browser.execute_script("return Array.from(flamehead.page.pose).slice(0, 6).every((x) => x === 0)")
    assert not errors(browser)


@marked
def test_a_phone_sees_head_and_controls(flame, browser, tmp_path):
    write_html(tmp_path / "head.html", flame)
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        opened(browser, tmp_path / "head.html")
        image = pixels(browser)
        assert (image[:, 3] > 250).mean() > 0.1
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        browser.execute_script("document.getElementById('fold').click()")
        assert browser.execute_script("return document.getElementById('controls').offsetHeight") == 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_names_no_other_address(flame, tmp_path):
    write_html(tmp_path / "head.html", flame, walk(flame))
    text = (tmp_path / "head.html").read_text(encoding="utf-8")
    page = re.sub(r'<script type="application/json".*?</script>', "", text, flags=re.DOTALL)
    assert not re.findall(r"https?://|\bsrc=|@import|\bfetch\(|XMLHttpRequest|{{", page)
    assert "default-src 'none'" in page
    assert text.count("<script") == text.count("</script>") == 2


def test_what_cannot_be_shown_is_refused(flame, tmp_path):
    with pytest.raises(InputError, match=r"wanted '\.html'"):
        write_html(tmp_path / "head.txt", flame)
    with pytest.raises(InputError, match="Got 3 heads"):
        write_html(tmp_path / "head.html", flame, flame.zeros((3,)))
    with pytest.raises(InputError, match="NaN"):
        write_html(tmp_path / "head.html", flame, replace(flame.zeros(), jaw=torch.full((3,), torch.nan).double()))
    with pytest.raises(InputError, match="belongs to the model"):
        write_html(tmp_path / "head.html", flame, replace(walk(flame), fingerprint="another"))
    strange = Flame(replace(flame.arrays, fingerprint="other"), dtype=torch.float64)
    with pytest.raises(InputError, match="no eyelids"):
        write_html(tmp_path / "head.html", strange, eyelids=np.ones(2))
    assert not list(tmp_path.iterdir())


def test_a_camera_that_moves_is_folded_into_the_head(flame):
    """What the page shows are the vertices in the camera's frame, y up, but for one shift of the whole track."""
    track = walk(flame, count=5)
    generator = torch.Generator().manual_seed(2)
    turns = exp(0.4 * torch.randn(5, 3, generator=generator, dtype=torch.float64))
    shifts = 0.1 * torch.randn(5, 3, generator=generator, dtype=torch.float64)
    camera = replace(track.camera, rotation=turns @ track.camera.rotation, translation=shifts)
    pose, translation = _seen_pose(flame, replace(track, camera=camera))
    root, neck, jaw, left, right = torch.from_numpy(pose).reshape(5, 5, 3).unbind(1)
    params = track.params
    shown = flame(
        type(params)(params.shape, params.expression, root, neck, jaw, left, right, torch.from_numpy(translation))
    ).vertices
    seen = flame(params).vertices @ camera.rotation.mT + camera.translation[:, None]
    offset = shown - seen * torch.tensor([1.0, -1.0, -1.0])
    # The root joint follows expressions by a hair, which the fold leaves out.
    assert float((offset - offset.mean((0, 1))).abs().max()) < 2e-4
