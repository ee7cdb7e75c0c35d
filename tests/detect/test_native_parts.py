"""MediaPipe leaves no trace: `cv2` as it was, a clean terminal, and no OpenGL needed."""

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from flamehead.detect import mediapipe
from flamehead.detect._quiet import native_chatter_dropped
from flamehead.errors import MissingExtra

ROOT = Path(__file__).parents[2]
ASTRONAUT = ROOT / "src/flamehead/cli/demo_data/astronaut.jpg"
needs_mediapipe = pytest.mark.skipif(importlib.util.find_spec("mediapipe") is None, reason="mediapipe is not installed")

DETECT = f"""
import sys
from flamehead.detect import detect_face
from flamehead.io import read_image
assert "cv2" not in sys.modules
seen = detect_face(read_image({str(ASTRONAUT)!r}))
assert "cv2" not in sys.modules, "cv2 was left behind"
assert seen.points.shape == (478, 2) and seen.score > 0.9
"""
ABSENT = object()


def _python(code: str, *options: str) -> list[str]:
    return [sys.executable, *options, "-c", code]


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)


@pytest.mark.parametrize("before", ["absent", "blocked", "module"])
@pytest.mark.parametrize("fails", [False, True])
def test_cv2_is_afterwards_as_it_was(monkeypatch, before, fails):
    value = {"absent": ABSENT, "blocked": None, "module": types.ModuleType("cv2")}[before]
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    if value is not ABSENT:
        monkeypatch.setitem(sys.modules, "cv2", value)
    try:
        with mediapipe._cv2_stand_in():
            import cv2

            assert (cv2 is value) == (before == "module")
            if fails:
                raise RuntimeError
    except RuntimeError:
        assert fails
    assert sys.modules.get("cv2", ABSENT) is value


def test_the_stand_in_becomes_the_real_module_on_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with mediapipe._cv2_stand_in():
        stand_in = sys.modules["cv2"]
        with pytest.raises(AttributeError):
            _ = stand_in.circle
    real = types.ModuleType("cv2")
    real.circle = "drawn"  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "cv2", real)
    assert stand_in.circle == "drawn"


def test_a_missing_mediapipe_names_the_install_line(monkeypatch):
    monkeypatch.setattr(mediapipe, "_FACE_MESH", "mediapipe_that_is_absent.face_mesh")
    with pytest.raises(MissingExtra, match=r'pip install "flamehead\[detect\]", or give the landmarks in a file\.$'):
        mediapipe._import_face_mesh()


def test_only_known_log_lines_are_dropped(capfd):
    lines = [
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
        "W0000 00:00:1795333888.176315    4247 inference_feedback_manager.cc:114] Feedback manager requires a model.",
        "I0000 00:00:1795333888.176315    4247 gl_context_egl.cc:85] Successfully initialized EGL.",
        "Traceback (most recent call last):",
        "Warning: something of the user's",
    ]
    with pytest.raises(RuntimeError), native_chatter_dropped():
        os.write(2, ("\n".join(lines)).encode())
        raise RuntimeError
    os.write(2, b"\nafterwards")
    assert capfd.readouterr().err == "\n".join([*lines[4:], "afterwards"])


def test_a_closed_standard_error_does_no_harm():
    code = (
        "import os; os.close(2)\nfrom flamehead.detect._quiet import native_chatter_dropped as q\nwith q(): print('in')"
    )
    result = _run(_python(code))
    assert (result.returncode, result.stdout) == (0, "in\n")


@needs_mediapipe
@pytest.mark.detect
def test_detection_is_silent_raises_no_warning_and_leaves_no_cv2():
    result = _run(_python(DETECT, "-W", "error"))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.slow
@needs_mediapipe
@pytest.mark.detect
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_is_told_to_spawn_instead_of_crashing():
    code = DETECT + (
        "import os, warnings\nfrom flamehead.errors import FlameheadError\nwarnings.simplefilter('ignore')\n"
        f"image = read_image({str(ASTRONAUT)!r})\npid = os.fork()\nif pid == 0:\n"
        "    try:\n        detect_face(image)\n    except FlameheadError as error:\n"
        "        os._exit(0 if 'spawn' in str(error) else 1)\n    os._exit(2)\n"
        "assert os.waitpid(pid, 0)[1] == 0\n"
    )
    result = _run(_python(code))
    assert (result.returncode, result.stderr) == (0, "")


def _gl_libraries() -> list[str]:
    """Real paths of every GL, EGL and GLES library that the loader knows."""
    listing = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    names = ("libGL.", "libGLX", "libEGL", "libGLES", "libOpenGL", "libGLdispatch")
    paths = [line.split("=>")[-1].strip() for line in listing.splitlines() if line.strip().startswith(names)]
    return sorted({str(Path(path).resolve()) for path in paths})


RENDER = """
import os
assert "DISPLAY" not in os.environ
import torch
from flamehead import load_flame
from flamehead.raster import antialias, interpolate, rasterize
from flamehead.render import maps, orbit_camera, render
flame = load_flame()
vertices = flame(flame.zeros()).vertices
camera = orbit_camera(vertices, (96, 96))
picture = render(vertices, flame.faces, camera, colors=flame.colors)
assert 0.2 < picture.alpha.mean() < 0.8 and picture.image.std() > 0.1
assert maps(vertices, flame.faces, camera, want=("depth",)).depth is not None
points = torch.cat([camera.project(vertices), 0.5 - vertices[:, 2:]], 1).requires_grad_()
seen = rasterize(points, flame.faces, camera.size)
mask = interpolate(torch.ones(5023, 1), flame.faces, seen)
antialias(mask, points, flame.faces, seen).sum().backward()
assert points.grad.abs().sum() > 0
"""


@pytest.mark.slow
@pytest.mark.parametrize("code", [pytest.param(DETECT, marks=[needs_mediapipe, pytest.mark.detect]), RENDER])
def test_everything_works_without_opengl_and_display(code):
    if not (shutil.which("unshare") and shutil.which("ldconfig") and hasattr(os, "geteuid") and os.geteuid() == 0):
        pytest.skip("hiding libraries needs root, unshare and ldconfig")
    if _run(["unshare", "-m", "true"]).returncode != 0:
        pytest.skip("mount namespaces are not allowed here")
    hide = " && ".join(f"mount --bind /dev/null {shlex.quote(path)}" for path in _gl_libraries()) or "true"
    code = (
        "import ctypes\nfor name in ('libGL.so.1', 'libEGL.so.1', 'libGLESv2.so.2'):\n"
        "    try:\n        ctypes.CDLL(name)\n    except OSError:\n        continue\n"
        "    raise SystemExit(name + ' is still there')\n"
    ) + code
    result = _run(["unshare", "-m", "env", "-u", "DISPLAY", "sh", "-c", f"{hide} && exec {shlex.join(_python(code))}"])
    assert (result.returncode, result.stderr) == (0, "")
