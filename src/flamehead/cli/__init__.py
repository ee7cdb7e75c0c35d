"""The command line: one small file per verb; printing and progress bars live only here."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

if TYPE_CHECKING:
    from flamehead.cli.assets import Assets
    from flamehead.cli.convert import Convert
    from flamehead.cli.demo import Demo
    from flamehead.cli.encode import EncodePhotos
    from flamehead.cli.evaluate import Evaluate
    from flamehead.cli.export import Export
    from flamehead.cli.fit import FitPhotos
    from flamehead.cli.identity import IdentifyPhotos
    from flamehead.cli.pose import Pose
    from flamehead.cli.render import Render
    from flamehead.cli.scan import FitScan
    from flamehead.cli.track import TrackVideo
    from flamehead.cli.view import View
    from flamehead.cli.warmup import Warmup

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `flamehead` command.

    Returns:
        0 when everything asked for was written, 1 after a sentence on standard error, 2 for wrong usage, 130 after
        Ctrl-C.
    """
    from flamehead.cli._usage import UsageError
    from flamehead.errors import FlameheadError

    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names may hold what the terminal's encoding lacks; standard error is lenient already.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command = _parsed(sys.argv[1:] if arguments is None else arguments)
        with _warnings_muted(getattr(command, "quiet", False)):
            return command.run()
    except UsageError as error:
        return _fail(str(error), code=2)
    except FlameheadError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("Stopped.", code=130)
    except BrokenPipeError:
        # The reader of our output went away, as in `flamehead ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"The system refused ({error}); check paths, permissions and free space.")


def _parsed(
    arguments: Sequence[str],
) -> (
    Demo
    | FitPhotos
    | TrackVideo
    | FitScan
    | Pose
    | Render
    | IdentifyPhotos
    | EncodePhotos
    | Convert
    | Export
    | Evaluate
    | View
    | Warmup
    | Assets
):
    """The command that the arguments name; tyro prints usage and exits where they name none."""
    import tyro

    from flamehead.cli.assets import Assets
    from flamehead.cli.convert import Convert
    from flamehead.cli.demo import Demo
    from flamehead.cli.encode import EncodePhotos
    from flamehead.cli.evaluate import Evaluate
    from flamehead.cli.export import Export
    from flamehead.cli.fit import FitPhotos
    from flamehead.cli.identity import IdentifyPhotos
    from flamehead.cli.pose import Pose
    from flamehead.cli.render import Render
    from flamehead.cli.scan import FitScan
    from flamehead.cli.track import TrackVideo
    from flamehead.cli.view import View
    from flamehead.cli.warmup import Warmup

    if list(arguments) == ["--version"]:
        from flamehead import __version__

        print(f"flamehead {__version__}")
        raise SystemExit(0)
    name = tyro.conf.subcommand
    commands = (
        Annotated[Demo, name("demo")]
        | Annotated[FitPhotos, name("fit")]
        | Annotated[TrackVideo, name("track")]
        | Annotated[FitScan, name("scan")]
        | Annotated[Pose, name("pose")]
        | Annotated[Render, name("render")]
        | Annotated[Export, name("export")]
        | Annotated[IdentifyPhotos, name("identity")]
        | Annotated[EncodePhotos, name("encode")]
        | Annotated[Convert, name("convert")]
        | Annotated[Evaluate, name("evaluate")]
        | Annotated[View, name("view")]
        | Annotated[Warmup, name("warmup")]
        | Annotated[Assets, name("assets")]
    )
    return tyro.cli(
        commands,  # pyright: ignore[reportArgumentType]
        prog="flamehead",
        description="3D head models: a photo in, a head out. Start with `flamehead demo`.",
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )


@contextlib.contextmanager
def _warnings_muted(quiet: bool) -> Iterator[None]:
    """With `--quiet` only errors are said; what is logged below them goes to standard error otherwise."""
    logger = logging.getLogger("flamehead")
    before = logger.level
    if quiet:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _fail(sentence: str, *, code: int = 1) -> int:
    print(f"flamehead: {sentence}", file=sys.stderr)
    return code
