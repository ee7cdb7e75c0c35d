"""Time MICA's and DECA's networks on the processor: ArcFace, E_flame, E_detail, D_detail.

Every way to run a network is measured in turn, round after round, on the same random weights and inputs, and its
largest difference from plain float32 is given relative to the largest output. onnxruntime takes part where `onnx` is
installed, which torch needs to export a network.
"""

from __future__ import annotations

import copy
import io
import time
import warnings
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn

from _common import machine, options, write_figures
from flamehead.regress._arcface import ArcFace
from flamehead.regress._detail import DetailDecoder
from flamehead.regress._folded import folded
from flamehead.regress._resnet import Encoder

NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ArcFace": (ArcFace, (3, 112, 112)),
    "E_flame": (lambda: Encoder(236), (3, 224, 224)),
    "E_detail": (lambda: Encoder(128), (3, 224, 224)),
    "D_detail": (DetailDecoder, (181,)),
}


def main() -> None:
    parser = options(__doc__, quick="two rounds instead of five, batch 1 only")
    parser.add_argument("--threads", type=int, default=2, help="of torch and onnxruntime")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rounds, batches = (2, (1,)) if arguments.quick else (5, (1, 8))
    figures: dict[str, float] = {}
    print(machine(threads=f"{arguments.threads} threads"))
    print(f"{'network':10}{'batch':>6}  {'way':16}{'best ms':>10}{'median ms':>11}{'difference':>12}")
    for name, (build, shape) in NETWORKS.items():
        net = lively(build())
        for batch in batches:
            image = torch.rand(batch, *shape)
            rows = measured(ways(net, image, arguments.threads), image, rounds)
            for way, (best, median, difference) in rows.items():
                print(
                    f"{name:10}{batch:6}  {way:16}{1e3 * best:10.1f}{1e3 * median:11.1f}{difference:12.1e}", flush=True
                )
                figures[f"{name}_{batch}_{way}_ms"] = round(1e3 * best, 2)
    write_figures(arguments.json, figures)


def lively(net: nn.Module) -> nn.Module:
    """Random statistics, so that folding has something to fold."""
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            assert layer.running_mean is not None and layer.running_var is not None
            nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
            nn.init.uniform_(layer.weight, 0.7, 1.0)
    return net.eval().requires_grad_(False)


def ways(net: nn.Module, image: torch.Tensor, threads: int) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
    """By name: what takes an input and gives an output."""
    light = folded(net)
    last = copy.deepcopy(light).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"eager": net, "folded": light}
    if image.ndim == 4:
        found["channels-last"] = lambda x: last(x.contiguous(memory_format=torch.channels_last))
    else:
        found["channels-last"] = last
    half = copy.deepcopy(last).bfloat16()
    found["bfloat16"] = lambda x: half(x.bfloat16()).float()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found["onnxruntime"] = onnx_of(light, image, threads)
        except Exception as error:
            print(f"(onnxruntime left out: {str(error).splitlines()[0][:80]})")
    return found


def onnx_of(net: nn.Module, image: torch.Tensor, threads: int) -> Callable[[torch.Tensor], torch.Tensor]:
    import onnxruntime

    buffer = io.BytesIO()
    # The older exporter takes any file, whatever its signature says.
    torch.onnx.export(net, (image,), cast(Any, buffer), dynamo=False, opset_version=17, input_names=["x"])
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(buffer.getvalue(), settings, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def measured(
    found: dict[str, Callable[[torch.Tensor], torch.Tensor]], image: torch.Tensor, rounds: int
) -> dict[str, tuple[float, float, float]]:
    """Best and median seconds, and the difference from the first way."""
    wanted = next(iter(found.values()))(image)
    off = {way: float((run(image) - wanted).abs().max() / wanted.abs().max()) for way, run in found.items()}
    seconds: dict[str, list[float]] = {way: [] for way in found}
    for _ in range(rounds):
        for way, run in found.items():
            start = time.perf_counter()
            run(image)
            seconds[way].append(time.perf_counter() - start)
    return {way: (min(times), sorted(times)[len(times) // 2], off[way]) for way, times in seconds.items()}


if __name__ == "__main__":
    main()
