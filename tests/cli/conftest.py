"""The command line, run in this process or in one of its own."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from flamehead.cli import main

PHOTO = Path(main.__code__.co_filename).parent / "demo_data" / "astronaut.jpg"


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self):
        """The one sentence on standard error of a command that failed."""
        assert self.code == 1 and self.err.startswith("flamehead: ") and self.err.endswith("\n")
        assert self.err.count("\n") == 1 and "Traceback" not in self.err
        sentence = self.err.removeprefix("flamehead: ").rstrip("\n")
        assert sentence.endswith((".", "?")) or "..." in sentence
        return sentence


@pytest.fixture
def run(capsys):
    """A function that runs `flamehead ARGUMENTS` in this process."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            assert isinstance(stop.code, int)
            code = stop.code
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture
def spawn():
    """A function that runs `flamehead ARGUMENTS` in a process of its own, some Python before it."""

    def spawn(*arguments, before="", after="", cwd=None):
        code = (
            f"import sys\n{before}\nfrom flamehead.cli import main\ncode = main(sys.argv[1:])\n{after}\nsys.exit(code)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, cwd=cwd, timeout=120
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return spawn


@pytest.fixture
def portrait():
    """The photo of the demo."""
    return PHOTO
