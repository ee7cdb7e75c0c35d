"""The window without a browser: what is sent, saved, refused and stopped."""

import importlib.util
import io
import socket
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import flamehead
from flamehead.errors import InputError
from flamehead.geometry.rotation import exp, to_quaternion
from flamehead.io import read_mesh
from flamehead.view.save import mesh_file, params_file, picture_file, view_camera
from flamehead.view.surface import glb_bytes, plain_parts, region_parts
from flamehead.view.viewer import Viewer, free_port

viser = pytest.mark.skipif(importlib.util.find_spec("viser") is None, reason="viser is not installed")


@pytest.fixture(scope="module")
def flame():
    return flamehead.load_flame()


@pytest.fixture(scope="module")
def vertices(flame):
    return flame(flame.zeros()).vertices.numpy()


@pytest.mark.parametrize("make", [plain_parts, region_parts, lambda flame: plain_parts(flame, colored=False)])
def test_parts_are_the_whole_head_once(flame, make):
    parts = make(flame)
    faces = np.concatenate([part.rows[part.faces] for part in parts])
    wanted = flame.faces.numpy()
    assert len(faces) == len(wanted)
    np.testing.assert_array_equal(np.unique(faces, axis=0), np.unique(wanted, axis=0))
    assert all(0 <= channel <= 1 for part in parts for channel in part.color)


def test_files_hold_the_head(flame, vertices, tmp_path):
    for kind in ("glb", "ply", "obj"):
        name, content = mesh_file(kind, vertices, flame, None)
        (tmp_path / name).write_bytes(content)
        found = read_mesh(tmp_path / name)
        np.testing.assert_allclose(found.vertices, vertices, atol=1e-5)
    (tmp_path / "params.npz").write_bytes(params_file(flame.zeros(), vertices, flame))
    assert flamehead.load_params(tmp_path / "params.npz").fingerprint == flame.fingerprint
    assert glb_bytes(vertices, flame.faces.numpy())[:4] == b"glTF"


def test_an_obj_with_a_texture_is_a_zip(flame, vertices):
    from flamehead.builtin import builtin_head
    from flamehead.io import UvMap

    head = builtin_head()
    name, content = mesh_file("obj", vertices, flame, UvMap(head.uv, head.uv_faces, np.full((8, 8, 3), 0.5)))
    assert name == "head.zip"
    assert set(zipfile.ZipFile(io.BytesIO(content)).namelist()) == {"head.obj", "head.mtl", "head.png"}


def test_a_browsers_camera_sees_what_it_looks_at(flame, vertices):
    """A point on the optical axis falls on the middle, one at the edge of the field of view on the edge."""
    turn = exp(torch.tensor([0.2, -0.4, 0.1], dtype=torch.float64))
    view = SimpleNamespace(
        image_width=400, image_height=300, fov=0.5, wxyz=to_quaternion(turn).numpy(), position=np.array([0.3, 0.2, 1.0])
    )
    camera = view_camera(view)  # pyright: ignore[reportArgumentType]
    ahead = torch.tensor(view.position) + 2.0 * turn[:, 2]
    below = ahead + 2.0 * np.tan(0.25) * turn[:, 1]
    pixels = camera.project(torch.stack([ahead, below]).float())
    torch.testing.assert_close(pixels, torch.tensor([[200.0, 150.0], [200.0, 300.0]]), atol=1e-2, rtol=0)
    image = picture_file(vertices, flame, flamehead.render.orbit_camera(torch.tensor(vertices), (64, 64)), None)
    assert image.shape == (64, 64, 3) and (image < 250).any() and (image[0, 0] == 255).all()


def test_a_busy_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"Cannot listen at 127.0.0.1:{port} .*--port {port + 1}"):
            free_port("127.0.0.1", port)
    assert free_port("127.0.0.1", 0) > 0
    with pytest.raises(InputError, match="The port is 70000"):
        free_port("127.0.0.1", 70000)


@viser
def test_the_latest_state_is_drawn_and_history_follows(flame):
    with Viewer(flame, port=0) as viewer:
        assert viewer.url.startswith("http://127.0.0.1:")
        for amount in np.linspace(0.0, 1.0, 200):
            viewer.slide("smile", float(amount))
        _until(lambda: len(viewer._history.past) == 1)
        known = viewer.flame(flamehead.model.move_along(flame.zeros(), {"smile": 1.0}, flame)).vertices
        np.testing.assert_allclose(viewer.vertices, known.numpy(), atol=1e-6)
        # Two hundred events were not two hundred drawings.
        assert len(viewer.latencies) < 150
        viewer.undo()
        _until(lambda: np.allclose(viewer.vertices, flame(flame.zeros()).vertices.numpy(), atol=1e-7))
        viewer.redo()
        assert viewer.state.amounts == {"smile": 1.0}
        viewer.draw_person()
        viewer.choose_preset("mouth open")
        assert viewer.state.amounts["jaw_open"] == 1.0 and viewer.state.shape
        viewer.reset()
        assert viewer.state.amounts == {}


@viser
def test_the_looks_can_be_changed(flame):
    with Viewer(flame, port=0) as viewer:
        for surface in ("regions", "clay", "plain"):
            viewer.choose_surface(surface)
            _until(lambda: not viewer._redress)
        viewer.choose_landmarks("ibug68")
        _until(lambda: viewer._stage._landmarks is not None)
        viewer.choose_landmarks(None)
        _until(lambda: viewer._stage._landmarks is None)
        viewer.choose_light("left", 1.2)
        viewer.choose_wireframe(True)
        viewer.choose_opacity(0.5)


@viser
def test_two_windows_do_not_share_a_port_and_a_closed_one_frees_it(flame):
    first = Viewer(flame, port=0)
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(InputError, match="Cannot listen"):
        Viewer(flame, port=port)
    first.stop()
    first.stop()
    _until(lambda: _is_free(port))


@viser
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.slow
@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_the_command_ends_cleanly_on_signals(number):
    import signal

    command = [sys.executable, "-c", "from flamehead.cli import main; raise SystemExit(main())", "view", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline(), process.stdout.readline()]
    while "Look at" not in lines[-1]:
        assert lines[-1], process.communicate()
        lines.append(process.stdout.readline())
    port = int(lines[-1].split()[2].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as visitor:
        visitor.sendall(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while visitor.recv(4096):
            pass
    process.send_signal(getattr(signal, number))
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0 and err == "" and "viser" not in out


def test_arguments_that_make_no_sense(tmp_path, capsys):
    from flamehead.cli import main

    assert main(["view", "--photo", str(tmp_path)]) == 2
    assert main(["view", "--uv", str(tmp_path / "a.obj")]) == 2
    assert main(["view", "--texture", str(tmp_path / "a.npz")]) == 1
    assert main(["view", str(tmp_path / "nothing"), "--port", "0"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 4 and "Traceback" not in said


def test_a_missing_result_is_told_before_the_model_is_loaded(tmp_path, capsys, monkeypatch):
    from flamehead.cli import main

    def load(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("flamehead.cli._heads.open_flame", load)
    assert main(["view", str(tmp_path / "nothing"), "--port", "0"]) == 1
    assert "There is no result" in capsys.readouterr().err


def _is_free(port):
    try:
        return free_port("127.0.0.1", port) == port
    except InputError:
        return False


def _until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
