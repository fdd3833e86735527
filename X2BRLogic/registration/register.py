"""One call for every method."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import trimesh

from ..errors import InputError
from .ndp import NDPSettings, run_ndp
from .result import Registration
from .run import run_drift
from .settings import CPD_SETTINGS, Settings
from .shapes import as_shape, remarks_on_points, remarks_on_sizes

#: The settings a method starts from when none are given.
DEFAULTS = {
    "gbcpd++": Settings(),
    "gbcpd": Settings(),
    "bcpd++": Settings(),
    "bcpd": Settings(),
    "cpd": CPD_SETTINGS,
    "ndp": NDPSettings(),
}
METHODS = tuple(DEFAULTS)


def register(
    moving: trimesh.Trimesh | np.ndarray,
    fixed: trimesh.Trimesh | np.ndarray,
    method: str = "gbcpd++",
    settings: Settings | NDPSettings | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Registration:
    """Lay the shape `moving` onto the shape `fixed`, from its pose down to its detail.

    Args:
        moving, fixed: a mesh, or points ``(N, 3)``, in mm. Geodesic methods follow the moving mesh's edges.
        method: "gbcpd++", "gbcpd", "bcpd++", "bcpd" (++ works on thinned shapes and carries the result to all
            vertices), "cpd" (settings.transformation: n non-rigid, sr or r rigid, a affine) or "ndp".
        settings: `Settings`, for "ndp" `NDPSettings`; the method's own of `DEFAULTS` when none are given.
        progress: called with a fraction and a stage; what it raises ends the registration and passes through.

    Raises:
        InputError: an unknown method, settings of another, shapes that are empty, not finite or fewer than four
            distinct points, or so placed that nothing is within reach.
    """
    start = time.perf_counter()
    if method not in DEFAULTS:
        raise InputError(f"no registration is called {method!r}; there are {', '.join(METHODS)}")
    settings = settings or DEFAULTS[method]
    if not isinstance(settings, type(DEFAULTS[method])):
        raise InputError(f"{type(settings).__name__} is not for {method}; give {type(DEFAULTS[method]).__name__}")
    progress = progress or (lambda fraction, stage: None)
    shapes = as_shape(moving, "moving"), as_shape(fixed, "fixed")
    remarks = remarks_on_sizes(*shapes)
    remarks += remarks_on_points(shapes[0], "moving") + remarks_on_points(shapes[1], "fixed")
    if isinstance(settings, NDPSettings):
        result = run_ndp(*shapes, settings, progress)
    else:
        result = run_drift(*shapes, method, settings, progress)
    progress(1.0, "done")
    return replace(result, warnings=(*remarks, *result.warnings), seconds=time.perf_counter() - start)


def warm_up() -> float:
    """Load the compiled kernels, or compile them where that was never done; the seconds it took.

    The first registration of a process does so by itself; call this beforehand where its time is looked at.
    """
    start = time.perf_counter()
    ball = trimesh.creation.icosphere(subdivisions=2)
    small = replace(DEFAULTS["gbcpd++"], nystrom_g=20, nystrom_p=20, downsample="B,100,0.02", iterations=40)
    register(ball, ball.vertices * 1.1, "gbcpd++", small)
    return time.perf_counter() - start
