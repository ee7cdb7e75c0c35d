"""How long a slider takes to move the head: `python benchmarks/view.py [--quick] [--json FILE]`.

Server: from a slider's news to the 5,023 vertices being handed to the network. Browser: from a key pressed on a slider
in Chromium to the vertices being handed to WebGL, there and back over the network; a slider is moved every 100 ms, as a
hand does. Chromium without a display draws in software, on the same cores. Needs chromium, chromedriver and selenium.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from typing import Any

import numpy as np

from _common import machine, options, write_figures

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --use-angle=swiftshader --enable-unsafe-swiftshader
--window-size=800,300""".split()
WATCH = """
window.pressed = []; window.uploads = [];
addEventListener('keydown', event => window.pressed.push(performance.now()), true);
// Arrow keys turn the view as well, which would be drawn and timed too.
addEventListener('DOMContentLoaded', () => document.body.addEventListener('keydown', event => event.stopPropagation()));
const before = WebGL2RenderingContext.prototype.bufferSubData;
WebGL2RenderingContext.prototype.bufferSubData = function (...given) {
    if (given[2] && given[2].byteLength > 20000) window.uploads.push(performance.now());
    return before.apply(this, given);
};
"""
EVERY = 0.1
"""Seconds between two movements of the slider."""


def main() -> None:
    arguments = options(__doc__, quick="fewer movements").parse_args()
    count = 30 if arguments.quick else 150
    print(machine(threads="threads as they come"))
    from flamehead import load_flame
    from flamehead.fit import load_appearance
    from flamehead.view import Viewer

    flame = load_flame()
    with Viewer(flame, appearance=load_appearance(flame, n_components=8), port=0) as viewer:
        figures = _server(viewer, count)
        figures |= _browser(viewer, count)
    for name, value in figures.items():
        print(f"{name:34}{value:9.2f}")
    write_figures(arguments.json, figures)


def _server(viewer: Any, count: int) -> dict[str, float]:
    """Without a browser."""
    _move(viewer, count)
    return _summary("server", 1000 * np.array(list(viewer.latencies)[-count:]))


def _move(viewer: Any, count: int) -> None:
    for k in range(count):
        viewer.slide("smile", (k % 10) / 10 + 0.05)
        time.sleep(EVERY)
    time.sleep(1.0)


def _browser(viewer: Any, count: int) -> dict[str, float]:
    """Through Chromium."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print("Chromium or chromedriver is not installed; the browser is left out.")
        return {}
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
            browser.get(viewer.url)
            time.sleep(8.0)
            viewer.latencies.clear()
            waits = _presses(browser, count)
        finally:
            browser.quit()
    server = 1000 * np.array(list(viewer.latencies))
    return _summary("server, browser beside it", server) | _summary("browser, key to WebGL", waits)


def _presses(browser: Any, count: int) -> np.ndarray:
    """Milliseconds from each press to the next vertices; the first few, which take the paint off, are left out."""
    sliders = [each for each in browser.find_elements("css selector", "[role=slider]") if each.is_displayed()]
    for k in range(count + 5):
        sliders[0].send_keys("\ue014" if k % 20 < 10 else "\ue012")
        time.sleep(EVERY)
    time.sleep(1.0)
    pressed, uploads = (np.array(browser.execute_script(f"return window.{name}")) for name in ("pressed", "uploads"))
    after = np.searchsorted(uploads, pressed[5:])
    known = after < len(uploads)
    return uploads[after[known]] - pressed[5:][known]


def _summary(name: str, values: np.ndarray) -> dict[str, float]:
    ends = {"median": np.median(values), "p95": np.percentile(values, 95), "worst": values.max()}
    return {f"{name}, {what}, ms": float(value) for what, value in ends.items()}


if __name__ == "__main__":
    main()
