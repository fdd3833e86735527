"""Bones of a CT: labels from TotalSegmentator, from the weight-free atlas, or from a file that the user has."""

from .label import METHODS, Segmentation, label_bones
from .reading import read_bone_labels
from .schemes import SCHEMES

__all__ = ["METHODS", "SCHEMES", "Segmentation", "label_bones", "read_bone_labels"]
