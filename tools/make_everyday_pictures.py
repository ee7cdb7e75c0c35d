"""Run the examples and land their pictures in docs/images: `python tools/make_everyday_pictures.py [--out DIR]`."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = {
    "01_pose_the_head": ("posed.png",),
    "04_parts_of_a_model": ("parts.png",),
    "05_textures": ("textures.png", "components.png"),
    "06_project_points": ("projected.png",),
    "07_depth_and_points": ("scan.png",),
}
"""What docs/everyday.md shows, by the script that draws it."""


def main() -> None:
    """Run and copy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for script, names in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([sys.executable, str(EXAMPLES / f"{script}.py"), "--out", folder], check=True)
            for name in names:
                shutil.copy(Path(folder) / name, out / name)
                print(f"Wrote {out / name}")


if __name__ == "__main__":
    main()
