"""Vertex by vertex the same bone in everybody: registration, and what a scan does not show."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import trimesh
from scipy.interpolate import RBFInterpolator

from ...errors import InputError
from ...evaluation.nearest import Nearest
from ...registration import Settings, register
from ...surface import simplify
from .mean import HALF, Shapes, moved
from .person import Person, largest_piece

#: Faces of the coarse bone that the first correspondence is made with.
_COARSE_FACES = 800
#: Points of a bone that carry the deformation to bones that are not seen.
_CARRIERS = 40
#: A bone cut by the scan is used where at least this part of it is expected to be in the scan.
_ENOUGH = 0.35
#: Without the geodesic kernel: under it the two sides of a flat bone, far apart along the surface, give up their
#: distance (the sternum lost half of its volume). The range is half of the published one, for details of the form.
_METHOD, _SETTINGS = "bcpd++", Settings(beta=0.5, tolerance=1e-4, iterations=60)
#: The mean of soft correspondences lies inside a thin bone; so many steps bring the vertices onto its surface.
_STEPS_ONTO_SURFACE = 4
#: A step is no longer than so many mm, and goes only to a surface that faces the same way.
_REACH_MM = 4.0


def reference_bones(samples: list[Person]) -> dict[str, trimesh.Trimesh]:
    """For each bone of a half the one of middle volume among those seen whole, no lump and no sliver; coarse.

    Raises `InputError` for a bone that nobody shows whole.
    """
    bones = {}
    for name in HALF:
        whole = sorted((s.bones[name] for s in samples if name in s.whole), key=lambda mesh: mesh.volume)
        if not whole:
            raise InputError(f"no subject shows the whole of {name}; add a scan that does")
        bones[name] = largest_piece(simplify(whole[len(whole) // 2], _COARSE_FACES))
    return bones


def seen_whole(reference: dict[str, trimesh.Trimesh], samples: list[Person], say: Callable) -> list[Shapes]:
    """The reference bones registered to each sample's whole bones, as a first correspondence."""
    found = []
    for sample in samples:
        shapes = {}
        for name, bone in reference.items():
            if name in sample.whole:
                start = bone.vertices + sample.bones[name].center_mass - bone.center_mass
                shapes[name] = _registered(start, bone.faces, sample.bones[name])
        found.append(shapes)
        say(f"{sample.name}: {len(shapes)} bones registered")
    return found


def completed(
    mean: Shapes, faces: dict[str, np.ndarray], poses: list[np.ndarray], samples: list[Person], say: Callable
):
    """The mean registered to each sample; what the scan does not show follows the bones that it shows.

    A bone that the scan cuts is registered as far as it is seen, the rest carried on. The carrier is the biharmonic
    spline through points of the registered bones (`scipy.interpolate.RBFInterpolator`, kernel r with a linear part).

    Args:
        mean: vertices of a half.
        faces: triangles of the same.
        poses: 4x4 similarity from the frame of the mean to each sample.

    Returns:
        For each sample: the shapes of the whole half, and the names of the bones that were seen whole, seen in part.
    """
    results = []
    for sample, pose in zip(samples, poses, strict=True):
        start = {name: moved(pose, vertices) for name, vertices in mean.items()}
        shapes = {}
        for name in mean:
            if name in sample.whole:
                shift = sample.bones[name].center_mass - trimesh.Trimesh(start[name], faces[name]).center_mass
                shapes[name] = _registered(start[name] + shift, faces[name], sample.bones[name])
        partly = set()
        carry = _carrier(mean, shapes)
        for name in mean:
            if name in shapes:
                continue
            shapes[name] = carry(mean[name])
            inside = sample.within(shapes[name], 2.0)
            if name in sample.cut and inside.mean() >= _ENOUGH:
                shapes[name] = _carried_on(faces[name], shapes[name], inside, sample.seen(name))
                partly.add(name)
        results.append((shapes, set(shapes) & sample.whole, partly))
        say(f"{sample.name}: {len(results[-1][1])} bones whole, {len(partly)} in part, the rest carried on")
    return results


def _registered(start: np.ndarray, faces: np.ndarray, target: trimesh.Trimesh) -> np.ndarray:
    """Vertices `start` deformed onto the surface of a target, which may be open where a scan cuts it."""
    moving = trimesh.Trimesh(start, faces, process=False)
    mesh = trimesh.Trimesh(register(moving, target.vertices, _METHOD, _SETTINGS).vertices, faces, process=False)
    surface, around = Nearest.on_surface(target), trimesh.smoothing.laplacian_calculation(mesh)
    for _ in range(_STEPS_ONTO_SURFACE):
        match = surface(mesh.vertices)
        step = match.points - mesh.vertices
        meant = (np.einsum("ij,ij->i", match.normals, mesh.vertex_normals) > 0.3) & (
            np.linalg.norm(step, axis=1) < _REACH_MM
        )
        step[~meant] = 0.0
        mesh.vertices = mesh.vertices + 0.5 * (step + around @ step)
    return np.array(mesh.vertices)


def _carrier(mean: Shapes, shapes: Shapes) -> RBFInterpolator:
    """The smooth deformation of the mean that takes registered bones to where they were found."""
    few = {name: np.unique(np.linspace(0, len(mean[name]) - 1, _CARRIERS).astype(int)) for name in shapes}
    there = np.concatenate([mean[name][few[name]] for name in shapes])
    here = np.concatenate([shapes[name][few[name]] for name in shapes])
    return RBFInterpolator(there, here, kernel="linear", degree=1, smoothing=1.0)


def _carried_on(faces: np.ndarray, expected: np.ndarray, inside: np.ndarray, target: trimesh.Trimesh) -> np.ndarray:
    """A cut bone: the part inside the scan registered, the rest carried on from it."""
    whole_faces = faces[inside[faces].all(axis=1)]
    kept, renumbered = np.unique(whole_faces, return_inverse=True)
    result = expected.copy()
    result[kept] = _registered(expected[kept], renumbered.reshape(-1, 3), target)
    carry = _carrier({"seen": expected[kept]}, {"seen": result[kept] - expected[kept]})
    rest = np.setdiff1d(np.arange(len(expected)), kept)
    result[rest] += carry(expected[rest])
    return result
