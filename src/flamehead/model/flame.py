"""The FLAME head: parameters to vertices, joints and landmarks.

Follows Li, Bolkart, Black, Li, Romero, "Learning a model of facial shape and expression from 4D scans" (2017), with
exact rotations. In the symbols of the code, for coefficients c, rotations R_j and translation t:

    v = template + basis c          (identity and expression)
    J = regressor v                 (joints depend on both, not on the pose)
    p = v + pose_basis (R - I)      (pose correctives of neck, jaw and eyes)
    vertices_i = sum_j w_ij (G_j (p_i - J_j) + posed_j) + t
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, TypeAlias, overload

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flamehead._types import StrPath
from flamehead.assets import FlameArrays, LandmarkEmbedding, find_beside, read_model
from flamehead.assets.model_file import ContourEmbedding
from flamehead.data import FlameParams
from flamehead.errors import AssetNotFound, InputError
from flamehead.model.head import FlameOutput, Head, transformed
from flamehead.model.landmark_head import ContourLandmarkHead, LandmarkHead
from flamehead.model.landmarks import barycentric_points, contour_rows, from_camera, picked_points

__all__ = ["Flame", "FlameOutput", "Paint", "load_flame"]

_log = logging.getLogger(__name__)

Paint: TypeAlias = Callable[[Int[np.ndarray, "N"], Float[np.ndarray, "N 3"]], Float[np.ndarray, "N 3"]]
"""The colour of points on the surface, given by triangle and barycentric weights."""


class Flame(Head):
    """A FLAME model as a differentiable layer; owns its arrays as buffers, so `.to()`, `.double()` and `.cuda()` work.

    Example:
        >>> flame = load_flame()
        >>> flame(flame.zeros(batch=(2,))).vertices.shape[:1]
        torch.Size([2])
    """

    faces: Int[Tensor, "F 3"]
    contour_corners: Int[Tensor, "79 17 3"]
    contour_weights: Float[Tensor, "79 17 3"]

    _patience = 200
    _jaw_noted = False

    def __init__(
        self,
        arrays: FlameArrays,
        *,
        embeddings: Mapping[str, LandmarkEmbedding] | None = None,
        regions: Mapping[str, Int[np.ndarray, "N"]] | None = None,
        colors: Float[np.ndarray, "V 3"] | None = None,
        paint: Paint | None = None,
        eyelids: Float[np.ndarray, "2 V 3"] | None = None,
        contour: ContourEmbedding | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        """Put a model's arrays on a device.

        Args:
            arrays: the model.
            embeddings: landmarks by scheme, for `landmarks`.
            regions: named sets of vertex ids.
            colors: sRGB in [0, 1] per vertex, when the model has a colour.
            paint: sRGB of points on the surface given as (face ids, barycentric weights), finer than `colors`.
            eyelids: displacements that close the left and the right eye at coefficient 1, metres.
            contour: the table of the jaw line that slides with the view.
            dtype: of the buffers; parameters must have the same. `.double()` later keeps the rounding of float32.
            device: of the buffers.
        """
        tables = {
            name: torch.tensor(value, dtype=dtype, device=device).contiguous()
            for name, value in _constants(arrays, eyelids).items()
        }
        super().__init__({"eyelid_basis": None} | tables, parents=arrays.parents, source=arrays.source)
        self.arrays = arrays
        self.embeddings = dict(embeddings or {})
        self.regions = dict(regions or {})
        self.colors = colors
        self.paint = paint
        self.contour_table = contour
        self._keep("faces", torch.tensor(arrays.faces, dtype=torch.int64, device=device))
        for scheme, embedding in self.embeddings.items():
            corners = _corners(arrays, scheme, embedding.face_ids)
            self._keep(f"{scheme}_corners", torch.tensor(corners, dtype=torch.int64, device=device))
            self._keep(f"{scheme}_weights", torch.tensor(embedding.barycentric, dtype=dtype, device=device))
        if contour is not None:
            corners = _corners(arrays, "contour", contour.face_ids)
            self._keep("contour_corners", torch.tensor(corners, dtype=torch.int64, device=device))
            self._keep("contour_weights", torch.tensor(contour.barycentric, dtype=dtype, device=device))

    @property
    def fingerprint(self) -> str:
        """Identifies the model; parameters of one model mean nothing to another."""
        return self.arrays.fingerprint

    def with_identity(
        self,
        shape: Float[Tensor, "*identity S"],
        *,
        expression: Float[Tensor, "*identity E"] | None = None,
        offsets: Float[Tensor, "*identity V 3"] | None = None,
    ) -> Head:
        """This head with an identity built in, at a quarter of the cost; give it parameters without shape: `zeros()`.

        Args:
            shape: identity coefficients, one set or a batch that the other parameters are broadcast against.
            expression: build an expression in as well, for a face of which only the pose changes.
            offsets: personal displacements of the vertices, metres; the joints follow them.

        Example:
            >>> flame = load_flame()
            >>> person = flame.with_identity(torch.ones(300))
            >>> person(person.zeros(batch=(2,))).vertices.shape[:1]
            torch.Size([2])
        """
        self._check(dataclasses.replace(self.zeros(), shape=shape))
        if expression is not None:
            self._check(dataclasses.replace(self.zeros(), expression=expression))
        return Head(self._identity_tables(shape, expression, offsets), parents=self.parents, source=self.source)

    @overload
    def landmark_model(
        self, scheme: str, *, head: Head | None = None, contour: Literal[False] = False
    ) -> LandmarkHead: ...

    @overload
    def landmark_model(
        self, scheme: str, *, head: Head | None = None, contour: Literal[True]
    ) -> ContourLandmarkHead: ...

    def landmark_model(self, scheme: str, *, head: Head | None = None, contour: bool = False) -> LandmarkHead:
        """The landmarks of a scheme as a function of the parameters; only the vertices they lie on are computed.

        Args:
            scheme: such as `"mediapipe105"`.
            head: this model with an identity built in, from `with_identity`.
            contour: put the 17 points of the sliding jaw line before those of the scheme; with `"ibug51"` these are the
                68 points of FLAME_PyTorch. The model then takes the options of `contour`.

        Example:
            >>> flame = load_flame()
            >>> flame.landmark_model("mediapipe105")(flame.zeros()).points.shape
            torch.Size([105, 3])
        """
        self._know(scheme)
        corners, weights = self.get_buffer(f"{scheme}_corners"), self.get_buffer(f"{scheme}_weights")
        if not contour:
            return LandmarkHead(head or self, corners, weights)
        self._know_contour()
        return ContourLandmarkHead(head or self, corners, weights, self.contour_corners, self.contour_weights)

    def landmarks(self, vertices: Float[Tensor, "*batch V 3"], scheme: str) -> Float[Tensor, "*batch L 3"]:
        """The landmarks of a scheme, such as `"ibug68"`, on posed vertices.

        Raises:
            InputError: this model has no embedding for the scheme.
        """
        self._know(scheme)
        self._check_mesh(vertices)
        return barycentric_points(vertices, self.get_buffer(f"{scheme}_corners"), self.get_buffer(f"{scheme}_weights"))

    def region_faces(self, region: str) -> Int[Tensor, "N"]:
        """Rows of `faces` that lie in a named region with all their corners.

        Raises:
            InputError: this model has no such region.
        """
        if region not in self.regions:
            known = ", ".join(sorted(self.regions)) or "none"
            raise InputError(
                f"{self.arrays.source} has no region {region!r} (it has: {known}); put FLAME_masks.pkl beside the "
                "model file."
            )
        inside = torch.zeros(self.template.shape[0], dtype=torch.bool, device=self.faces.device)
        inside[torch.as_tensor(np.asarray(self.regions[region], dtype=np.int64), device=inside.device)] = True
        return inside[self.faces].all(-1).nonzero().squeeze(-1)

    def contour(
        self,
        vertices: Float[Tensor, "*#batch V 3"],
        turn: Float[Tensor, "*#batch 3 3"],
        *,
        camera: Float[Tensor, "*#batch 3 3"] | None = None,
        sign: Literal[1, -1] = 1,
    ) -> Float[Tensor, "*batch 17 3"]:
        """The jaw line as it is seen: 17 points that slide along the cheeks with the yaw of the head.

        Args:
            vertices: of the posed head.
            turn: how the head is turned, from `head_turn`.
            camera: rotation world to camera (OpenCV); `None` looks at the face of an unturned head.
            sign: see `contour_rows`; -1 without a camera selects like FLAME_PyTorch.

        Raises:
            InputError: this model has no such table.
        """
        self._know_contour()
        self._check_mesh(vertices)
        rows = contour_rows(turn if camera is None else from_camera(camera, turn), sign=sign)
        return picked_points(vertices, rows, self.contour_corners, self.contour_weights)

    def _check(self, params: FlameParams) -> None:
        super()._check(params)
        if self.arrays.variant == "2023-no-jaw" and not (self._jaw_noted or transformed()) and bool(params.jaw.any()):
            self._jaw_noted = True
            _log.warning(
                "%s is FLAME 2023 without jaw rotation, whose expressions open the mouth; leave the jaw at zero.",
                self.source,
            )

    def _check_mesh(self, vertices: Tensor) -> None:
        wanted = tuple(self.template.shape)
        if tuple(vertices.shape[-2:]) != wanted:
            raise InputError(
                f"vertices has shape {tuple(vertices.shape)}, wanted (*batch, {wanted[0]}, 3): all of {self.source}."
            )

    def _know_contour(self) -> None:
        if self.contour_table is None:
            raise InputError(
                f"{self.arrays.source} has no sliding contour; put landmark_embedding.npy beside the model file, or "
                "pass `contour=` to Flame()."
            )

    def _know(self, scheme: str) -> None:
        if scheme not in self.embeddings:
            known = ", ".join(sorted(self.embeddings)) or "none"
            raise InputError(
                f"{self.arrays.source} has no landmarks {scheme!r} (it has: {known}); put the file that holds them "
                "(landmark_embedding.npy or mediapipe_landmark_embedding.npz) beside the model file."
            )


def load_flame(
    path: StrPath | None = None,
    *,
    teeth: bool = False,
    variant: str = "unknown",
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Flame:
    """Open a FLAME model: an official file, or the built-in licence-free head.

    Args:
        path: an official `.pkl` or an `.npz` with the same keys; landmark embeddings, the sliding contour, eyelids
            and masks are taken from its folder. None means the built-in head.
        teeth: add two rows of simple teeth to the built-in head; its mesh then has more than 5023 vertices.
        variant: the release of a file that does not say it, one of `flamehead.assets.VARIANTS`. `2023-no-jaw` has the
            arrays of any other release: fits then keep the jaw still, and turning it is noted in the log.
        dtype: of the layer.
        device: of the layer.

    Raises:
        AssetNotFound: there is no such file.
        InputError: the file is not a FLAME model.

    Example:
        >>> load_flame().arrays.source
        'built-in head'
    """
    if path is None:
        if variant != "unknown":
            raise InputError(
                f"The built-in head is no FLAME release; leave out variant {variant!r}, or pass a model path."
            )
        from flamehead.builtin import add_teeth, builtin_head

        head = add_teeth(builtin_head()) if teeth else builtin_head()
        return Flame(
            head.arrays,
            embeddings=head.embeddings,
            regions=head.regions,
            colors=head.colors,
            paint=head.paint,
            eyelids=np.pad(head.eyelids, ((0, 0), (0, len(head.arrays.template) - head.eyelids.shape[1]), (0, 0))),
            contour=ContourEmbedding(head.contour_faces, head.contour_barycentric),
            dtype=dtype,
            device=device,
        )
    if teeth:
        raise InputError("Only the built-in head has teeth; leave out the model path, or `teeth`.")
    if not Path(path).exists():
        raise AssetNotFound(
            f"There is no FLAME model at {path}; download one from the FLAME site (licence and sign-up required) and "
            "pass its path, or pass no path to use the built-in head."
        )
    arrays, beside = read_model(path, variant=variant), find_beside(path)
    return Flame(
        arrays,
        embeddings=beside["embeddings"],
        regions=beside["regions"],
        eyelids=beside["eyelids"],
        contour=beside["contour"],
        dtype=dtype,
        device=device,
    )


def _constants(arrays: FlameArrays, eyelids: np.ndarray | None) -> dict[str, np.ndarray]:
    """The float buffers: bases rows first, and the regressor already applied to template and bases."""

    def rows(basis: np.ndarray) -> np.ndarray:
        return basis.reshape(-1, basis.shape[-1]).T

    def regressed(basis: np.ndarray) -> np.ndarray:
        return rows(np.einsum("jv,vcs->jcs", arrays.joint_regressor, basis, optimize=True))

    lids = {} if eyelids is None else {"eyelid_basis": _eyelid_rows(arrays, eyelids)}
    return lids | {
        "template": arrays.template,
        "skin_weights": arrays.skin_weights,
        "shape_basis": rows(arrays.shape_basis),
        "expression_basis": rows(arrays.expression_basis),
        "pose_basis": rows(arrays.pose_basis),
        "joint_regressor": arrays.joint_regressor,
        "joint_template": arrays.joint_regressor @ arrays.template,
        "joint_shape_basis": regressed(arrays.shape_basis),
        "joint_expression_basis": regressed(arrays.expression_basis),
    }


def _eyelid_rows(arrays: FlameArrays, eyelids: np.ndarray) -> np.ndarray:
    wanted = (2, *arrays.template.shape)
    if np.shape(eyelids) != wanted:
        raise InputError(
            f"eyelids has shape {np.shape(eyelids)}, wanted {wanted}: the field of the left eye, then of the right one."
        )
    return np.reshape(eyelids, (2, -1))


def _corners(arrays: FlameArrays, scheme: str, face_ids: np.ndarray) -> np.ndarray:
    """Vertex ids of the triangles that landmarks lie on."""
    if face_ids.size and face_ids.max() >= len(arrays.faces):
        raise InputError(
            f"The landmarks {scheme!r} use triangle {face_ids.max()}, but {arrays.source} has "
            f"{len(arrays.faces)} triangles; use the embedding that was made for this model."
        )
    return arrays.faces[face_ids].astype(np.int64)
