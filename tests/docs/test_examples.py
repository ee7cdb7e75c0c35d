"""Every example runs without a display, warns of nothing, and makes the pictures that the documentation shows."""

import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
PICTURES = runpy.run_path(str(ROOT / "tools" / "pictures.py"))["PICTURES"]
IMAGES = {path.name for path in (ROOT / "docs" / "images").iterdir()}
NEEDS = {"09_fit_by_pixels": "mediapipe", "12_track_a_video": "mediapipe"}


def _case(script: Path):
    package = NEEDS.get(script.stem)
    if package is None:
        return pytest.param(script, id=script.stem)
    missing = importlib.util.find_spec(package) is None
    marks = [pytest.mark.detect, pytest.mark.skipif(missing, reason=f"{package} is not installed")]
    return pytest.param(script, id=script.stem, marks=marks)


@pytest.mark.parametrize("script", [_case(script) for script in SCRIPTS])
def test_it_runs(script, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    written = re.findall(r"^Wrote (.+)$", done.stdout, re.MULTILINE)
    assert written and all(Path(path).is_file() for path in written)
    pictures = PICTURES.get(f"examples/{script.name}", {}).values()
    assert all((tmp_path / name).is_file() for name in pictures if _possible(name))


def _possible(name: str) -> bool:
    """An mp4 needs PyAV; without it the example writes a gif."""
    return not name.endswith(".mp4") or importlib.util.find_spec("av") is not None


def test_every_picture_is_drawn_by_code_in_the_repository():
    drawn = {name for pictures in PICTURES.values() for name in pictures}
    assert drawn <= IMAGES, f"not drawn yet: {sorted(drawn - IMAGES)}"
    assert drawn >= IMAGES, f"name their script in tools/pictures.py: {sorted(IMAGES - drawn)}"
    assert all((ROOT / script).is_file() for script in PICTURES)


def test_every_picture_is_shown():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert all(f"images/{name}" in text for name in IMAGES)


def test_pictures_and_videos_are_small():
    assert all(path.stat().st_size < 1e6 for path in (ROOT / "docs" / "images").iterdir())


def test_the_gallery_shows_every_example():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    for script in SCRIPTS:
        assert f"examples/{script.stem}.md" in page, script.name
        for name in PICTURES.get(f"examples/{script.name}", ()):
            assert f"images/{name}" in page, name
