"""What an import may bring along: torch, numpy and scipy at most, and nothing is compiled."""

import subprocess
import sys

HEAVY = "numba llvmlite PIL trimesh mediapipe cv2 av viser rich tyro pygltflib onnxruntime h5py matplotlib".split()


def loaded(code):
    """The heavy modules that are loaded after some code, in a fresh interpreter."""
    report = f"import sys; print('loaded:', *[name for name in {[*HEAVY, 'torch']} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.splitlines()[-1].split()[1:])


def test_the_package_alone_loads_nothing():
    assert loaded("import flamehead; dir(flamehead); flamehead.__version__; flamehead.InputError") == set()


def test_every_public_name_needs_torch_at_most_and_so_do_posing_and_fitting(known):
    code = f"""
import flamehead
for name in flamehead.__all__: getattr(flamehead, name)
flame = flamehead.load_flame()
assert flame(flame.zeros()).vertices.shape == (5023, 3)
seen = flamehead.read_landmarks({str(known.landmarks)!r}, size=(240, 300))
assert flamehead.fit_landmarks(flame, seen).status.converged
"""
    assert loaded(code) == {"torch"}


def test_the_command_line_parses_without_torch():
    assert not {"torch", "numba", "PIL"} & loaded(
        "import flamehead.cli.fit, flamehead.cli.pose, flamehead.cli.render, flamehead.cli.assets"
    )
