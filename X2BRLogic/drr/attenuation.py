"""Photon energies, materials and linear attenuation."""

from __future__ import annotations

import numpy as np

from ..errors import InputError

#: Photon energy (keV) and mass attenuation coefficients (cm^2/g, coherent scattering included) of liquid water and of
#: cortical bone (ICRU-44): NIST Standard Reference Database 126, table 4 (Hubbell and Seltzer).
_ENERGY, _WATER, _CORTICAL_BONE = np.array(
    [
        (10, 5.329, 28.51), (15, 1.673, 9.032), (20, 0.8096, 4.001), (30, 0.3756, 1.331), (40, 0.2683, 0.6655),
        (50, 0.2269, 0.4242), (60, 0.2059, 0.3148), (80, 0.1837, 0.2229), (100, 0.1707, 0.1855), (150, 0.1505, 0.1480),
        (200, 0.1370, 0.1309),
    ]
).T  # fmt: skip
#: g/cm^3, ICRU-44.
_CORTICAL_BONE_DENSITY = 1.92

#: Effective energy of a chest exposure at about 120 kVp.
DEFAULT_ENERGY_KEV = 70.0
ENERGY_RANGE_KEV = (20.0, 200.0)


def water_attenuation(energy_kev: float = DEFAULT_ENERGY_KEV) -> float:
    """Linear attenuation of water in 1/mm, log-log interpolated; 20 to 200 keV, else `InputError`.

    A voxel of h Hounsfield units attenuates ``water_attenuation() * (1 + h / 1000)``: the definition of the unit.
    """
    low, high = ENERGY_RANGE_KEV
    if not low <= energy_kev <= high:
        raise InputError(f"effective energy {energy_kev:g} keV is outside {low:g} to {high:g} keV")
    return float(np.exp(np.interp(np.log(energy_kev), np.log(_ENERGY), np.log(_WATER)))) / 10.0


def water_and_bone(energies_kev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear attenuation of water and of cortical bone in 1/mm at each energy (10 to 200 keV).

    Cubic splines in log-log, as NIST recommends for its tables: between their sparse entries a straight line is up to
    2 % too high for bone, which a sum over a spectrum would feel.
    """
    from scipy.interpolate import CubicSpline  # takes a while to import, and only a spectrum needs it

    water, bone = (
        np.exp(CubicSpline(np.log(_ENERGY), np.log(table))(np.log(energies_kev))) for table in (_WATER, _CORTICAL_BONE)
    )
    return water / 10.0, bone * _CORTICAL_BONE_DENSITY / 10.0
