"""Every example runs without a display, warns of nothing, and makes the pictures that the documentation shows."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
PICTURES = runpy.run_path(str(ROOT / "tools" / "make_everyday_pictures.py"))["PICTURES"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
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
    assert all((tmp_path / name).is_file() for name in PICTURES.get(script.stem, ()))


def test_the_page_shows_them_all():
    page = (ROOT / "docs" / "everyday.md").read_text(encoding="utf-8")
    for script, names in PICTURES.items():
        assert f"examples/{script}.py" in page and (ROOT / "examples" / f"{script}.py").is_file()
        for name in names:
            assert f"images/{name}" in page and (ROOT / "docs" / "images" / name).is_file()
    assert all(f"examples/{script.name}" in page for script in SCRIPTS)
