"""Stacks of 4x4 affine transforms: rotations about points, roots, logarithms, and fits to points."""

from __future__ import annotations

import numpy as np


def translation(offset: np.ndarray) -> np.ndarray:
    """4x4 translation by `offset` (3,)."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def about(point: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """4x4: the 3x3 `linear` acting about `point`, which stays."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = point - linear @ point
    return matrix


def rotation(vector: np.ndarray) -> np.ndarray:
    """3x3 rotation about `vector` (3,) by its length in degrees (Rodrigues)."""
    x, y, z = np.deg2rad(vector)
    angle = float(np.sqrt(x * x + y * y + z * z))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    # sinc keeps small angles exact.
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)


def square_root(matrices: np.ndarray) -> np.ndarray:
    """Principal square roots of ``(..., 4, 4)`` near the identity.

    Denman and Beavers, Applied Mathematics and Computation 2, 1976, 63-94: the product iteration.
    """
    root, inverse = matrices, np.broadcast_to(np.eye(4), matrices.shape)
    for _ in range(8):
        root, inverse = 0.5 * (root + np.linalg.inv(inverse)), 0.5 * (inverse + np.linalg.inv(root))
    return root


def logarithm(matrices: np.ndarray) -> np.ndarray:
    """Principal logarithms of ``(..., 4, 4)``: inverse scaling and squaring, with the series of log(1 + X)."""
    root = matrices
    for _ in range(6):
        root = square_root(root)
    x = root - np.eye(4)
    square = x @ x
    cube = square @ x
    return 64.0 * (x - square / 2 + cube / 3 - square @ square / 4 + square @ cube / 5)


def exponential(matrices: np.ndarray) -> np.ndarray:
    """Exponentials of ``(..., 4, 4)``: scaling and squaring."""
    x = matrices / 64.0
    term = result = np.broadcast_to(np.eye(4), x.shape)
    for n in range(1, 7):
        term = term @ x / n
        result = result + term
    for _ in range(6):
        result = result @ result
    return result


def fit_rigid(source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The 4x4 rigid motion that best takes points ``(N, 3)`` to points ``(N, 3)`` in the least-squares sense.

    Source: Kabsch, Acta Cryst. A32, 1976, 922-923.
    """
    weights = np.ones(len(source)) if weights is None else weights
    a, b = (np.average(p, axis=0, weights=weights) for p in (source, target))
    u, _, vt = np.linalg.svd((source - a).T @ ((target - b) * weights[:, None]))
    turn = vt.T @ np.diag([1.0, 1.0, np.linalg.det(vt.T @ u.T)]) @ u.T
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = b - turn @ a
    return matrix


def fit_affine(
    source: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None, stretch: float = 1.3
) -> np.ndarray:
    """The 4x4 affine transform that best takes points ``(N, 3)`` to points, none of its stretches beyond `stretch`.

    Where the points lie in a plane or on a line, the motion across it is hardly determined and stays rigid.
    """
    rigid = fit_rigid(source, target, weights)
    weights = np.ones(len(source)) if weights is None else weights
    before = apply(rigid, source)
    a, b = (np.average(p, axis=0, weights=weights) for p in (before, target))
    spread = ((before - a) * weights[:, None]).T @ (before - a)
    ridge = 1e-3 * np.trace(spread) * np.eye(3)
    linear = np.linalg.solve(spread + ridge, ((before - a) * weights[:, None]).T @ (target - b) + ridge).T
    u, sizes, vt = np.linalg.svd(linear)
    linear = u @ np.diag(np.clip(sizes, 1 / stretch, stretch)) @ vt
    if np.linalg.det(linear) < 0:
        return rigid
    return translation(b) @ about(np.zeros(3), linear) @ translation(-a) @ rigid


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """4x4 `matrix` applied to points ``(..., 3)``."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]
