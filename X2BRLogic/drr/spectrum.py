"""X-ray tube spectra, and radiographs as an energy-integrating detector sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..geometry import XRayGeometry
from ..volume import Volume
from .attenuation import DEFAULT_ENERGY_KEV, water_and_bone
from .trace import RayTracer

KVP_RANGE = (40.0, 150.0)
#: Total filtration of a diagnostic tube: at least 2.5 mm aluminium (IEC 60601-1-3).
FILTRATION_MM_AL = 3.0
ANODE_DEGREES = 12.0
_STEP_KEV = 2.0
#: Above this a voxel holds mineral. Skeletal tissue starts at 100 HU in Schneider et al. (see `PolychromaticRenderer`).
BONE_FROM_HU = 100


@dataclass(frozen=True)
class Spectrum:
    """What each photon energy adds to the signal of the open beam.

    Attributes:
        energies_kev: shape ``(N,)``, between 10 and 200.
        weights: energy fluence in each bin, shape ``(N,)``, summing to 1.
    """

    energies_kev: np.ndarray
    weights: np.ndarray

    def __post_init__(self):
        energies, weights = (np.asarray(v, dtype=np.float64) for v in (self.energies_kev, self.weights))
        if energies.shape != weights.shape or energies.ndim != 1 or not weights.sum() > 0 or weights.min() < 0:
            raise InputError("a spectrum needs one weight for each energy, none negative and not all zero")
        if not 10 <= energies.min() <= energies.max() <= 200:
            raise InputError("a spectrum's energies must lie between 10 and 200 keV")
        object.__setattr__(self, "energies_kev", energies)
        object.__setattr__(self, "weights", weights / weights.sum())


def tube_spectrum(kvp: float, filtration_mm_al: float = FILTRATION_MM_AL) -> Spectrum:
    """The spectrum of a tungsten tube, calculated by SpekPy.

    Poludniowski et al., "SpekPy v2.0: a software toolkit for modeling x-ray tube spectra", Med. Phys. 48, 2021,
    3630-3637.

    Args:
        kvp: tube voltage, 40 to 150 kV.
        filtration_mm_al: total filtration in mm of aluminium.

    Raises:
        InputError: another voltage, or SpekPy is not installed.
    """
    low, high = KVP_RANGE
    if not low <= kvp <= high:
        raise InputError(f"tube voltage {kvp:g} kV is outside {low:g} to {high:g} kV")
    try:
        import spekpy
    except ImportError:
        raise InputError("a tube spectrum needs SpekPy; install it with: pip install 'x2br[physics]'") from None
    tube = spekpy.Spek(kvp=kvp, th=ANODE_DEGREES, dk=_STEP_KEV)
    tube.filter("Al", filtration_mm_al)
    energies, fluence = tube.get_spectrum()
    kept = energies >= 10  # nothing softer passes the filter
    return Spectrum(energies[kept], fluence[kept] * energies[kept])


class PolychromaticRenderer:
    """Radiographs of one CT under a spectrum; the counterpart of `Renderer`.

    A voxel is a mixture. Up to 100 HU it is water of the density that its number says (air, fat, lung, soft tissue);
    from there to cortical bone the share of bone grows linearly, as in Schneider, Bortfeld and Schlegel, "Correlation
    between CT numbers and tissue parameters needed for Monte Carlo simulations", Phys. Med. Biol. 45, 2000, 459-478.
    At the energy of the CT's beam this gives back the voxel's own attenuation. The path lengths through the two
    materials are traced, and the signal is the sum over the energies, as in DeepDRR (Unberath et al., MICCAI 2018,
    eq. 1), which splits air, soft tissue and bone by thresholds instead.

    Args:
        ct: Hounsfield units; any orientation.
        spectrum: of the radiograph's beam.
        ct_energy_kev: effective energy of the CT's beam.
    """

    def __init__(self, ct: Volume, spectrum: Spectrum, ct_energy_kev: float = DEFAULT_ENERGY_KEV):
        self._spectrum = spectrum
        self._everything = RayTracer(ct, offset=1000)
        self._mineral = RayTracer(ct, offset=-BONE_FROM_HU)
        water, bone = water_and_bone(np.array([ct_energy_kev]))
        self._bone_hu = 1000.0 * (float(bone[0] / water[0]) - 1.0)

    def line_integrals(self, geometry: XRayGeometry) -> np.ndarray:
        """Effective line integrals -ln(I / I0) of the detector's signal, dimensionless, float32 ``(rows, columns)``."""
        everything, mineral = self._everything.integrate(geometry), self._mineral.integrate(geometry)
        soft = (everything - mineral).astype(np.float64) / 1000.0
        bone = mineral.astype(np.float64) / (self._bone_hu - BONE_FROM_HU)
        signal = np.zeros(geometry.shape)
        water_mu, bone_mu = water_and_bone(self._spectrum.energies_kev)
        # The bone replaces the soft tissue of 100 HU that would be there without it.
        more_mu = bone_mu - water_mu * (1.0 + BONE_FROM_HU / 1000.0)
        for weight, soft_mu, extra_mu in zip(self._spectrum.weights, water_mu, more_mu, strict=True):
            signal += weight * np.exp(-(soft * soft_mu + bone * extra_mu))
        return -np.log(np.maximum(signal, np.finfo(np.float64).tiny)).astype(np.float32)
