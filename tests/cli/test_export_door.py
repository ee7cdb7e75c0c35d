"""`flamehead export` as one door: what it says when asked wrongly, what it opens, and that its table and help agree."""

import shutil
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from flamehead import load_flame
from flamehead.cli.export import FORMATS, Export, changed
from flamehead.cli.track import TrackVideo, export_finished
from flamehead.data import Camera, Track
from flamehead.io import save_params, save_track

_GROUPS = ("surface", "rig", "html", "arkit", "data_set", "track")
COUNT, SIZE = 3, (96, 80)


@pytest.fixture(scope="module")
def flame():
    return load_flame()


@pytest.fixture(scope="module")
def results(flame, tmp_path_factory):
    """A fit, and a track that belongs to a model of another name."""
    folder = tmp_path_factory.mktemp("results")
    eye, zero, ones = torch.diag(torch.tensor([1.0, -1.0, -1.0])), torch.zeros(3), torch.tensor([150.0, 150.0])
    camera = Camera(eye, zero, ones, torch.tensor([48.0, 40.0]), SIZE)
    away = torch.tensor([0.0, 0.0, -0.7])
    save_params(folder / "params.npz", replace(flame.zeros(), translation=away), camera, fingerprint=flame.fingerprint)
    values = {name: getattr(camera, name) for name in ("rotation", "translation", "focal", "center")}
    cameras = Camera(**{name: value.expand(COUNT, *value.shape) for name, value in values.items()}, size=SIZE)
    track = Track(
        replace(flame.zeros((COUNT,)), translation=away.expand(COUNT, 3)), cameras, np.arange(COUNT),
        np.arange(COUNT) / 25, np.zeros(COUNT, np.int8), flame.fingerprint,
    )  # fmt: skip
    (folder / "track").mkdir()
    save_track(folder / "track" / "track.npz", track)
    (folder / "foreign").mkdir()
    save_track(folder / "foreign" / "track.npz", replace(track, fingerprint="another"))
    return folder


def test_the_usage_names_all_formats(run):
    done = run("export")
    assert done.code == 2 and done.err.count("\n") == 1
    assert "flamehead export [RESULT] --to FORMAT --out FILE|DIR" in done.err
    assert all(f" {name}" in done.err for name in FORMATS)
    done = run("export", "--to", "arkit")
    assert done.code == 2 and "--to arkit --out head.csv" in done.err


def test_the_help_names_all_formats_and_groups(run):
    out = run("export", "--help").out
    # Lines break anywhere, also after hyphens.
    words = "".join(out.replace("│", "").split())
    description = words.split("positionalarguments")[0]
    assert all(name in description for name in FORMATS)
    *first, last = FORMATS
    assert f"{','.join(first)},or{last}." in words
    assert all(f"{group.replace('_', '-')} options" in out for group in _GROUPS)


def test_the_table_knows_every_option(run, tmp_path):
    options = {f.name for group in _GROUPS for f in fields(getattr(Export(), group))}
    assert options == {name for format_ in FORMATS.values() for name in format_.options}
    assert list(FORMATS) == sorted(FORMATS)
    for format_ in FORMATS.values():
        assert not format_.suffixes or format_.example.endswith(format_.suffixes[0])
    assert changed(Export()) == set()


@pytest.mark.parametrize(
    ("to", "option", "said"),
    [
        ("gltf", ["--ridge", 2], "--ridge belongs to --to arkit, and --to gltf has no use for it"),
        ("arkit", ["--texture", "mean"], "--texture belongs to --to blender, gltf, html, obj, usd, and"),
        ("metrical", ["--mask-grow", 1], "--mask-grow belongs to --to flashavatar, gaussian-avatars, insta, and"),
        ("flashavatar", ["--size", 256], "--size belongs to"),
        ("metrical", ["--motion", "head"], "--motion belongs to --to track"),
        ("ply", ["--rest"], "--rest belongs to --to blender, gltf, usd"),
    ],
)
def test_options_of_other_formats_are_refused(run, results, tmp_path, to, option, said):
    done = run("export", results / "track", "--to", to, "--out", tmp_path / FORMATS[to].example, *option)
    assert done.code == 2 and said in done.err and done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("to", ["blender", "gltf", "html", "obj", "ply", "arkit"])
def test_heads_and_tracks_go_to_every_format_of_heads(run, results, tmp_path, to):
    for name, result in (("mean", ()), ("fit", (results,)), ("track", (results / "track",))):
        out = tmp_path / f"{name}-{FORMATS[to].example}"
        done = run("export", *result, "--to", to, "--out", out)
        assert done.code == 0 and done.err == "" and f"{out}" in done.out
        assert out.stat().st_size > 0


@pytest.mark.parametrize("to", [name for name, format_ in FORMATS.items() if format_.needs_track])
def test_a_fit_is_no_track(run, results, tmp_path, to):
    done = run("export", results / "params.npz", "--to", to, "--out", tmp_path / FORMATS[to].example)
    assert f"--to {to} needs a track" in done.complaint
    assert not list(tmp_path.iterdir())


def test_another_programs_folder_goes_to_every_format(run, results, tmp_path, flame):
    run("export", results / "track", "--to", "vhap", "--out", tmp_path / "tracked_flame_params.npz")
    for to in ("gltf", "html", "arkit", "track"):
        out = tmp_path / FORMATS[to].example
        done = run("export", tmp_path / "tracked_flame_params.npz", "--to", to, "--out", out, "--fps", 30)
        assert done.code == 0 and out.is_file(), done.err


def test_another_model_is_refused_unless_forced(run, results, tmp_path):
    for to in ("gltf", "html", "arkit", "vhap"):
        command = ("export", results / "foreign", "--to", to, "--out", tmp_path / FORMATS[to].example)
        assert "another" in run(*command).complaint
        assert run(*command, "--force", "--quiet").code == 0


def test_a_track_knows_its_times(run, results, tmp_path):
    done = run("export", results / "track", "--to", "gltf", "--out", tmp_path / "a.glb", "--fps", 30)
    assert done.code == 2 and "knows its own" in done.err


def test_nothing_that_is_read_is_written_over(run, results):
    before = (results / "track" / "track.npz").read_bytes()
    done = run("export", results / "track" / "track.npz", "--to", "track", "--out", results / "track" / "track.npz")
    assert "would replace what this command reads" in done.complaint
    done = run("export", results / "track", "--to", "track", "--out", results / "track" / "track.npz")
    assert "would replace what this command reads" in done.complaint
    assert (results / "track" / "track.npz").read_bytes() == before


@pytest.mark.parametrize("to", ["gltf", "obj", "vhap"])
def test_a_finished_track_is_exported_beside_itself(results, tmp_path, capsys, to):
    out = tmp_path / "tracked"
    shutil.copytree(results / "track", out)
    command = TrackVideo(tmp_path / "clip.mp4", out, to=to)
    for _ in range(2):
        assert export_finished(command, to) == 0
        assert str(out / to) in capsys.readouterr().out
    written = {path.name for path in (out / to).iterdir()}
    assert FORMATS[to].example in written if FORMATS[to].suffixes else "head_000002.obj" in written


def test_a_track_is_not_begun_for_an_unknown_format(run, tmp_path):
    for to in ("maya", "track"):
        done = run("track", tmp_path, "--out", tmp_path / "out", "--to", to)
        assert f"--to is {to!r}; choose one of 'arkit'" in done.complaint
    assert not list(tmp_path.iterdir())
