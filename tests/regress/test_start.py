"""Codes as the start of a fit: what they drive, what they refuse to drive, and what `flamehead fit --init` writes."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import flamehead.cli
from flamehead import load_flame
from flamehead.cli.track import TrackVideo, _identity
from flamehead.data import Observation
from flamehead.errors import InputError
from flamehead.io import load_params, read_image
from flamehead.pipeline import fit_seen, see_image
from flamehead.pipeline_track import FoundIdentity
from flamehead.regress import check_release, encode, identify, identity_code, start_of

PORTRAIT = Path(flamehead.cli.__file__).parent / "demo_data" / "astronaut.jpg"


def like(variant, *, fingerprint="0123456789abcdef"):
    """The built-in head under another name."""
    own = load_flame()
    arrays = dataclasses.replace(own.arrays, variant=variant, source="my.pkl", fingerprint=fingerprint)
    return type(own)(arrays, embeddings=own.embeddings, contour=own.contour_table)


@pytest.fixture
def run(capsys):
    """A function that runs `flamehead ARGUMENTS` and gives its status and what it printed."""

    def run(*arguments):
        capsys.readouterr()
        try:
            code = flamehead.cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


def test_codes_drive_flame_2020_and_nothing_else():
    assert check_release(like("2020"), "DECA") == ()
    (warning,) = check_release(like("unknown"), "DECA")
    assert "my.pkl does not say" in warning
    for variant in ("2017", "2019", "2023", "2023-no-jaw", "2023-open"):
        with pytest.raises(InputError, match=rf"would make my\.pkl, FLAME {variant}, look like somebody else"):
            check_release(like(variant), "MICA")
        assert "forced" in check_release(like(variant), "MICA", force=True)[0]
    with pytest.raises(InputError, match="would make the built-in head look like somebody else; pass FLAME 2020"):
        check_release(load_flame(), "DECA")
    assert "forced on the built-in head" in check_release(load_flame(), "DECA", force=True)[0]


@pytest.mark.detect
def test_the_start_is_what_the_networks_say(mica, deca):
    seen = see_image(PORTRAIT)
    photo = read_image(PORTRAIT)
    start = start_of(mica, photo, seen.observation)
    np.testing.assert_array_equal(start.shape, identify(mica, photo, seen=seen.observation).shape)
    assert not start.expression.numel() and not start.jaw.any()
    start, codes = start_of(deca, photo, seen.observation), encode(deca, photo, seen=seen.observation).codes
    assert start.shape.equal(codes.shape) and start.expression.equal(codes.exp) and start.jaw.equal(codes.pose[3:])
    fitted = fit_seen(seen, start=start)
    assert fitted.fit.status.converged
    assert fitted.fit.loss == pytest.approx(fit_seen(seen).fit.loss, rel=0.02)


@pytest.mark.detect
@pytest.mark.slow
@pytest.mark.parametrize("init", ["mica", "deca"])
def test_fit_begins_with_the_code(run, mica_file, deca_file, mica, deca, tmp_path, init):
    checkpoint = {"mica": mica_file, "deca": deca_file}[init]
    arguments = ("fit", PORTRAIT, "--init", init, "--checkpoint", checkpoint, "--force")
    code, _, err = run(*arguments, "--out", tmp_path / "out")
    assert code == 0 and err.count("forced on the built-in head") == 1
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["start"]["network"] == init and report["converged"] and report["landmark_error_percent"] < 3
    assert report["start"]["identity_weight"] == (10 if init == "mica" else None)
    assert any("forced" in warning for warning in report["warnings"])
    code, out, err = run(*arguments, "--out", tmp_path / "firm", "--identity-weight", 1e6, "--quiet")
    assert (code, out, err) == (0, "", "")
    firm, free = (load_params(tmp_path / name / "params.npz").params.shape for name in ("firm", "out"))
    seen = see_image(PORTRAIT)
    network = mica if init == "mica" else deca
    believed = start_of(network, seen.photo, seen.observation).shape
    torch.testing.assert_close(firm[: len(believed)].float(), believed, rtol=0, atol=0.01)
    assert (free[: len(believed)] - believed).abs().max() > 0.05


def test_wrong_words_are_one_sentence_and_leave_nothing_behind(run, deca_file, mica_file, tmp_path):
    out = tmp_path / "out"
    base = ("fit", PORTRAIT, "--out", out)
    forced = (*base, "--init", "deca", "--force")
    cases = [
        ((*base, "--init", "deca"), 2, "needs --checkpoint"),
        ((*base, "--checkpoint", deca_file), 2, "belongs to --init"),
        ((*base, "--identity-weight", 3), 2, "belongs to --init"),
        ((*base, "--force"), 2, "belongs to --init"),
        ((*base, "--init", "deca", "--checkpoint", deca_file), 1, "pass FLAME 2020 with --model, or --force"),
        ((*forced, "--checkpoint", deca_file, "--identity-weight", -1), 1, "give a positive number"),
        ((*forced, "--checkpoint", deca_file, "--identity-weight", math.inf), 1, "give a positive number"),
        ((*forced, "--checkpoint", tmp_path / "no.tar"), 1, "There is no file"),
        ((*forced, "--checkpoint", mica_file), 1, "is a MICA checkpoint"),
    ]
    for arguments, wanted, words in cases:
        code, _, err = run(*arguments)
        assert code == wanted and words in err and err.count("\n") == 1, err
    assert not out.exists()


@pytest.mark.slow
def test_a_track_believes_the_median_of_the_keyframes(mica, mica_file, tmp_path):
    command = TrackVideo(PORTRAIT, tmp_path / "out", identity_from="mica", checkpoint=mica_file, identity_weight=3.0)
    with pytest.raises(InputError, match="is another model, to which its identities do not apply"):
        _identity(command, like_nobody())
    found = _identity(dataclasses.replace(command, force=True), like_nobody())
    assert isinstance(found, FoundIdentity) and "weight 3" in found.name
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 64, 80, 3), dtype=np.uint8)
    points = rng.uniform(10, 50, (3, 478, 2))
    prior = found.find(list(images), points)
    codes = [
        identity_code(mica, image / np.float32(255), Observation(places, "mediapipe478", (80, 64)))
        for image, places in zip(images, points, strict=True)
    ]
    np.testing.assert_allclose(prior.mean, np.median(codes, axis=0), atol=1e-6)
    assert prior.weight == 3.0 and np.ptp(codes, axis=0).max() > 0


def like_nobody():
    """The built-in head with a basis of its own."""
    own = load_flame()
    arrays = dataclasses.replace(own.arrays, shape_basis=-own.arrays.shape_basis, source="my.pkl")
    return type(own)(arrays, embeddings=own.embeddings, contour=own.contour_table)


@pytest.mark.parametrize("command", ["fit", "track", "encode", "identity"])
def test_a_wrong_checkpoint_is_told_before_slow_work(run, mica_file, deca_file, tmp_path, monkeypatch, command):
    def slow(*_arguments, **_options):
        raise AssertionError("slow work began")

    monkeypatch.setattr("flamehead.cli._prepare.compile_kernels", slow)
    monkeypatch.setattr("flamehead.model.load_flame", slow)
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    source = tmp_path if command == "track" else tmp_path / "0.png"
    network = {"fit": ("--init", "mica", "--force"), "track": ("--identity-from", "mica", "--force")}
    wrong = mica_file if command == "encode" else deca_file
    out = tmp_path / "out"
    code, _, err = run(command, source, "--out", out, "--checkpoint", wrong, *network.get(command, ()))
    assert code == 1 and err.count("\n") == 1 and "checkpoint (it holds" in err and not out.exists()
