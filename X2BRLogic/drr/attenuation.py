"""Hounsfield units and linear attenuation."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

#: Photon energy (keV) and mass attenuation coefficient of liquid water (cm^2/g) without coherent scattering removed:
#: NIST Standard Reference Database 126, table 4 (Hubbell and Seltzer).
_WATER = np.array(
    [
        (20, 0.8096), (30, 0.3756), (40, 0.2683), (50, 0.2269), (60, 0.2059),
        (80, 0.1837), (100, 0.1707), (150, 0.1505), (200, 0.1370),
    ]
)  # fmt: skip

#: Effective energy of a chest exposure at about 120 kVp.
DEFAULT_ENERGY_KEV = 70.0


def water_attenuation(energy_kev: float = DEFAULT_ENERGY_KEV) -> float:
    """Linear attenuation of water in 1/mm, log-log interpolated; 20 to 200 keV, else `InputError`.

    A voxel of h Hounsfield units attenuates ``water_attenuation() * (1 + h / 1000)``: the definition of the unit.
    """
    if not _WATER[0, 0] <= energy_kev <= _WATER[-1, 0]:
        raise InputError(f"effective energy {energy_kev:g} keV is outside 20 to 200 keV")
    return float(np.exp(np.interp(np.log(energy_kev), *np.log(_WATER).T))) / 10.0
