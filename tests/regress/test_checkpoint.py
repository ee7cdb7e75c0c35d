"""Checkpoints: every container is read, nothing is executed, and each kind of bad file gets one sentence."""

import io
import os
import pickle
import sys
import tarfile
import types
import zipfile

import numpy as np
import pytest
import torch

from flamehead.assets import user_cache_folder
from flamehead.errors import AssetNotFound, InputError, UnsafeFile
from flamehead.regress import check_checkpoint, read_weights
from flamehead.regress._layout import layout


def _copies():
    return sorted((user_cache_folder() / "checkpoints").glob("*"))


def _refused(path, network, *words, kind=InputError):
    with pytest.raises(kind) as caught:
        read_weights(path, network, cached=False)
    sentence = str(caught.value)
    assert sentence.count("\n") == 0 and sentence.endswith(".") and str(path) in sentence
    for word in words:
        assert word in sentence, sentence
    return sentence


def _same(weights, parts):
    for name, value in weights.tensors.items():
        part, _, key = name.partition(".")
        assert value.dtype == parts[part][key].dtype and torch.equal(value, parts[part][key])
    assert set(weights.tensors) == set(layout(weights.network))


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_both_containers_hold_the_same_numbers(tmp_path, deca_parts, deca_file, zipped):
    path = deca_file
    if not zipped:
        path = tmp_path / "deca_model.tar"
        torch.save(deca_parts, path, _use_new_zipfile_serialization=False)
    _same(read_weights(path, "DECA", cached=False), deca_parts)


def test_what_training_left_behind_does_no_harm(tmp_path, hollow, left_behind):
    path, parts = tmp_path / "mica.tar", hollow("MICA") | left_behind
    torch.save(parts, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    _same(read_weights(path, "MICA", cached=False), parts)


@pytest.mark.parametrize("core", [b"numpy.core.", b"numpy._core."])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_numpy_of_either_age_may_have_written_it(tmp_path, hollow, core, zipped):
    parts = hollow("DECA") | {"validator": {"loss": np.float64(2.0), "all": np.arange(3.0)}}
    buffer = io.BytesIO()
    torch.save(parts, buffer, _use_new_zipfile_serialization=zipped)
    path = tmp_path / "deca_model.tar"
    path.write_bytes(_rewritten(buffer, core) if zipped else _renamed(buffer.getvalue(), core))
    found = read_weights(path, "DECA", cached=False)
    assert found.tensors["E_flame.layers.2.bias"].shape == (236,)


def _renamed(data, core):
    """Text globals of protocol 2, `cMODULE\\nNAME\\n`: their length is written nowhere."""
    for name in (b"numpy.core.", b"numpy._core."):
        data = data.replace(b"c" + name + b"multiarray", b"c" + core + b"multiarray")
    return data


def _rewritten(buffer, core):
    out = io.BytesIO()
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(out, "w") as new:
        for item in old.infolist():
            data = old.read(item)
            new.writestr(item.filename, _renamed(data, core) if item.filename.endswith("data.pkl") else data)
    return out.getvalue()


def test_the_copy_is_made_once_and_used_again_unless_it_is_damaged(
    tmp_path, deca_file, deca_parts, caplog, monkeypatch
):
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path))
    first = read_weights(deca_file, "DECA")
    (copy,) = _copies()
    assert copy.suffix == ".safetensors" and copy.name.startswith("deca-")
    _same(first, deca_parts)
    monkeypatch.setattr(torch, "load", None)
    again = read_weights(deca_file, "DECA")
    _same(again, deca_parts)
    assert again.source == str(deca_file)
    _same(read_weights(copy, "DECA"), deca_parts)
    _refused(copy, "MICA", "DECA checkpoint")
    monkeypatch.undo()
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path))
    copy.write_bytes(copy.read_bytes()[:1000])
    _same(read_weights(deca_file, "DECA"), deca_parts)
    assert "making it again" in caplog.text and copy.stat().st_size > 10**8


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, hollow, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("FLAMEHEAD_CACHE", str(tmp_path / "file"))
    path, parts = tmp_path / "deca_model.tar", hollow("DECA")
    torch.save(parts, path)
    _same(read_weights(path, "DECA"), parts)


class _Evil:
    def __reduce__(self):
        return os.mkdir, (str(self.where),)

    def __init__(self, where):
        self.where = where


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nothing_is_executed(tmp_path, hollow, zipped):
    path, target = tmp_path / "mica.tar", tmp_path / "executed"
    torch.save(hollow("MICA") | {"opt": _Evil(target)}, path, _use_new_zipfile_serialization=zipped)
    _refused(path, "MICA", "mkdir", "nothing in it was executed", kind=UnsafeFile)
    assert not target.exists()


def test_a_plain_pickle_of_evil_is_refused(tmp_path):
    path, target = tmp_path / "deca_model.tar", tmp_path / "executed"
    path.write_bytes(pickle.dumps({"E_flame": _Evil(target)}))
    _refused(path, "DECA")
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9999])
def test_truncated_files(tmp_path, hollow, share, zipped):
    path, parts = tmp_path / "deca_model.tar", hollow("DECA")
    # Weights enough that most cuts fall into them.
    parts["D_detail"]["l1.0.weight"] = torch.rand(8192, 181)
    torch.save(parts, path, _use_new_zipfile_serialization=zipped)
    os.truncate(path, int(path.stat().st_size * share))
    _refused(path, "DECA", "download it again", *(["it is cut short"] if zipped else []))


def test_flipped_bits_in_the_weights(tmp_path, deca_file):
    path = tmp_path / "deca_model.tar"
    data = bytearray(deca_file.read_bytes())
    data[len(data) // 2] ^= 0x40
    path.write_bytes(data)
    _refused(path, "DECA", "checksum")


def test_the_wrong_network(tmp_path, deca_file, mica_file):
    _refused(deca_file, "MICA", "is a DECA checkpoint", "'E_flame'", "mica.tar")
    _refused(mica_file, "DECA", "is a MICA checkpoint", "deca_model.tar")
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, other)
    _refused(other, "MICA", "is no MICA checkpoint", "'state_dict'")


def test_related_networks_are_known_by_name(tmp_path):
    """The prefixes of SMIRK's flat file and of EMOCA's run folders."""
    zero = torch.zeros(2)
    smirk, emoca = tmp_path / "SMIRK_em1.pt", tmp_path / "emoca.ckpt"
    torch.save({"smirk_encoder.pose_encoder.pose_cam_layers.0.weight": zero, "smirk_generator.x": zero}, smirk)
    torch.save({"state_dict": {"deca.E_flame.layers.0.bias": zero, "deca.E_expression.layers.0.bias": zero}}, emoca)
    for path, word in ((smirk, "checkpoint of SMIRK"), (emoca, "checkpoint of EMOCA")):
        for network in ("MICA", "DECA"):
            sentence = _refused(path, network, word, f"pass the {network} checkpoint")
            with pytest.raises(InputError) as caught:
                check_checkpoint(path, network)
            assert str(caught.value) == sentence
    # Its own files hold the configuration as objects.
    library = types.ModuleType("omegaconf.dictconfig")
    vars(library)["DictConfig"] = type("DictConfig", (), {"__module__": library.__name__})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "omegaconf", types.ModuleType("omegaconf"))
        patch.setitem(sys.modules, library.__name__, library)
        torch.save({"state_dict": {}, "hyper_parameters": library.DictConfig()}, emoca)
    _refused(emoca, "DECA", "EMOCA", "nothing in it was executed", kind=UnsafeFile)


def test_missing_unexpected_and_misshapen_tensors_are_named(tmp_path, hollow):
    path, parts = tmp_path / "deca_model.tar", hollow("DECA")

    def refused(change, *words):
        changed = {part: dict(entries) for part, entries in parts.items()}
        change(changed)
        torch.save(changed, path)
        _refused(path, "DECA", *words)

    refused(lambda p: p["E_flame"].pop("encoder.bn1.bias"), "lacks 'E_flame.encoder.bn1.bias'")
    refused(lambda p: p.pop("D_detail"), "lacks 'D_detail.", "and 43 more")
    refused(lambda p: p["E_detail"].update({"fc.weight": torch.zeros(2)}), "unexpected 'E_detail.fc.weight'")
    refused(lambda p: p["D_detail"].update({"l1.0.bias": torch.zeros(8)}), "'D_detail.l1.0.bias' has shape (8,)")
    refused(lambda p: p["D_detail"].update({"l1.0.bias": torch.zeros(8192).half()}), "is torch.float16")
    refused(lambda p: p["D_detail"].update({"l1.0.bias": torch.full((8192,), torch.nan)}), "NaN")


def test_files_that_are_no_checkpoints(tmp_path):
    path = tmp_path / "mica.tar"
    with pytest.raises(AssetNotFound, match=r"There is no file .*mica\.tar"):
        read_weights(path, "MICA")
    _refused(tmp_path, "MICA", "not a file")
    for content, word in (
        (b"", "empty"),
        (b"<!DOCTYPE html><html>log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "LFS"),
        (b"\x1f\x8b" + bytes(300), "archive"),
        (np.random.default_rng(0).bytes(5000), "not a whole checkpoint"),
    ):
        path.write_bytes(content)
        _refused(path, "MICA", word)
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "inside")
    _refused(path, "MICA", "is an archive", "in spite of its name")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")
    _refused(path, "MICA", "data.pkl")
