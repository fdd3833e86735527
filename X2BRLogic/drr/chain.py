"""The imaging chain: from a CT to what a detector measures, every effect of which is optional but the geometry."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from .attenuation import DEFAULT_ENERGY_KEV
from .degradation import add_noise, add_scatter
from .render import Renderer


@dataclass(frozen=True)
class Exposure:
    """How a radiograph is taken.

    Attributes:
        energy_kev: effective energy of a monochromatic beam.
        kvp: tube voltage in kV: the beam has that tube's spectrum instead.
        scatter: scatter's share of the signal behind the patient (`add_scatter`).
        photons: mean photons a pixel in the open beam; without it there is no noise (`add_noise`).
        seed: of the noise.
    """

    energy_kev: float = DEFAULT_ENERGY_KEV
    kvp: float | None = None
    scatter: float = 0.0
    photons: float | None = None
    seed: int = 0

    def to_dict(self) -> dict:
        """Plain numbers, for the record: only what applies."""
        unused = {"energy_kev" if self.kvp else "kvp"} | (set() if self.photons else {"photons", "seed"})
        return {name: value for name, value in asdict(self).items() if name not in unused}


class ImagingChain:
    """Radiographs of one CT as one exposure takes them.

    Raises `InputError` for an exposure that makes no sense, or a spectrum without SpekPy.
    """

    def __init__(self, ct: Volume, exposure: Exposure):
        self.exposure = exposure
        if exposure.kvp is None:
            self._renderer = Renderer(ct, exposure.energy_kev)
        else:
            from .spectrum import PolychromaticRenderer, tube_spectrum

            self._renderer = PolychromaticRenderer(ct, tube_spectrum(exposure.kvp))

    def line_integrals(self, geometry: XRayGeometry, number: int = 0) -> np.ndarray:
        """Line integrals as measured, float32 ``(rows, columns)``. `number`: of the radiograph; each has its own noise.

        Raises `InputError` when no ray meets the patient.
        """
        exposure = self.exposure
        image = self._renderer.line_integrals(geometry)
        if not image.any():
            raise InputError(
                "the detector misses the patient; use a larger detector or pixel spacing, or another isocentre"
            )
        if exposure.scatter:
            image = add_scatter(image, exposure.scatter, geometry.spacing)
        if exposure.photons is not None:
            # The 1 keeps this stream apart from that of random pose `number` under the same seed.
            image = add_noise(image, exposure.photons, np.random.default_rng((exposure.seed, number, 1)))
        return image
