"""Runs `body-models` in its own environment: a model file as argument, then one JSON request per line on stdin."""

import json
import sys
from time import perf_counter

import numpy as np
import torch
from body_models.flame.torch import FLAME


def inputs(batch):
    generator = torch.Generator().manual_seed(batch)

    def normal(*shape, scale=1.0):
        return scale * torch.randn(batch, *shape, generator=generator)

    return {
        "shape": normal(300),
        "expression": normal(100),
        "head_pose": normal(4, 3, scale=0.2),
        "head_rotation": normal(3, scale=0.2),
        "global_translation": normal(3),
    }


def job(model, regressor, case, batch):
    """What one timed call does."""
    values = inputs(batch)
    if case == "backward":
        leaves = [value.requires_grad_() for value in values.values()]
        return lambda: torch.autograd.grad(model.forward_vertices(**values).sum(), leaves)
    if case == "landmarks":
        return lambda: model.forward_points(point_regressor=regressor, **values)
    if case == "frozen":
        identity = model.prepare_identity(values.pop("shape"), values.pop("expression"))
        return lambda: model.forward_vertices(identity=identity, **values)
    return lambda: model.forward_vertices(**values)  # It has no identity without expression to keep.


def main():
    path, weights = sys.argv[1:]
    model = FLAME(model_path=path)
    regressor = model.prepare_point_regressor(torch.from_numpy(np.load(weights)))
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        torch.set_num_threads(request["threads"])
        run = job(model, regressor, request["case"], request["batch"])
        with torch.set_grad_enabled(request["case"] == "backward"):
            run(), run()
            times = []
            for _ in range(request["repeats"]):
                begin = perf_counter()
                run()
                times.append(perf_counter() - begin)
        print(json.dumps(times), flush=True)


main()
