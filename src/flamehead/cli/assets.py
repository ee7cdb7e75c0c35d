"""`flamehead assets`: which FLAME files are there, what is missing, how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from flamehead.cli._usage import FlameVariant, UsageError
from flamehead.errors import InputError

if TYPE_CHECKING:
    from flamehead.assets import FoundAsset

__all__ = ["Assets", "Convert", "Describe", "Doctor", "ExportBuiltin"]


@dataclass(frozen=True)
class Doctor:
    """List the FLAME files found on this machine, and where to get those that are missing."""

    assets: Path | None = None
    """A folder to look in, besides $FLAMEHEAD_ASSETS and the user's data folder; a checkout of MICA, for example."""
    flame_variant: FlameVariant = "unknown"
    """The release of the models found, where they do not say it."""

    def run(self) -> int:
        from flamehead.assets import asset_folders, doctor, missing, user_data_folder

        if self.assets is not None and not self.assets.is_dir():
            raise InputError(f"There is no folder {self.assets}; check the path given with --assets.")
        folders = asset_folders(self.assets)
        found = doctor(folders, variant=self.flame_variant)
        print(f"Looked in: {', '.join(map(str, folders)) or f'nowhere; put files into {user_data_folder()}'}")
        print("Built-in head: ready, no file needed. Everything works with it.\n")
        if found:
            _print_found(found)
        print("Can be added (nothing of it is needed to begin):" if found else "No FLAME files found. Can be added:")
        for wanted in missing(found):
            print(f"  {wanted.name}\n      for {wanted.enables}\n      from {wanted.where}")
        return 0


@dataclass(frozen=True)
class Describe:
    """Say what FLAME files, parameters and meshes are; nothing in them is executed."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """The files."""
    flame_variant: FlameVariant = "unknown"
    """The release of the models among them, where they do not say it."""

    def run(self) -> int:
        from flamehead.cli._describe import describe_file

        if not self.files:
            raise UsageError("No file was given: flamehead assets describe FILE...")
        code = 0
        for file in self.files:
            if not file.is_file():
                raise InputError(f"There is no file {file}; check the path.")
            said, usable = describe_file(file, variant=self.flame_variant)
            print(f"{file}: {said}")
            code |= not usable
        return code


@dataclass(frozen=True)
class Convert:
    """Write a FLAME model so that it opens faster and holds no pickle; numbers and fingerprint stay the same."""

    model: tyro.conf.Positional[Path]
    """The model: a pickle, .npz or .safetensors."""
    to: Path
    """The file to write, ending in .npz or .safetensors."""
    flame_variant: FlameVariant = "unknown"
    """The release of the model, to be remembered in the file; 2023-no-jaw is known only to you."""
    overwrite: bool = False
    """Replace the file if it exists."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        from flamehead.assets import read_model, write_converted

        if self.to.exists() and not self.overwrite:
            raise InputError(f"{self.to} exists already; name another file or pass --overwrite.")
        arrays = read_model(self.model, variant=self.flame_variant)
        write_converted(self.to, arrays)
        if not self.quiet:
            size = self.to.stat().st_size / 1e6
            print(f"Wrote {self.to}, {size:.0f} MB, fingerprint {arrays.fingerprint}, variant {arrays.variant}.")
            print("The licence of the model holds for this file, too.")
        return 0


@dataclass(frozen=True)
class ExportBuiltin:
    """Write the built-in head in FLAME's file formats, for programs that know only these; its licence is MIT."""

    folder: tyro.conf.Positional[Path]
    """Folder to write into; it need not exist."""
    overwrite: bool = False
    """Replace the files of an earlier export."""
    quiet: bool = False
    """Print nothing but errors."""

    def run(self) -> int:
        from flamehead.builtin.export import export_builtin

        files = export_builtin(self.folder, overwrite=self.overwrite)
        if not self.quiet:
            size = sum(file.stat().st_size for file in files) / 1e6
            print(f"Wrote {len(files)} files, {size:.0f} MB, to {self.folder}; start with {files[0]}.")
        return 0


@dataclass(frozen=True)
class Assets:
    """FLAME files: find them, say what they are and what they enable."""

    command: (
        Annotated[Doctor, tyro.conf.subcommand("doctor")]
        | Annotated[Describe, tyro.conf.subcommand("describe")]
        | Annotated[Convert, tyro.conf.subcommand("convert")]
        | Annotated[ExportBuiltin, tyro.conf.subcommand("export-builtin")]
    )

    def run(self) -> int:
        return self.command.run()


def _print_found(found: list[FoundAsset]) -> None:
    """A block per file: columns would cut long paths to pieces in a terminal of 80 characters, and in a pipe."""
    for asset in found:
        print(asset.path)
        enables = f"PROBLEM: {asset.problem}" if asset.problem else asset.enables
        rows = (("is", asset.description), ("found in", asset.place), ("licence", asset.licence), ("enables", enables))
        for title, text in rows:
            if text:
                print(f"    {title:<9} {text}")
    print()
