"""How a network is run: by torch everywhere, by onnxruntime on a processor where that is checked and faster.

onnxruntime takes half of torch's time there, but torch needs the package `onnx` to hand a network over, which takes
seconds. That is done once: the file goes into the user's cache folder, and a verdict beside it says how far its outputs
are from torch's and how long either takes for one picture and for several. Another machine, another number of threads
or another release of either package measures again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import logging
import platform
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from flamehead._atomic import atomic_path
from flamehead.assets import user_cache_folder
from flamehead.errors import InputError, MissingExtra

__all__ = ["ENGINES", "Engine", "Quick", "quick"]

Engine = Literal["auto", "torch", "onnxruntime"]
ENGINES: tuple[Engine, ...] = ("auto", "torch", "onnxruntime")
"""`auto` takes onnxruntime where it and `onnx` are installed and its outputs pass the check, else torch."""

_log = logging.getLogger(__name__)

_FARTHEST = 1e-3
"""Largest difference from torch, relative to the largest output."""
_RECIPE = "2"
_OPSET = 17
_ROUNDS = 3
_INSTALL = "pip install flamehead[regress]"


class Quick(nn.Module):
    """A network in evaluation mode; float32 on the processor goes to onnxruntime where there is a session."""

    def __init__(self, net: nn.Module, session: Any = None, *, half: bool = False) -> None:
        """Put both beside each other.

        Args:
            net: the network.
            session: the same one in onnxruntime.
            half: compute in float16 on CUDA, where torch thinks it safe.
        """
        super().__init__()
        self.net, self.session, self.half_on_cuda = net, session, half

    def forward(self, x: Float[Tensor, "B *_"]) -> Float[Tensor, "B *_"]:
        """The network's output, in the type of the input."""
        if self.session is not None and x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad:
            return torch.from_numpy(self.session.run(None, {"x": x.numpy()})[0])
        if self.half_on_cuda and x.is_cuda:
            with torch.autocast("cuda", dtype=torch.float16):
                return self.net(x).to(x.dtype)
        return self.net(x)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave the session behind, which cannot be copied, and run in torch."""
        return self.__dict__ | {"session": None}


def quick(
    net: nn.Module,
    example: Float[Tensor, "B *_"],
    *,
    name: str,
    engine: Engine = "auto",
    device: torch.device | str | None = None,
    half: bool = False,
) -> Quick:
    """A network that runs as fast as this machine lets it.

    Args:
        net: in evaluation mode, without gradients, on the processor.
        example: an input of the right size, two of a batch.
        name: for the file in the cache.
        engine: what runs it on the processor.
        device: where it will run.
        half: see `Quick`.

    Raises:
        InputError: there is no such engine, or onnxruntime was asked for and its outputs differ.
        MissingExtra: onnxruntime was asked for and is not installed.
    """
    if engine not in ENGINES:
        raise InputError(f"There is no engine {engine!r}; give one of {', '.join(ENGINES)}.")
    on_cpu = device is None or torch.device(device).type == "cpu"
    if engine == "torch" or (engine == "auto" and not on_cpu):
        return Quick(net, half=half)
    missing = [package for package in ("onnx", "onnxruntime") if importlib.util.find_spec(package) is None]
    if missing:
        if engine == "onnxruntime":
            raise MissingExtra(f"The engine onnxruntime needs {' and '.join(missing)}; install with `{_INSTALL}`.")
        _log.info("%s runs in torch: %s not installed (%s).", name, " and ".join(missing), _INSTALL)
        return Quick(net, half=half)
    session, reason = _session(net, example, name)
    if session is None and engine == "onnxruntime":
        raise InputError(f"onnxruntime cannot serve {name} ({reason}); leave out the engine to run it in torch.")
    if session is None:
        _log.info("%s runs in torch: %s.", name, reason)
    return Quick(net, session, half=half)


def _session(net: nn.Module, example: Tensor, name: str) -> tuple[Any, str]:
    """A session of the file in the cache, which is made and checked if it is not there; or None and why."""
    file = user_cache_folder() / "networks" / f"{name}-{_digest(net)}.onnx"
    verdict = file.with_suffix(".json")
    try:
        if not file.is_file():
            _log.info("Handing %s over to onnxruntime, once for this checkpoint: %s", name, file)
            file.parent.mkdir(parents=True, exist_ok=True)
            _export(net, example, file)
        session, place = None, _place()
        found = _read_verdict(verdict)
        if found.get("place") != place:
            session = _open(file)
            found = {"place": place} | _compared(net, example, session)
            with atomic_path(verdict) as temporary:
                temporary.write_text(json.dumps(found), encoding="utf-8")
        if reason := _refused(found):
            return None, reason
        return _open(file) if session is None else session, ""
    # Whatever goes wrong between two other packages, torch itself can do the work.
    except Exception as error:
        file.unlink(missing_ok=True)
        verdict.unlink(missing_ok=True)
        return None, (str(error).splitlines() or [type(error).__name__])[0][:200]


def _read_verdict(path: Path) -> dict[str, Any]:
    """What was measured before; empty if nothing was, or if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _place() -> str:
    """Where a verdict holds: times of another machine say nothing about this one."""
    import onnxruntime

    versions = f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}"
    return f"{platform.node()}, {platform.machine()}, {torch.get_num_threads()} threads, {versions}"


def _digest(net: nn.Module) -> str:
    digest = hashlib.sha256(_RECIPE.encode())
    for key, value in net.state_dict().items():
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
    return digest.hexdigest()[:16]


def _export(net: nn.Module, example: Tensor, file: Path) -> None:
    options: dict[str, Any] = {"opset_version": _OPSET, "input_names": ["x"], "output_names": ["y"]}
    # The newer exporter needs another package; torch before 2.5 does not know the word.
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    with atomic_path(file) as temporary, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(net, (example,), str(temporary), dynamic_axes={"x": {0: "B"}, "y": {0: "B"}}, **options)


def _open(file: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    settings.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])


def _compared(net: nn.Module, example: Tensor, session: Any) -> dict[str, Any]:
    """The difference from torch, and for one and for several of a batch the best of a few times of either."""
    other = Quick(net, session)
    difference, seconds = 0.0, {"torch": [float("inf")] * 2, "onnxruntime": [float("inf")] * 2}
    with torch.no_grad():
        for row, x in enumerate((example[:1], example)):
            wanted = net(x)
            off = float((other(x) - wanted).abs().max() / wanted.abs().max())
            difference = max(difference, off if off == off else float("inf"))
            for _ in range(_ROUNDS):
                for way, run in (("torch", net), ("onnxruntime", other)):
                    start = time.perf_counter()
                    run(x)
                    seconds[way][row] = min(seconds[way][row], time.perf_counter() - start)
    return {"difference": difference} | seconds


def _refused(found: Mapping[str, Any]) -> str:
    """Why onnxruntime is not taken; empty if it is: near enough, and slower for neither size of a batch."""
    if not found["difference"] <= _FARTHEST:
        return f"its outputs differ by {found['difference']:.1e} of the largest"
    for own, other in zip(found["torch"], found["onnxruntime"], strict=True):
        if other > own:
            return f"it takes {1e3 * other:.0f} ms, torch {1e3 * own:.0f} ms"
    return ""
