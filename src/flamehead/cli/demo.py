"""`flamehead demo`: the whole path on the portrait that comes with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated

import tyro

from flamehead.cli.fit import FitPhotos

__all__ = ["Demo"]


@dataclass(frozen=True)
class Demo:
    """Fit the built-in head to a public-domain portrait (NASA's photo of Eileen Collins, 1999)."""

    out: Annotated[Path, tyro.conf.arg(metavar="DIR", aliases=["-o"])] = Path("demo")
    """Folder for the results."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        with resources.as_file(resources.files("flamehead.cli") / "demo_data" / "astronaut.jpg") as photo:
            code = FitPhotos(images=(photo,), out=self.out, quiet=self.quiet).run()
        if code == 0 and not self.quiet:
            print(f"Look at {self.out / 'overlay.png'}, then try your own: flamehead fit PHOTO --out DIR")
        return code
