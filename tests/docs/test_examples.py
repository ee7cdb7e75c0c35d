"""Every example runs without a display, warns of nothing, and makes the pictures that the documentation shows."""

import ast
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


def _check(script: Path, folder: Path, printed: str) -> None:
    written = re.findall(r"^Wrote (.+)$", printed, re.MULTILINE)
    assert written and all(Path(path).is_file() for path in written)
    pictures = PICTURES.get(f"examples/{script.name}", {}).values()
    assert all((folder / name).is_file() for name in pictures if _possible(name))


# Within this process, where torch is loaded already; warnings are errors here too.
@pytest.mark.slow
@pytest.mark.parametrize("script", [_case(script) for script in SCRIPTS])
def test_it_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "argv", [str(script), "--out", str(tmp_path)])
    runpy.run_path(str(script), run_name="__main__")
    _check(script, tmp_path, capsys.readouterr().out)


# The first stands for all, with nothing imported before it. The others import names, not modules, from the package, so
# that what other tests imported cannot help them; the next test sees to it.
def test_it_runs_alone(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPTS[0]), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    _check(SCRIPTS[0], tmp_path, done.stdout)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_names_are_imported_one_by_one(script):
    tree = ast.parse(script.read_text(encoding="utf-8"))
    imported = [name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names]
    assert not [name for name in imported if name.startswith("flamehead")]


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
