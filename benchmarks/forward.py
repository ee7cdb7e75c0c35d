"""How fast a head is posed: `python benchmarks/forward.py [--peer PYTHON] [--quick] [--json FILE]`.

Full head, identity built in, identity and expression built in, 105 landmarks, and forward + backward, for batches of
1, 8, 64 and 1024 with two threads and with one. Beside it in the same rounds: torch's `coefficients @ basis`
(B x 400 by 400 x 15069, the least that a full head costs), the plain formula as everyone writes it, and `body-models`
from PyPI on the same model file, in an environment of its own: `pip install -r benchmarks/peers/body-models.txt` into
a new one, whose interpreter is `--peer`.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from _common import machine, options, write_figures
from flamehead.assets.write_model import write_model
from flamehead.data import FlameParams
from flamehead.geometry.rotation import exp
from flamehead.model import Flame, Head, LandmarkHead, load_flame

WORKER = Path(__file__).parent / "peers/body_models_worker.py"
CASES = ("full", "identity", "frozen", "landmarks", "backward")
REPEATS = {1: 40, 8: 20, 64: 6, 1024: 2}


@dataclass(frozen=True)
class Heads:
    """What is timed."""

    full: Flame
    person: Head
    frozen: Head
    landmarks: LandmarkHead


class Peer:
    """The worker, if its interpreter was named and it can read the model."""

    def __init__(self, python: str | None, flame: Flame) -> None:
        self.problem = None if python else "not asked for"
        if python is None:
            return
        self.folder = tempfile.TemporaryDirectory()
        model, weights = Path(self.folder.name) / "model.pkl", Path(self.folder.name) / "weights.npy"
        write_model(model, flame.arrays)
        marks = flame.landmark_model("mediapipe105")
        table = np.zeros((len(marks.weights), len(flame.template)), np.float32)
        points = np.arange(len(table))[:, None]
        np.add.at(table, (points, marks.vertex_ids[marks.corners].numpy()), marks.weights.numpy())
        np.save(weights, table)
        self.process = subprocess.Popen(
            [python, str(WORKER), str(model), str(weights)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if self.process.stdout is None or self.process.stdout.readline() != "ready\n":
            errors = (self.process.stderr.read() if self.process.stderr else "").strip().splitlines()
            self.problem = errors[-1] if errors else "did not start"

    def times(self, case: str, batch: int, threads: int, repeats: int) -> list[float]:
        """Seconds of each call; NaN without a peer."""
        if self.problem or self.process.stdin is None or self.process.stdout is None:
            return [float("nan")]
        request = {"case": case, "batch": batch, "threads": threads, "repeats": repeats}
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        """Let the worker end."""
        if not self.problem and self.process.stdin:
            self.process.stdin.close()
            self.process.wait()


def random_params(head: Head | LandmarkHead, batch: int) -> FlameParams:
    """Coefficients N(0, 1), rotations of about 0.2 radians."""
    generator = torch.Generator().manual_seed(batch)
    zeros = head.zeros((batch,))

    def draw(name: str) -> Tensor:
        scale = 1.0 if name in ("shape", "expression") else 0.2
        return scale * torch.randn(getattr(zeros, name).shape, generator=generator)

    return FlameParams(*(draw(field.name) for field in fields(zeros)))


def plain_formula(flame: Flame, params: FlameParams) -> Tensor:
    """The model as it is written in most repositories: one einsum per line, 4 x 4 matrices."""
    shape_directions = flame.shape_directions
    coefficients = torch.cat([params.shape, params.expression], dim=1)
    rest = flame.template + torch.einsum("bl,vkl->bvk", coefficients, shape_directions)
    joints = torch.einsum("bvk,jv->bjk", rest, flame.joint_regressor)
    rotations = exp(params.pose)
    feature = (rotations[:, 1:] - torch.eye(3)).flatten(1)
    rest = rest + (feature @ flame.pose_basis).view(len(feature), -1, 3)
    parents = list(flame.parents)
    bones = joints.clone()
    bones[:, 1:] -= joints[:, parents[1:]]
    local = torch.nn.functional.pad(torch.cat([rotations, bones[..., None]], -1), (0, 0, 0, 1))
    local[..., 3, 3] = 1.0
    chain = [local[:, 0]]
    for joint in range(1, len(parents)):
        chain.append(chain[parents[joint]] @ local[:, joint])
    world = torch.stack(chain, 1)
    offset = world @ torch.nn.functional.pad(joints, (0, 1))[..., None]
    world = world - torch.nn.functional.pad(offset, (3, 0))
    mixed = torch.einsum("vj,bjkl->bvkl", flame.skin_weights, world)
    homogeneous = torch.nn.functional.pad(rest, (0, 1), value=1.0)
    return (mixed @ homogeneous[..., None])[..., :3, 0] + params.translation[:, None]


def jobs(heads: Heads, case: str, batch: int) -> dict[str, Callable[[], object]]:
    """What is timed here for a case, by name."""
    head = {"identity": heads.person, "frozen": heads.frozen, "landmarks": heads.landmarks}.get(case, heads.full)
    params = random_params(head, batch)
    found: dict[str, Callable[[], object]] = {}
    for name, backend in (("kernels", "numba"), ("torch", "reference")):
        if case == "backward":
            values = [getattr(params, field.name).requires_grad_() for field in fields(params)]
            wanted = FlameParams(*values)

            def both(backend: str = backend, wanted: FlameParams = wanted, values: list[Tensor] = values) -> object:
                return torch.autograd.grad(heads.full(wanted, backend=backend).vertices.sum(), values)

            found[name] = both
        else:
            found[name] = lambda backend=backend: head(params, backend=backend)
    if case == "full":
        coefficients = torch.cat([params.shape, params.expression], 1)
        basis = torch.cat([heads.full.shape_basis, heads.full.expression_basis])
        found["product"] = lambda: coefficients @ basis
        if batch <= 64:
            found["formula"] = lambda: plain_formula(heads.full, params)
    return found


def timed(run: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call after two that do not count."""
    run(), run()
    times = []
    for _ in range(repeats):
        begin = perf_counter()
        run()
        times.append(perf_counter() - begin)
    return times


def measure(heads: Heads, peer: Peer, case: str, batch: int, threads: int, rounds: int) -> dict[str, float]:
    """Median milliseconds by name; all contestants run in every round."""
    torch.set_num_threads(threads)
    table: dict[str, list[float]] = {}
    runs = jobs(heads, case, batch)
    for _ in range(rounds):
        with torch.set_grad_enabled(case == "backward"):
            for name, run in runs.items():
                table.setdefault(name, []).extend(timed(run, REPEATS[batch]))
        table.setdefault("peer", []).extend(peer.times(case, batch, threads, REPEATS[batch]))
    return {name: 1000.0 * float(np.median(times)) for name, times in table.items()}


def main() -> None:
    """Run and print."""
    parser = options(__doc__, quick="batches of 1 and 8, one round instead of three")
    parser.add_argument("--peer", help="interpreter of an environment with body-models")
    arguments = parser.parse_args()
    flame = load_flame()
    directions = torch.cat([flame.shape_basis, flame.expression_basis]).T.unflatten(0, (-1, 3)).contiguous()
    flame.register_buffer("shape_directions", directions, persistent=False)
    random = random_params(flame, 1)
    shape, expression = random.shape[0], random.expression[0]
    frozen = flame.with_identity(shape, expression=expression)
    heads = Heads(flame, flame.with_identity(shape), frozen, flame.landmark_model("mediapipe105"))
    rest = replace(random, translation=torch.zeros(1, 3))
    off = float((plain_formula(flame, rest) - flame(rest).vertices).abs().max())
    peer = Peer(arguments.peer, flame)
    note = f"body-models: {peer.problem}" if peer.problem else "body-models reads the same file"
    print(f"{machine(threads='2 threads and 1')}\n{flame.arrays.source}, float32, median ms; {note}")
    print(f"The plain formula and ours differ by {off:.1e} m.")
    columns = ("kernels", "torch", "peer", "product", "formula")
    print(f"{'':26}" + "".join(f"{name:>10}" for name in columns))
    figures: dict[str, float] = {}
    for threads in (2, 1):
        for case in CASES:
            for batch in (1, 8) if arguments.quick else REPEATS:
                row = measure(heads, peer, case, batch, threads, 1 if arguments.quick else 3)
                cells = (f"{row[name]:10.3f}" if name in row else f"{'':10}" for name in columns)
                print(f"{f'{threads} threads, {case}, B={batch}':26}" + "".join(cells), flush=True)
                figures |= {f"{case}_b{batch}_t{threads}_{name}_ms": value for name, value in row.items()}
    peer.close()
    write_figures(arguments.json, figures)


if __name__ == "__main__":
    main()
