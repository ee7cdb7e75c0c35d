"""An evaluator of skinned, morphed glTF files written from the Khronos specification alone, and a moving head."""

import json
import struct
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

COMPONENTS = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Gltf:
    """A GLB file, read by sections 3 and 4.4 of the glTF 2.0 specification."""

    document: dict
    binary: bytes

    @staticmethod
    def read(path):
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        chunks, at = {}, 12
        while at < length:
            size, kind = struct.unpack_from("<I4s", data, at)
            chunks[kind] = data[at + 8 : at + 8 + size]
            at += 8 + size
        return Gltf(json.loads(chunks[b"JSON"]), chunks[b"BIN\0"])

    def accessor(self, number):
        """Rows of an accessor; matrices as 16 numbers, column by column."""
        accessor = self.document["accessors"][number]
        view = self.document["bufferViews"][accessor["bufferView"]]
        kind, width = np.dtype(COMPONENTS[accessor["componentType"]]), WIDTHS[accessor["type"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        step = view.get("byteStride", width * kind.itemsize)
        rows = np.ndarray((accessor["count"], width), kind, self.binary, start, (step, kind.itemsize))
        return rows[:, 0] if width == 1 else rows

    def state(self, time=None):
        """Translation, rotation and scale of every node, and the mesh's weights, at a time of the animation."""
        nodes = [
            {
                "translation": np.array(node.get("translation", [0, 0, 0]), float),
                "rotation": np.array(node.get("rotation", [0, 0, 0, 1]), float),
                "scale": np.array(node.get("scale", [1, 1, 1]), float),
            }
            for node in self.document["nodes"]
        ]
        mesh_node = next(node for node in self.document["nodes"] if "mesh" in node)
        weights = mesh_node.get("weights", self.document["meshes"][mesh_node["mesh"]].get("weights", []))
        weights = np.array(weights, float)
        if time is not None:
            animation = self.document["animations"][0]
            for channel in animation["channels"]:
                sampler, target = animation["samplers"][channel["sampler"]], channel["target"]
                assert sampler.get("interpolation", "LINEAR") == "LINEAR"
                times, values = self.accessor(sampler["input"]), self.accessor(sampler["output"])
                value = interpolated(time, times, values.reshape(len(times), -1), target["path"] == "rotation")
                if target["path"] == "weights":
                    weights = value
                else:
                    nodes[target["node"]][target["path"]] = value
        return nodes, weights

    def vertices(self, time=None):
        """Positions in the scene: morph targets (3.7.2.2), then skinning (3.7.3)."""
        nodes, weights = self.state(time)
        node = next(node for node in self.document["nodes"] if "mesh" in node)
        (primitive,) = self.document["meshes"][node["mesh"]]["primitives"]
        points = self.accessor(primitive["attributes"]["POSITION"]).astype(float)
        for weight, target in zip(weights, primitive.get("targets", []), strict=True):
            points = points + weight * self.accessor(target["POSITION"])
        skin = self.document["skins"][node["skin"]]
        inverse = self.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        placed = self.placed(nodes)
        moves = np.stack([placed[joint] for joint in skin["joints"]]) @ inverse
        points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        out, number = np.zeros((len(points), 4)), 0
        while f"JOINTS_{number}" in primitive["attributes"]:
            joints = self.accessor(primitive["attributes"][f"JOINTS_{number}"])
            share = self.accessor(primitive["attributes"][f"WEIGHTS_{number}"])
            out += np.einsum("vk,vkij,vj->vi", share, moves[joints], points)
            number += 1
        return out[:, :3] / out[:, 3:]

    def placed(self, nodes):
        """Global matrices of the nodes, T R S from the scene's roots down (3.5.3)."""
        out = {}

        def walk(number, above):
            x, y, z, w = nodes[number]["rotation"]
            turn = np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                    [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                    [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
                ]
            )
            own = np.eye(4)
            own[:3, :3], own[:3, 3] = turn * nodes[number]["scale"], nodes[number]["translation"]
            out[number] = above @ own
            for child in self.document["nodes"][number].get("children", []):
                walk(child, out[number])

        for root in self.document["scenes"][self.document["scene"]]["nodes"]:
            walk(root, np.eye(4))
        return out

    @property
    def flame_rows(self):
        """The model's vertex of each of the file's vertices."""
        return self.accessor(self.document["meshes"][0]["primitives"][0]["attributes"]["_FLAME_VERTEX"]).astype(int)


def interpolated(time, times, values, spherical):
    """Linear between key frames, clamped at the ends; rotations on the shorter great circle (appendix C)."""
    right = int(np.clip(np.searchsorted(times, time, side="right"), 1, len(times) - 1))
    t = float(np.clip((time - times[right - 1]) / (times[right] - times[right - 1]), 0, 1))
    a, b = values[right - 1].astype(float), values[right].astype(float)
    if not spherical:
        return (1 - t) * a + t * b
    dot = a @ b
    b, angle = np.sign(dot) * b, np.arccos(min(abs(dot), 1.0))
    if angle < 1e-6:
        return (1 - t) * a + t * b
    return (np.sin(angle * (1 - t)) * a + np.sin(angle * t) * b) / np.sin(angle)


@pytest.fixture(scope="session")
def read_gltf():
    return Gltf.read


@pytest.fixture(scope="session")
def flame():
    from flamehead import load_flame

    return load_flame()


@pytest.fixture(scope="session")
def moving(flame):
    """Twelve frames of one person who talks, looks around and turns by half a turn in all, 40 ms apart."""
    count = 12
    t = torch.linspace(0, 1, count)[:, None]
    generator = torch.Generator().manual_seed(5)

    def turned(x, y, z):
        return torch.cat([x * torch.sin(7 * t), y * t, z * torch.cos(5 * t)], dim=1)

    expression = torch.zeros(count, flame.n_expression)
    expression[:, :44] = torch.randn(44, generator=generator) * 0.6 * torch.sin(9 * t + torch.arange(44))
    return replace(
        flame.zeros((count,)),
        shape=torch.randn(flame.n_shape, generator=generator).expand(count, -1),
        expression=expression,
        root=turned(0.1, 3.1, 0.1),
        neck=turned(0.2, 0.5, 0.1),
        jaw=torch.cat([0.2 + 0.2 * torch.sin(11 * t), 0.05 * t, 0.02 * t], dim=1),
        left_eye=turned(0.1, 0.4, 0.0),
        right_eye=turned(0.15, 0.3, 0.0),
        translation=torch.cat([0.1 * t, 0.02 * t, -0.6 + 0.1 * t], dim=1),
    )
