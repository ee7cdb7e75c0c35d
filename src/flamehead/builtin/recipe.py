"""The recipe: from the surface of a head to every table of the FLAME format. Centimetres up to the tables."""

from __future__ import annotations

import numpy as np

from flamehead.builtin._layers import skin_layers
from flamehead.builtin.albedo import make_paint, part_of_vertex, to_srgb
from flamehead.builtin.contour import dynamic_contour
from flamehead.builtin.expression import expression_basis
from flamehead.builtin.identity import shape_basis
from flamehead.builtin.joints import joint_positions, joint_regressor, pose_basis, skin_weights
from flamehead.builtin.landmarks import landmark_embeddings
from flamehead.builtin.mesh import build_mesh
from flamehead.builtin.regions import vertex_regions
from flamehead.builtin.uv import uv_layout

__all__ = ["build_tables"]

N_SHAPE, N_EXPRESSION = 300, 100
_HAIR_EDGE = 0.25
"""Height above the hairline, cm, where the paint's hair covers half of the skin."""


def build_tables() -> dict[str, np.ndarray]:
    """All tables of the head, metres; the large ones in float32."""
    mesh = build_mesh()
    joints = joint_positions(mesh)
    weights = skin_weights(mesh)
    shape, shape_names = shape_basis(mesh, N_SHAPE)
    expression, expression_names = expression_basis(mesh, weights[:, 2], N_EXPRESSION)
    paint = make_paint(mesh)
    part = part_of_vertex(mesh)
    tables = {
        "template": mesh.vertices / 100.0,
        "faces": mesh.faces,
        "shape_basis": (shape / 100.0).astype(np.float32),
        "expression_basis": (expression / 100.0).astype(np.float32),
        "pose_basis": (pose_basis(mesh, weights) / 100.0).astype(np.float32),
        "skin_weights": weights,
        "joint_regressor": joint_regressor(mesh, joints),
        "shape_names": np.array(shape_names),
        "expression_names": np.array(expression_names),
        "colors": to_srgb(paint(mesh.vertices, part)).astype(np.float32),
        "part": part,
    }
    tables |= {f"outline_{name}": outline for name, outline in paint.contours.items()}
    tables["outline_eye"] = mesh.eye_centers[:1]
    hair = skin_layers(mesh.vertices, paint.contours, paint.eye_center)["hair"] > _HAIR_EDGE
    tables |= {f"region_{name}": ids for name, ids in vertex_regions(mesh, hair).items()}
    layout = uv_layout(mesh)
    contour_faces, contour_weights = dynamic_contour(mesh, tables["region_face"])
    tables |= {
        # The last bits of long sums may change with where memory lies; these digits do not.
        "uv": np.round(layout.uv, 8),
        "uv_faces": layout.faces,
        "contour_faces": contour_faces,
        "contour_barycentric": contour_weights,
    }
    for name, embedding in landmark_embeddings(mesh).items():
        tables[f"landmarks_{name}"] = np.column_stack([embedding.face_ids, embedding.barycentric])
    return tables
