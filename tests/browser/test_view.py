"""The viewer in a real browser: Chromium without a display, drawing in software."""

import importlib.util
import io
import shutil
import time

import numpy as np
import pytest
import torch

import flamehead
from flamehead.data import Camera, FlameParams, Track
from flamehead.io import save_track, write_image
from flamehead.render import render

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(importlib.util.find_spec("selenium") is None, reason="selenium is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("viser") is None, reason="viser is not installed"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="chromedriver is not installed"),
    # The software renderer shares two slow cores with the server.
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --use-angle=swiftshader --enable-unsafe-swiftshader
--window-size=1000,700""".split()
PATIENCE = 60.0

WATCH = """
window.uploads = [];
for (const kind of [WebGL2RenderingContext, WebGLRenderingContext]) {
    const before = kind.prototype.bufferSubData;
    kind.prototype.bufferSubData = function (...given) {
        const data = given[2];
        if (data && data.byteLength > 20000) window.uploads.push(performance.now());
        return before.apply(this, given);
    };
}
"""
"""Notes when vertices reach the graphics card: the only thing that tells an update from any other drawing."""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A browser with one empty page."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    browser.set_script_timeout(PATIENCE)
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def flame():
    return flamehead.load_flame()


@pytest.fixture(scope="module")
def viewer(flame):
    from flamehead.fit import load_appearance
    from flamehead.view import Viewer

    with Viewer(flame, appearance=load_appearance(flame, n_components=8), port=0) as window:
        yield window


def test_the_page_loads_and_shows_a_head(page, viewer):
    errors = _open(page, viewer.url)
    seen = _picture(page)
    assert not errors
    # A head before a light background: the middle differs from the corners, and has structure.
    corner, middle = seen[60:160, 20:120], seen[200:500, 200:450]
    assert corner.mean() > 200 > middle.mean() and middle.std() > 20
    labels = [tab.text for tab in page.find_elements("css selector", "[role=tab]")]
    assert labels == ["Face", "Pose", "Person", "Look", "Save"]


def test_the_page_asks_nobody_but_this_computer(page, viewer):
    _open(page, viewer.url)
    asked = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    own = ("http://127.0.0.1", "ws://127.0.0.1", "blob:http://127.0.0.1", "data:")
    assert [address for address in asked if not address.startswith(own)] == []


def test_a_slider_moves_the_mesh(page, viewer):
    _open(page, viewer.url)
    before, vertices = _picture(page), viewer.vertices.copy()
    slider = _slider(page, "smile")
    page.execute_script("window.uploads = []")
    slider.send_keys(*["\ue014"] * 40)
    _until(lambda: abs(viewer.state.amounts.get("smile", 0.0) - 0.4) < 1e-6)
    _until(lambda: page.execute_script("return window.uploads.length") > 0)
    _settled(page, viewer)
    assert np.abs(viewer.vertices - vertices).max() > 1e-3
    after = _picture(page)
    changed = np.abs(after - before).max(axis=-1) > 24
    # The mouth moves, the forehead does not.
    changed = changed[:, :600]
    assert changed.sum() > 200 and changed[260:].sum() > 0.9 * changed.sum()
    viewer.reset()
    _settled(page, viewer)
    assert np.abs(_picture(page) - before).mean() < 1.0


def test_what_the_browser_shows_is_what_our_renderer_draws(page, viewer):
    """The outlines agree, pixel by pixel but for the edge: camera, perspective and vertices are the same."""
    from flamehead.view.save import view_camera

    _open(page, viewer.url)
    viewer.choose_surface("clay")
    _settled(page, viewer)
    # The page before this one may not have said good-bye yet.
    client = max(viewer._server.get_clients().items())[1]
    camera = view_camera(client.camera)
    drawn = render(torch.from_numpy(viewer.vertices), viewer.flame.faces, camera).alpha > 0.5
    shots = []
    for hidden in (False, True):
        viewer._stage.hide_head(hidden)
        shots.append(client.get_render(camera.size[1], camera.size[0], timeout=PATIENCE).astype(float))
    viewer._stage.hide_head(False)
    shown = np.abs(shots[0] - shots[1]).max(axis=-1) > 12
    assert (shown & drawn).sum() / (shown | drawn).sum() > 0.985
    viewer.choose_surface("texture")


def test_two_browsers_see_the_same(page, viewer):
    _open(page, viewer.url)
    first = page.current_window_handle
    page.switch_to.new_window("tab")
    _open(page, viewer.url)
    _until(lambda: len(viewer._server.get_clients()) >= 2)
    _slider(page, "frown").send_keys(*["\ue014"] * 10)
    _until(lambda: abs(viewer.state.amounts.get("frown", 0.0) - 0.1) < 1e-6)
    page.close()
    page.switch_to.window(first)
    _until(lambda: _slider(page, "frown").get_attribute("aria-valuenow") == "0.1")
    viewer.reset()


def test_a_timeline_plays(page, flame, tmp_path):
    from flamehead.view import Viewer, open_result
    from flamehead.view.track import TrackTab

    save_track(tmp_path / "track.npz", _moving(flame, tmp_path))
    with Viewer(flame, open_result(tmp_path / "track.npz", flame), port=0) as viewer:
        assert not _open(page, viewer.url)
        before, start = _picture(page), viewer.vertices.copy()
        page.execute_script("window.uploads = []")
        _click(page, "Play")
        tab = viewer._tab
        assert isinstance(tab, TrackTab)
        _until(lambda: tab.row == 24)
        _until(lambda: _slider(page, "Frame").get_attribute("aria-valuenow") == "24")
        # Frames on the way were shown, not the last one alone.
        assert page.execute_script("return window.uploads.length") >= 3
        _settled(page, viewer)
        assert np.abs(viewer.vertices - start).max() > 0.05
        assert np.abs(_picture(page)[:, :600] - before[:, :600]).mean() > 2.0
        assert len(page.find_elements("css selector", ".uplot canvas")) == 1


def _moving(flame, folder):
    """A head that turns and moves aside, with pictures as its video."""
    count = 25
    params = FlameParams.zeros(flame.n_shape, flame.n_expression, batch=(count,))
    params.root[:, 1] = torch.linspace(0.0, 0.8, count)
    params.translation[:, 0] = torch.linspace(0.0, 0.08, count)
    params.translation[:, 2] = -0.8
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(count, 3, 3).clone()
    camera = Camera(
        turn, torch.zeros(count, 3), torch.full((count, 2), 300.0), torch.full((count, 2), 80.0), size=(160, 160)
    )
    (folder / "frames").mkdir()
    for k in range(count):
        write_image(folder / "frames" / f"{k:03}.png", np.full((160, 160, 3), 0.3 + 0.02 * k))
    return Track(
        params=params, camera=camera, frames=np.arange(count), times=np.arange(count) / 10.0,
        status=np.zeros(count, np.int8), fingerprint=flame.fingerprint, landmark_error=np.linspace(1.0, 2.0, count),
        source=str(folder / "frames"),
    )  # fmt: skip


def _open(page, url):
    """Load a page, wait until the head is there, and give the errors that the browser logged."""
    page.get("about:blank")
    page.get_log("browser")
    page.get(url)
    _until(lambda: page.find_elements("css selector", "[role=slider]"))
    _until(lambda: _picture(page)[200:500, 200:450].std() > 15)
    # The painted mesh follows the plain one.
    time.sleep(2.0)
    page.execute_script("document.querySelectorAll('.mantine-Notification-closeButton').forEach(e => e.click())")
    time.sleep(0.5)
    return [entry["message"] for entry in page.get_log("browser") if entry["level"] == "SEVERE"]


def _picture(page):
    """What is on the screen, float."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB"), dtype=np.float32)


def _slider(page, label):
    """The thumb of a slider, by the words before it."""
    script = """
    for (const input of document.querySelectorAll('[role=slider]')) {
        let row = input;
        for (let k = 0; k < 8 && row; k++) {
            row = row.parentElement;
            if (row && row.innerText && row.innerText.trim().split('\\n')[0] === arguments[0]) return input;
        }
    }
    return null;
    """
    found = page.execute_script(script, label)
    assert found is not None, f"there is no slider {label!r}"
    return found


def _click(page, words):
    button = page.find_element("xpath", f"//button[.//text()[normalize-space()='{words}']]")
    page.execute_script("arguments[0].click()", button)


def _settled(page, viewer):
    """Wait until two pictures in a row are the same."""
    time.sleep(1.5)
    before, end = _picture(page), time.monotonic() + PATIENCE
    while time.monotonic() < end:
        time.sleep(0.5)
        after = _picture(page)
        if np.array_equal(before, after):
            return
        before = after
    raise AssertionError("the page never came to rest")


def _until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
