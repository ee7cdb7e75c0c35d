"""Which script draws each file of docs/images, in one table; run it to draw them again.

python tools/pictures.py                 # all of them
python tools/pictures.py hero.png        # those of one script, named by a picture
python tools/pictures.py --list
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

PICTURES = {
    "examples/01_pose_the_head.py": {"posed.png": "posed.png"},
    "examples/03_render_heads.py": {"heads.png": "heads.png", "turntable.png": "turntable.png"},
    "examples/04_parts_of_a_model.py": {"parts.png": "parts.png"},
    "examples/05_textures.py": {"textures.png": "textures.png", "components.png": "components.png"},
    "examples/06_project_points.py": {"projected.png": "projected.png"},
    "examples/07_depth_and_points.py": {"scan.png": "scan.png"},
    "examples/08_a_video.py": {"performance.png": "performance.png", "performance.mp4": "performance.mp4"},
    "examples/09_fit_by_pixels.py": {"pixels.png": "pixels.png", "pixels_overlay.png": "pixels_overlay.png"},
    "examples/10_several_views.py": {"views.png": "views.png"},
    "examples/11_register_a_scan.py": {"registered.png": "registered.png"},
    "examples/12_track_a_video.py": {"tracked.png": "tracked.png"},
    "examples/13_a_rig_for_other_programs.py": {"animation.png": "animation.png"},
    "examples/14_arkit_curves.py": {"arkit.png": "arkit.png"},
    "tools/make_readme_pictures.py": {"hero.png": "hero.png", "demo.png": "demo.png"},
    "tools/make_rendering_pictures.py": {
        f"rendering_{name}.png": f"rendering_{name}.png" for name in ("lights", "maps", "draw")
    },
    "tools/make_head_sheet.py": {
        f"head_{name}.png": f"head_{name}.png"
        for name in ("views", "identities", "expressions", "albedo", "regions", "landmarks")
    },
    "tools/rig_picture.py": {"rig.png": "rig.png"},
    "tools/make_viewer_pictures.py": {name: name for name in ("viewer.png", "viewer_fit.png", "viewer_track.png")},
}
"""Script: its pictures in docs/images, each with the name that the script writes it under."""
_POSITIONAL = ("tools/make_head_sheet.py",)
"""Scripts that take the folder without `--out`."""
_SINGLE = ("tools/rig_picture.py",)
"""Scripts whose `--out` is the picture itself."""


def draw(script: str) -> None:
    """Run a script in an empty folder and put its pictures into docs/images."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / next(iter(PICTURES[script].values())) if script in _SINGLE else Path(folder)
        option = [] if script in _POSITIONAL else ["--out"]
        subprocess.run([sys.executable, str(ROOT / script), *option, str(place)], check=True)
        for name, written in PICTURES[script].items():
            shutil.copy(Path(folder) / written, IMAGES / name)
            print(f"{script}: docs/images/{name}")


def main() -> None:
    """Draw what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="files of docs/images; all by default")
    parser.add_argument("--list", action="store_true", help="print the table")
    arguments = parser.parse_args()
    if arguments.list:
        for script, pictures in PICTURES.items():
            print(f"{script}: {', '.join(pictures)}")
        return
    unknown = set(arguments.names) - {name for pictures in PICTURES.values() for name in pictures}
    if unknown:
        parser.error(f"no script draws {', '.join(sorted(unknown))}; see --list")
    for script, pictures in PICTURES.items():
        if not arguments.names or set(arguments.names) & set(pictures):
            draw(script)


if __name__ == "__main__":
    main()
