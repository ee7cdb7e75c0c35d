"""The forward pass of a head: the tables it needs, plain torch as the reference, and the door to the CPU kernels.

A full model, a model with its identity built in, and a few vertices of a model are the same formula on other tables.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead.data import FlameParams
from flamehead.errors import InputError
from flamehead.geometry.rotation import exp
from flamehead.model.lbs import add_basis, joint_transforms, pose_feature, skin

__all__ = ["Backend", "FlameOutput", "Head", "transformed"]

Backend = Literal["numba", "reference"]
"""Who poses the head: compiled CPU kernels, or plain torch on any device."""

_FIELDS = tuple(field.name for field in fields(FlameParams))
_FREE = {"shape": "n_shape", "expression": "n_expression"}
_IN_KERNELS = (
    "template",
    "skin_weights",
    "shape_basis",
    "expression_basis",
    "pose_basis",
    "joint_template",
    "joint_shape_basis",
    "joint_expression_basis",
)
_BY_VERTEX = ("template", "shape_basis", "expression_basis", "pose_basis", "eyelid_basis")


@dataclass(frozen=True)
class FlameOutput:
    """A posed head, metres."""

    vertices: Float[Tensor, "*batch V 3"]
    joints: Float[Tensor, "*batch J 3"]
    """Root, neck, jaw, left eye, right eye."""


class Head(torch.nn.Module):
    """Something that can be posed like a FLAME model: made by `Flame.with_identity`, `subset` and `landmark_model`."""

    template: Float[Tensor, "*identity V 3"]
    skin_weights: Float[Tensor, "V J"]
    shape_basis: Float[Tensor, "S V3"]
    expression_basis: Float[Tensor, "E V3"]
    pose_basis: Float[Tensor, "P V3"]
    joint_template: Float[Tensor, "*identity J 3"]
    """The joint regressor applied to the template; below, to the bases."""
    joint_shape_basis: Float[Tensor, "S J3"]
    joint_expression_basis: Float[Tensor, "E J3"]
    joint_regressor: Float[Tensor, "J V"] | None
    """None when only some vertices are left: offsets that move the joints cannot be given then."""
    eyelid_basis: Float[Tensor, "2 V3"] | None

    _patience = 0
    """How many small batches go by before the kernels are loaded, which takes a second."""

    def __init__(self, tables: Mapping[str, Tensor | None], *, parents: tuple[int, ...], source: str) -> None:
        """Keep the tables as buffers.

        Args:
            tables: by the names of the class's annotations.
            parents: parent joint of each joint; -1 for the root.
            source: of the model, for messages.
        """
        super().__init__()
        self.parents, self.source = parents, source
        for name, value in tables.items():
            self._keep(name, value)
        self.n_shape, self.n_expression = len(self.shape_basis), len(self.expression_basis)
        self._calls, self._kernel_arrays = 0, None

    def zeros(self, batch: tuple[int, ...] = ()) -> FlameParams:
        """The mean head in the rest pose, in this model's sizes, dtype and device."""
        like = self.template
        return FlameParams.zeros(self.n_shape, self.n_expression, batch=batch, dtype=like.dtype, device=like.device)

    def forward(
        self,
        params: FlameParams,
        *,
        rotations: Float[Tensor, "*batch J 3 3"] | None = None,
        eyelids: Float[Tensor, "*batch 2"] | None = None,
        eyelids_after_skinning: bool = False,
        offsets: Float[Tensor, "*#batch V 3"] | None = None,
        frame_offsets: Float[Tensor, "*#batch V 3"] | None = None,
        backend: Backend | None = None,
    ) -> FlameOutput:
        """Shape and pose the head.

        Args:
            params: any leading batch; the batches of the fields are broadcast against each other. Fewer coefficients
                than the model has mean zeros for the rest.
            rotations: matrices of root, neck, jaw, left and right eye, used instead of the rotations in `params`; make
                them with `flamehead.geometry.rotation.matrices` from 6D or quaternions, or with `exp_original`.
            eyelids: how far the left and the right eye are closed, 0 to 1.
            eyelids_after_skinning: add the eyelids' displacements in the posed frame, unturned, like metrical-tracker;
                otherwise they are part of the head at rest and turn with it.
            offsets: personal displacements, metres, part of the shape: the joints follow them.
            frame_offsets: displacements of this frame, metres, in the head at rest; the joints stay.
            backend: `None` chooses the compiled kernels, which are faster for every batch, on the CPU for float32 and
                float64, outside of `torch.compile`, `torch.func` and forward mode: at once for heads made to be posed
                often, from call 201 for a `Flame`, as loading them takes a second. Plain torch does the rest, and
                `offsets`.

        Returns:
            Vertices and posed joints in metres, translation included.

        Raises:
            InputError: a field has the wrong size, dtype or batch, or the backend cannot serve.
        """
        out, _ = self.posed(
            params,
            rotations=rotations,
            eyelids=eyelids,
            eyelids_after_skinning=eyelids_after_skinning,
            offsets=offsets,
            frame_offsets=frame_offsets,
            backend=backend,
        )
        return FlameOutput(*out)

    def posed(
        self,
        params: FlameParams,
        *,
        rotations: Float[Tensor, "*batch J 3 3"] | None = None,
        eyelids: Float[Tensor, "*batch 2"] | None = None,
        eyelids_after_skinning: bool = False,
        offsets: Float[Tensor, "*#batch V 3"] | None = None,
        frame_offsets: Float[Tensor, "*#batch V 3"] | None = None,
        backend: Backend | None = None,
    ) -> tuple[tuple[Tensor, Tensor], bool]:
        """`forward`, and whether the compiled kernels did it."""
        self._check(params)
        vectors = (params.root, params.neck, params.jaw, params.left_eye, params.right_eye)
        lids = self._eyelids(eyelids) if eyelids is not None else None
        if frame_offsets is not None:
            self._check_offsets("frame_offsets", frame_offsets)
        extra = frame_offsets
        if lids is not None and not eyelids_after_skinning:
            extra = lids if extra is None else extra + lids
        if rotations is None:
            same = all(vector.shape == params.root.shape for vector in vectors)
            turns = torch.stack(vectors if same else torch.broadcast_tensors(*vectors), dim=-2)
        else:
            turns = self._matrices(rotations)
        self._check_extras(params, rotations, eyelids, frame_offsets, offsets)
        values = (params.shape, params.expression, turns, params.translation, extra)
        compiled = offsets is None and self._kernels_serve(backend)
        if offsets is not None:
            rest, joints = self._with_offsets(offsets)
            vertices, joints = self._reference(*values, template=rest, joint_template=joints)
        else:
            vertices, joints = self._by_kernels(*values) if compiled else self._reference(*values)
        if lids is not None and eyelids_after_skinning:
            vertices = vertices + lids
        return (vertices, joints), compiled

    def subset(self, vertex_ids: Int[Tensor, "N"] | Int[np.ndarray, "N"]) -> Head:
        """The same head with these vertices only, in this order, at their share of the cost; the joints stay exact.

        Raises:
            InputError: there is no such vertex.
        """
        given, n = (
            np.asarray(vertex_ids.cpu() if isinstance(vertex_ids, Tensor) else vertex_ids),
            len(self.skin_weights),
        )
        if given.dtype.kind not in "iu":
            raise InputError(
                f"subset() needs whole numbers from 0 to {n - 1}, got {given.dtype}; np.flatnonzero(mask) gives them."
            )
        ids = torch.as_tensor(given.astype(np.int64), device=self.template.device)
        if ids.ndim != 1 or not len(ids) or int(ids.min()) < 0 or int(ids.max()) >= n:
            raise InputError(f"subset() needs a list of vertex ids from 0 to {n - 1}, got {vertex_ids!r}.")
        return Head(self._picked(ids), parents=self.parents, source=self.source)

    def _picked(self, ids: Int[Tensor, "N"]) -> dict[str, Tensor | None]:
        tables = self._tables()
        for name in _BY_VERTEX:
            table = tables[name]
            if table is not None and name != "template":
                table = table.unflatten(-1, (-1, 3))[:, ids].flatten(1)
            tables[name] = table if name != "template" or table is None else table[..., ids, :]
        return tables | {"skin_weights": self.skin_weights[ids], "joint_regressor": None}

    def _identity_tables(
        self, shape: Tensor, expression: Tensor | None, offsets: Tensor | None
    ) -> dict[str, Tensor | None]:
        """The tables of this head with a shape, and perhaps an expression, built in."""
        rest, joints = (self.template, self.joint_template) if offsets is None else self._with_offsets(offsets)
        built = {
            "template": add_basis(rest, self.shape_basis, shape),
            "joint_template": add_basis(joints, self.joint_shape_basis, shape),
            "shape_basis": self.shape_basis[:0],
            "joint_shape_basis": self.joint_shape_basis[:0],
        }
        if expression is not None:
            built |= {
                "template": add_basis(built["template"], self.expression_basis, expression),
                "joint_template": add_basis(built["joint_template"], self.joint_expression_basis, expression),
                "expression_basis": self.expression_basis[:0],
                "joint_expression_basis": self.joint_expression_basis[:0],
            }
        return self._tables() | built

    def _tables(self) -> dict[str, Tensor | None]:
        return {name: getattr(self, name) for name in Head.__annotations__ if not name.startswith("_")}

    def _reference(
        self,
        shape: Tensor,
        expression: Tensor,
        turns: Tensor,
        translation: Tensor,
        extra: Tensor | None,
        *,
        template: Tensor | None = None,
        joint_template: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The module's formula in plain torch; `turns` are axis-angle vectors (*, J, 3) or matrices (*, J, 3, 3)."""
        rest = self.template if template is None else template
        joints = self.joint_template if joint_template is None else joint_template
        joints = add_basis(joints, self.joint_shape_basis, shape)
        joints = add_basis(joints, self.joint_expression_basis, expression)
        rest = add_basis(rest, self.shape_basis, shape)
        rest = add_basis(rest, self.expression_basis, expression)
        n_joints = len(self.parents)
        rotations = turns if turns.shape[-3:] == (n_joints, 3, 3) else exp(turns)
        rest = add_basis(rest, self.pose_basis, pose_feature(rotations))
        if extra is not None:
            rest = rest + extra
        turned, posed = joint_transforms(rotations, joints, self.parents)
        shift = translation[..., None, :]
        return skin(rest, self.skin_weights, turned, posed, joints) + shift, posed + shift

    def _kernels_serve(self, backend: Backend | None) -> bool:
        """Whether the next head is posed by the compiled kernels; counts the calls that were not told by whom."""
        if backend == "reference":
            return False
        if backend not in (None, "numba"):
            raise InputError(f"There is no backend {backend!r} for posing; choose 'numba' or 'reference'.")
        if transformed():
            able = False
        else:
            template = self.template
            able = template.device.type == "cpu" and template.dtype in (torch.float32, torch.float64)
            able = able and not (template.requires_grad or self.joint_template.requires_grad)
        if able and backend is None:
            self._calls += 1
            return self._calls > self._patience
        if backend == "numba" and not able:
            raise InputError(
                "The kernels pose float32 and float64 heads on the CPU whose identity needs no gradient, outside of "
                f"torch.compile and torch.func; this one is {self.template.dtype} on {self.template.device}: leave out "
                "`backend`."
            )
        return able

    def _by_kernels(
        self, shape: Tensor, expression: Tensor, turns: Tensor, translation: Tensor, extra: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # Imported here: numba costs a second, which one head is not worth.
        from flamehead.model import _cpu

        n_joints = len(self.parents)
        axes = 3 if turns.shape[-3:] == (n_joints, 3, 3) else 2
        heads = [shape.shape[:-1], expression.shape[:-1], turns.shape[:-axes], translation.shape[:-1]]
        if self.template.ndim > 2:
            heads.append(self.template.shape[:-2])
        if extra is not None:
            heads.append(extra.shape[:-2])
        batch = heads[0] if all(head == heads[0] for head in heads) else torch.broadcast_shapes(*heads)
        a, b, c, d = _flattened(batch, ((shape, 1), (expression, 1), (turns, axes), (translation, 1)))
        before = None if extra is None else _flattened(batch, ((extra, 2),))[0]
        vertices, joints = _cpu.pose_head(self._kernel_tables(batch), a, b, c, d, before, self._flat_reference(batch))
        if len(batch) == 1:
            return vertices, joints
        return vertices.reshape(*batch, *vertices.shape[1:]), joints.reshape(*batch, n_joints, 3)

    def _flat_reference(self, batch: tuple[int, ...]) -> Any:
        """`_reference` for a flattened batch."""
        if self.template.ndim == 2:
            return self._reference
        rest = self.template.expand(*batch, -1, -1).flatten(0, -3)
        joints = self.joint_template.expand(*batch, -1, -1).flatten(0, -3)
        return functools.partial(self._reference, template=rest, joint_template=joints)

    def _kernel_tables(self, batch: tuple[int, ...]) -> Any:
        from flamehead.model import _cpu

        def by_head(table: Tensor) -> Tensor:
            if table.ndim == 2:
                return table.reshape(1, -1)
            return table.expand(*batch, -1, -1).reshape(-1, table.shape[-2] * 3)

        template = self.template
        tables = tuple(self._buffers[name] for name in _IN_KERNELS)
        # Where each table is, and how often it was written to; kept alive, so that no other can take its place.
        state = [(t.data_ptr(), 0 if t.is_inference() else t._version) for t in tables if t is not None]
        key = (state, template.ndim > 2 and batch)
        if self._kernel_arrays is None or self._kernel_arrays[0] != key:
            arrays = _cpu.Arrays.of(
                by_head(template.detach()),
                (self.shape_basis, self.expression_basis, self.pose_basis),
                self.skin_weights,
                by_head(self.joint_template.detach()),
                (self.joint_shape_basis, self.joint_expression_basis),
                self.parents,
            )
            self._kernel_arrays = (key, arrays, tables)
        return self._kernel_arrays[1]

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles leave out what the kernels made of the buffers."""
        return self.__dict__ | {"_kernel_arrays": None}

    def _apply(self, fn: Any, recurse: bool = True) -> Head:
        self._kernel_arrays = None
        return super()._apply(fn, recurse)

    def _keep(self, name: str, value: Tensor | None) -> None:
        self.register_buffer(name, value, persistent=False)  # Licensed numbers stay out of a user's checkpoints.

    def _eyelids(self, eyelids: Tensor) -> Float[Tensor, "*batch V 3"]:
        if self.eyelid_basis is None:
            raise InputError(
                f"{self.source} has no eyelids; pass `eyelids=` to Flame(), from l_eyelid.npy and r_eyelid.npy."
            )
        if not eyelids.ndim or eyelids.shape[-1] != 2:
            raise InputError(f"eyelids has shape {tuple(eyelids.shape)}, wanted (*batch, 2): left and right eye.")
        self._check_kind("eyelids", eyelids)
        return (eyelids @ self.eyelid_basis).unflatten(-1, (-1, 3))

    def _with_offsets(self, offsets: Tensor) -> tuple[Tensor, Tensor]:
        if self.joint_regressor is None:
            raise InputError(
                "offsets move the joints, which depend on vertices that this head does not have; give them to "
                "`flame.with_identity(shape, offsets=...)` before `subset`."
            )
        self._check_offsets("offsets", offsets)
        return self.template + offsets, self.joint_template + self.joint_regressor @ offsets

    def _check_offsets(self, name: str, offsets: Tensor) -> None:
        wanted = tuple(self.template.shape[-2:])
        if tuple(offsets.shape[-2:]) != wanted:
            raise InputError(
                f"{name} has shape {tuple(offsets.shape)}, wanted (*batch, {wanted[0]}, 3): one for each vertex."
            )
        self._check_kind(name, offsets)

    def _matrices(self, rotations: Tensor) -> Tensor:
        n = len(self.parents)
        if rotations.shape[-3:] != (n, 3, 3):
            raise InputError(
                f"rotations has shape {tuple(rotations.shape)}, wanted matrices (*batch, {n}, 3, 3); "
                "`flamehead.geometry.rotation.matrices` makes them from any other kind."
            )
        self._check_kind("rotations", rotations)
        return rotations

    def _check_kind(self, name: str, value: Tensor) -> None:
        dtype, device = self.template.dtype, self.template.device
        if value.dtype != dtype or value.device != device:
            raise InputError(
                f"{name} is {value.dtype} on {value.device}, but the model is {dtype} on {device}; "
                f"call {name}.to(...) or model.to(...) first."
            )

    def _check(self, params: FlameParams) -> None:
        dtype, device = self.template.dtype, self.template.device
        for name in _FIELDS:
            value: Tensor = getattr(params, name)
            size = value.shape[-1] if value.ndim else 0
            if name in _FREE:
                limit = getattr(self, _FREE[name])
                if not value.ndim or size > limit:
                    raise InputError(self._too_many(name, value, limit))
            elif size != 3:
                raise InputError(f"{name} has shape {tuple(value.shape)}, wanted (*batch, 3): three numbers per head.")
            if value.dtype != dtype or value.device != device:
                raise InputError(
                    f"{name} is {value.dtype} on {value.device}, but the model is {dtype} on "
                    f"{device}; call params.to(dtype=..., device=...) or model.to(...) first."
                )
        _check_batches({name: getattr(params, name).shape[:-1] for name in _FIELDS})

    def _check_extras(
        self,
        params: FlameParams,
        rotations: Tensor | None,
        eyelids: Tensor | None,
        frame_offsets: Tensor | None,
        offsets: Tensor | None,
    ) -> None:
        """Refuse options whose batch does not fit that of the parameters."""
        given = (("rotations", rotations, 3), ("eyelids", eyelids, 1), ("frame_offsets", frame_offsets, 2))
        heads = {
            name: value.shape[:-axes] for name, value, axes in (*given, ("offsets", offsets, 2)) if value is not None
        }
        if self.template.ndim > 2:
            heads["identity"] = self.template.shape[:-2]
        if heads:
            _check_batches({name: getattr(params, name).shape[:-1] for name in _FIELDS} | heads)

    def _too_many(self, name: str, value: Tensor, limit: int) -> str:
        return (
            f"{name} has shape {tuple(value.shape)}, but {self.source} has {limit} {name} "
            f"coefficients; give (*batch, {limit}) or fewer in the last axis."
        )


def _flattened(batch: tuple[int, ...], values: tuple[tuple[Tensor, int], ...]) -> list[Tensor]:
    """Each tensor with its batch expanded to `batch` and flattened to one axis; `int` is the number of other axes."""
    flat, size = [], math.prod(batch)
    for value, axes in values:
        if len(batch) == 1 and value.ndim == 1 + axes and value.shape[0] == size:
            flat.append(value.contiguous())
            continue
        rest = value.shape[value.ndim - axes :]
        if value.ndim != len(batch) + axes or value.shape[: len(batch)] != batch:
            value = value.expand(*batch, *rest)
        flat.append(value.reshape(size, *rest).contiguous())
    return flat


def transformed() -> bool:
    """Whether torch.compile, torch.func or forward-mode differentiation is at work, which the kernels do not know."""
    if torch.compiler.is_compiling():
        return True
    functorch = getattr(torch._C, "_functorch", None)
    peek = getattr(functorch, "peek_interpreter_stack", None)
    return (peek is not None and peek() is not None) or getattr(torch.autograd.forward_ad, "_current_level", -1) >= 0


def _check_batches(batches: Mapping[str, tuple[int, ...]]) -> None:
    """Raise when leading shapes cannot be broadcast, naming them."""
    if len(set(batches.values())) == 1:
        return
    sizes: dict[int, int] = {}
    for shape in batches.values():
        for axis, size in enumerate(reversed(shape)):
            if size != 1 and sizes.setdefault(axis, size) != size:
                listed = ", ".join(f"{name} {tuple(shape)}" for name, shape in batches.items())
                raise InputError(f"The batches of the parameters do not fit together: {listed}; make them broadcast.")
