"""The settings of BCPD and its relatives, under their published names."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import NamedTuple

from ..errors import InputError

TRANSFORMATIONS = ("srn", "rn", "n", "sr", "r", "a", "an")


class Sampling(NamedTuple):
    """How one point set is thinned: to `points` of them, evenly over voxels or balls of `size`, or at random (0).

    `size` is in normalised coordinates; `shape` is "voxel" or "ball".
    """

    points: int
    size: float
    shape: str


@dataclass(frozen=True)
class Settings:
    """Settings of BCPD, GBCPD and their accelerated forms, named and meant as in the author's program ``bcpd``.

    Lengths (beta, radii, voxels, tolerance, the switch) are in normalised coordinates, in which the standard deviation
    of the points about their mean is 1.

    Attributes:
        omega: ``-w`` probability that a target point is an outlier, in [0, 1).
        beta: ``-b`` range over which neighbours move together.
        lambda_: ``-l`` stiffness; the expected length of a displacement is sqrt(3 / lambda).
        gamma: ``-g`` how much of the initial alignment is forgotten: scales the first residual. 0.1 keeps a rough
            alignment (with normalise "x"), 2 to 10 are for shapes turned far away.
        kappa: ``-k`` evenness of the mixing coefficients; infinity makes them equal.
        tau: weight of the geodesic kernel against the Gaussian one, in [0, 1]; only GBCPD has it.
        nystrom_g: ``-K`` landmarks (rank) for the coherence matrix G; 0 for the exact matrix (BCPD only).
        nystrom_p: ``-J`` points for the products with the matching matrix P; 0 for exact sums.
        local: ``-p`` sum over near neighbours only, once the residual is below `local_below`.
        local_sigmas, local_radius, local_below: ``-d``, ``-e``, ``-f``: neighbours lie within the smaller of
            local_sigmas residuals and local_radius.
        epsilon: ``-z`` smallest eigenvalue of the geodesic kernel that is kept, relative to the largest: what makes
            it positive semidefinite.
        transformation: ``-T`` letters of what moves: s scale, r rotation and translation, a affine, n non-rigid.
        normalise: ``-u`` "e" each set by its own mean and scale, "x" both by the target's, "y" both by the moving
            one's, "n" not at all.
        downsample: ``-D`` such as "B,5000,0.02": which set (X target, Y moving, B both; capitals sample evenly over
            voxels, small letters over balls), points kept, size of voxel or ball, 0 for plain random. Several may be
            given. Only the ++ methods use it.
        tolerance: ``-c`` the residual or its change under which iterations stop.
        iterations, minimum_iterations: ``-n``, ``-N``.
        seed: ``-r`` of all random choices.

    Raises:
        InputError: a value out of its range.
    """

    omega: float = 0.05
    beta: float = 0.7
    lambda_: float = 20.0
    gamma: float = 1.0
    kappa: float = math.inf
    tau: float = 0.5
    nystrom_g: int = 300
    nystrom_p: int = 300
    local: bool = True
    local_sigmas: float = 7.0
    local_radius: float = 0.15
    local_below: float = 0.2
    epsilon: float = 1e-3
    transformation: str = "srn"
    normalise: str = "e"
    downsample: str | tuple[str, ...] = "B,5000,0.02"
    tolerance: float = 1e-6
    iterations: int = 500
    minimum_iterations: int = 30
    seed: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "float" and not isinstance(value, (int, float)):
                raise InputError(f"{field.name} is {value!r}; give a number")
            if field.type == "int" and not (isinstance(value, int) and value >= 0):
                raise InputError(f"{field.name} is {value!r}; give a whole number from 0")
        for name in ("omega", "tau", "epsilon"):
            if not 0.0 <= getattr(self, name) <= 1.0 or self.omega == 1.0:
                raise InputError(f"{name} is {getattr(self, name)}; give a number from 0 to 1 (omega below 1)")
        positive = ("beta", "lambda_", "gamma", "kappa", "local_sigmas", "local_radius", "local_below", "tolerance")
        for name in (*positive, "iterations", "minimum_iterations"):
            if not getattr(self, name) > 0 or (getattr(self, name) == math.inf and name != "kappa"):
                raise InputError(f"{name} is {getattr(self, name)}; give a number above 0")
        if self.normalise not in ("e", "x", "y", "n"):
            raise InputError(f"normalise is {self.normalise!r}; give e, x, y or n")
        if self.transformation not in TRANSFORMATIONS:
            raise InputError(f"transformation is {self.transformation!r}; give one of {', '.join(TRANSFORMATIONS)}")
        self.samplings()

    def samplings(self) -> dict[str, Sampling]:
        """How to thin the sets, by "x" (target) and "y" (moving); what is not there stays whole."""
        texts = (self.downsample,) if isinstance(self.downsample, str) else self.downsample
        found: dict[str, Sampling] = {}
        for text in texts:
            found |= _samplings(text)
        return found


def _samplings(text: str) -> dict[str, Sampling]:
    """What one ``-D`` says: "B,5000,0.02", or "5000" for the same."""
    parts = [part.strip() for part in str(text).split(",")]
    if len(parts) == 1:
        parts = ["B", parts[0], "0.02"]
    try:
        which, points, size = parts[0], int(parts[1]), float(parts[2])
        if len(parts) != 3 or which not in tuple("XYBxyb") or points < 4 or not 0.0 <= size < math.inf:
            raise ValueError
    except (ValueError, IndexError):
        raise InputError(
            f"downsample {text!r} is not understood; give one of X, Y, B, x, y, b, the points to keep (4 or more) "
            "and the size of a voxel or ball, such as B,5000,0.02"
        ) from None
    if which.isupper() and size:
        size = max(size, 0.01)  # as the program does: smaller voxels hold one point each
    sampling = Sampling(points, size, "voxel" if which.isupper() else "ball")
    return {each: sampling for each in ("xy" if which in "Bb" else which.lower())}


#: CPD as published: exact sums (all pairs, then those within seven sigma), exact kernel, non-rigid or as one whole.
CPD_SETTINGS = Settings(
    omega=0.1,
    beta=2.0,
    lambda_=3.0,
    nystrom_g=0,
    nystrom_p=0,
    local_radius=0.5,
    local_below=0.07,
    transformation="n",
    tolerance=1e-5,
    iterations=150,
    minimum_iterations=1,
)
