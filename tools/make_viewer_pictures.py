"""Draw the pictures of docs/viewer.md in a real Chromium: `python tools/make_viewer_pictures.py [--out DIR]`.

Needs chromium, chromedriver and selenium; they draw in software, without a display.
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from flamehead import fit_image, load_flame, save_image_fit
from flamehead.data import Camera, FlameParams, Track
from flamehead.fit import load_appearance
from flamehead.io import save_track, write_video
from flamehead.model import Flame, move_along
from flamehead.render import render
from flamehead.view import Viewer, open_result
from flamehead.view.results import row_camera, row_params

PORTRAIT = Path(__file__).parents[1] / "src/flamehead/cli/demo_data/astronaut.jpg"
FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --use-angle=swiftshader --enable-unsafe-swiftshader
--window-size=1280,860 --hide-scrollbars""".split()
FRAMES = 60


def main() -> None:
    """Open the three windows and photograph them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    flame = load_flame()
    appearance = load_appearance(flame, n_components=8)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        work = Path(folder)
        save_image_fit(fit_image(PORTRAIT), work / "fit")
        _track(flame, work)
        page = _chromium(work / "profile")
        try:
            with Viewer(flame, appearance=appearance, port=0) as viewer:
                page.get(viewer.url)
                time.sleep(6.0)
                viewer.choose_preset("smile")
                _photograph(page, out / "viewer.png")
            with Viewer(flame, open_result(work / "fit", flame), appearance=appearance, port=0) as viewer:
                page.get(viewer.url)
                time.sleep(6.0)
                _enter(page, "Head opacity", "0.7")
                _photograph(page, out / "viewer_fit.png")
            with Viewer(flame, open_result(work / "track.npz", flame), appearance=appearance, port=0) as viewer:
                page.get(viewer.url)
                time.sleep(6.0)
                _press(page, "Play")
                time.sleep(6.0)
                _photograph(page, out / "viewer_track.png")
        finally:
            page.quit()


def _chromium(profile: Path) -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def _press(page: Any, words: str) -> None:
    button = page.find_element("xpath", f"//button[.//text()[normalize-space()='{words}']]")
    page.execute_script("arguments[0].click()", button)


def _enter(page: Any, label: str, number: str) -> None:
    """Type a slider's number; arrow keys would turn the view as well."""
    field = page.find_element("xpath", f"(//*[normalize-space()='{label}']/following::input[@inputmode])[1]")
    field.send_keys("\ue009a\ue000", number, "\ue007")
    page.execute_script("arguments[0].blur()", field)


def _photograph(page: Any, path: Path) -> None:
    """The page without its warning about drawing in software, once nothing changes any more."""
    time.sleep(3.0)
    page.execute_script("document.querySelectorAll('.mantine-Notification-closeButton').forEach(e => e.click())")
    time.sleep(2.0)
    image = Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
    image.save(path, optimize=True)
    print(f"Wrote {path}")


def _track(flame: Flame, folder: Path) -> None:
    """A talking head, made by the model itself, and its video."""
    seconds = torch.arange(FRAMES) / 25.0
    one = flame.zeros().shape.clone()
    one[:12] = 0.8 * torch.randn(12, generator=torch.Generator().manual_seed(1))
    heads = [
        move_along(flame.zeros(), {"smile": 0.5 + 0.4 * np.sin(3 * t), "jaw_open": 0.3 * (1 + np.sin(7 * t))}, flame)
        for t in seconds.tolist()
    ]
    params = FlameParams(*(torch.stack([getattr(h, name) for h in heads]) for name in FlameParams.__dataclass_fields__))
    params.shape[:] = one
    params.root[:, 1] = 0.35 * torch.sin(2 * seconds)
    params.translation[:] = torch.stack([0.03 * torch.sin(2.5 * seconds), 0 * seconds, -0.9 + 0 * seconds], dim=-1)
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(FRAMES, 3, 3).clone()
    middle = torch.tensor([240.0, 270.0]).expand(FRAMES, 2).clone()
    camera = Camera(turn, torch.zeros(FRAMES, 3), torch.full((FRAMES, 2), 1100.0), middle, size=(480, 540))
    noise = np.random.default_rng(0)
    error = 1.2 + 0.4 * np.sin(np.arange(FRAMES) / 6) + noise.normal(0, 0.08, FRAMES)
    status = np.zeros(FRAMES, np.int8)
    status[30:34], error[30:34] = 1, np.nan

    def frames() -> Any:
        for k in range(FRAMES):
            vertices, view = flame(row_params(params, k)).vertices, row_camera(camera, k)
            yield render(vertices, flame.faces, view, colors=flame.paint, background=(0.35, 0.42, 0.5)).image

    write_video(folder / "talk.mp4", frames(), fps=25)
    track = Track(
        params=params, camera=camera, frames=np.arange(FRAMES), times=seconds.double().numpy(), status=status,
        fingerprint=flame.fingerprint, landmark_error=error, source=str(folder / "talk.mp4"),
    )  # fmt: skip
    save_track(folder / "track.npz", track)


if __name__ == "__main__":
    main()
