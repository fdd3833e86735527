"""Motion coherence: the prior covariance G of displacements as a low-rank product.

G is a kernel over the vertices of the moving shape: Gaussian (BCPD), or a Gaussian of the straight distance mixed with
one of the geodesic distance (GBCPD). With L landmarks, C = G[:, landmarks] and the eigenvectors V and eigenvalues
of C[landmarks], Nystrom's approximation is ``G = B B^T`` with ``B = C V eigenvalues^(-1/2)``. Small and negative
eigenvalues are left out, and with them whatever keeps the mixed kernel from being positive semidefinite.
Source: Hirose, Geodesic-based Bayesian coherent point drift, IEEE TPAMI 45(5), 2023, sections 3.2 and 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csr_matrix

from ..errors import InputError
from .gauss_sums import gaussians, gaussians_in_place
from .geodesic import distances

_BLOCK = 16384
#: Eigenvalues of a Gaussian kernel below this share of the largest are rounding.
_ROUNDING = 1e-10
#: An exact kernel of more landmarks takes minutes to expand.
_MOST_LANDMARKS = 4000


class Coherence:
    """The basis B of displacements, ``G = B B^T``, of one moving shape.

    Args:
        points: ``(N, 3)`` the shape, normalised.
        landmarks: ``(L,)`` indices of the vertices that the kernel is expanded over.
        beta: width of the Gaussians.
        epsilon: smallest eigenvalue kept, relative to the largest.
        tau: weight of the geodesic part.
        graph: edges for geodesics; ``None`` for the Gaussian kernel alone.
    """

    def __init__(
        self,
        points: np.ndarray,
        landmarks: np.ndarray,
        beta: float,
        epsilon: float = _ROUNDING,
        tau: float = 0.0,
        graph: csr_matrix | None = None,
    ):
        self._points, self._landmarks, self._beta = points, points[landmarks], beta
        self._tau, self._geodesic = (tau, None) if graph is not None else (0.0, None)
        if graph is not None and tau > 0.0:
            # Beyond six widths a Gaussian is nothing in float32: Dijkstra need not go there.
            self._geodesic = distances(graph, landmarks, 6.5 * beta)
            gaussians_in_place(self._geodesic, 0.5 / beta**2)
        values, vectors = np.linalg.eigh(self._columns(landmarks))
        kept = values > max(epsilon, _ROUNDING) * values[-1]
        self._to_basis = vectors[:, kept] / np.sqrt(values[kept])

    @property
    def rank(self) -> int:
        """Columns of the basis."""
        return self._to_basis.shape[1]

    def _columns(self, rows) -> np.ndarray:
        """``G[rows, landmarks]``."""
        straight = gaussians(self._points[rows], self._landmarks, self._beta)
        if self._geodesic is None:
            return straight
        straight *= 1.0 - self._tau
        straight += self._tau * self._geodesic[:, rows].T
        return straight

    def basis(self, rows) -> np.ndarray:
        """Rows of B, ``(rows, rank)`` float64."""
        return self._columns(rows) @ self._to_basis

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All rows of ``G[:, landmarks]`` and where they are, some thousand at a time: B as a whole may not fit."""
        for first in range(0, len(self._points), _BLOCK):
            rows = slice(first, first + _BLOCK)
            yield rows, self._columns(rows)

    def everywhere(self, coefficients: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Displacements ``B @ coefficients`` ``(N, 3)`` and norms of ``B @ factor`` ``(N,)`` over all vertices."""
        displacement, norm = np.empty((len(self._points), 3)), np.empty(len(self._points))
        to_both = self._to_basis @ np.concatenate([coefficients, factor], axis=1)
        for rows, columns in self.blocks():
            both = columns @ to_both
            displacement[rows] = both[:, :3]
            norm[rows] = np.linalg.norm(both[:, 3:], axis=1)
        return displacement, norm


def pivots(points: np.ndarray, beta: float, tolerance: float = 1e-9) -> np.ndarray:
    """Landmarks that give a Gaussian kernel exactly, to `tolerance` in each variance, by pivoted Cholesky.

    The vertex worst explained so far comes next. A smooth kernel needs some hundred, whatever the number of vertices.
    Raises `InputError` for a kernel so narrow that it needs thousands.
    Source: Harbrecht, Peters, Schneider, On the low-rank approximation by the pivoted Cholesky decomposition,
    Applied Numerical Mathematics 62(4), 2012, algorithm 1.
    """
    left = np.ones(len(points))
    factor = np.empty((64, len(points)))
    chosen: list[int] = []
    while len(chosen) < len(points) and left.max() > tolerance:
        n, at = len(chosen), int(left.argmax())
        if n == _MOST_LANDMARKS:
            raise InputError(
                f"the exact kernel of {len(points)} points needs more than {n} landmarks; raise beta, or give "
                "nystrom_g (K) a number such as 300"
            )
        if n == len(factor):
            factor = np.concatenate([factor, np.empty_like(factor)])
        column = gaussians(points, points[at : at + 1], beta)[:, 0] - factor[:n, at] @ factor[:n]
        factor[n] = column / np.sqrt(left[at])
        left = np.maximum(left - factor[n] ** 2, 0.0)
        left[at] = 0.0
        chosen.append(at)
    return np.array(chosen)
