"""A CT and an X-ray geometry to a digitally reconstructed radiograph."""

from __future__ import annotations

import numpy as np

from .. import anatomy
from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from .attenuation import DEFAULT_ENERGY_KEV, water_attenuation
from .trace import RayTracer

#: Below this a voxel is air; the body is what is above it.
_BODY_HU = -300


class Renderer:
    """Radiographs of one CT from any number of geometries.

    Args:
        ct: Hounsfield units; any orientation, also oblique or flipped.
        energy_kev: effective energy of the beam.
    """

    def __init__(self, ct: Volume, energy_kev: float = DEFAULT_ENERGY_KEV):
        # -1000 HU attenuates nothing; what scanners write outside their field of view (-2048, -3024) neither.
        self._tracer = RayTracer(ct, offset=1000)
        self._attenuation_per_hu = np.float32(water_attenuation(energy_kev) / 1000.0)

    def line_integrals(self, geometry: XRayGeometry) -> np.ndarray:
        """Integrals of linear attenuation along each pixel's ray, dimensionless, float32 ``(rows, columns)``."""
        return self._tracer.integrate(geometry) * self._attenuation_per_hu


def isocentre(ct: Volume, labels: Volume | None = None) -> np.ndarray:
    """Where to aim: the centre of the thoracic bones' bounding box where labels are given, else of the body's. RAS mm.

    Raises `InputError` if the labels hold no bone of the thorax, or the CT no body.
    """
    if labels is not None:
        mask = np.isin(labels.array, anatomy.THORAX)
        if not mask.any():
            raise InputError("the labels hold no bone of the thorax; check their numbering (see x2br drr --help)")
        return labels.mask_bounds(mask).mean(0)
    mask = ct.array > _BODY_HU
    if not mask.any():
        raise InputError("the CT shows no body: every voxel is air; check that its values are Hounsfield units")
    return ct.mask_bounds(mask).mean(0)
