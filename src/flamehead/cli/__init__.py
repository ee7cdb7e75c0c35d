"""The command line: one small file per verb; printing and progress bars live only here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `flamehead` command.

    Returns:
        0 when everything asked for was written, 1 after a sentence on standard error, 2 for wrong usage, 130 after Ctrl-C.
    """
    import tyro

    from flamehead.cli.assets import Assets
    from flamehead.cli.demo import Demo
    from flamehead.cli.fit import FitPhotos
    from flamehead.cli.warmup import Warmup
    from flamehead.errors import FlameheadError

    name = tyro.conf.subcommand
    commands = (
        Annotated[Demo, name("demo")]
        | Annotated[FitPhotos, name("fit")]
        | Annotated[Warmup, name("warmup")]
        | Annotated[Assets, name("assets")]
    )
    command = tyro.cli(
        commands,  # pyright: ignore[reportArgumentType]
        prog="flamehead",
        description="3D head models: a photo in, a head out. Start with `flamehead demo`.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagConversionOff),
    )
    try:
        return command.run()
    except FlameheadError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("Stopped.", code=130)
    except BrokenPipeError:
        # The reader of our output went away, as in `flamehead ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _fail(sentence: str, *, code: int = 1) -> int:
    print(f"flamehead: {sentence}", file=sys.stderr)
    return code
