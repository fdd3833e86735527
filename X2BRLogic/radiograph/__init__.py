"""Radiographs: read one from a file or an array, know where it stands, and make it a network's input."""

from .film import to_grey
from .handling import Handling
from .network import NETWORK_SIZE, network_image, normalise, resample_to_network
from .placement import geometry_beside
from .radiograph import Radiograph, radiograph_from_array, read_radiograph

__all__ = [
    "NETWORK_SIZE",
    "Handling",
    "Radiograph",
    "geometry_beside",
    "network_image",
    "normalise",
    "radiograph_from_array",
    "read_radiograph",
    "resample_to_network",
    "to_grey",
]
