"""Occupancy fields whose surface, at the usual threshold, is known."""

from __future__ import annotations

import numpy as np

from X2BRLogic.surface import logit

LEVEL = logit(0.2)
SHARPNESS = 60.0  # logits per unit of the cube


def ball(points, radius=0.31, centre=(0.013, -0.021, 0.007)):
    return LEVEL + SHARPNESS * (radius - np.linalg.norm(points - np.float32(centre), axis=1))


def torus(points):
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.3
    return LEVEL + SHARPNESS * (0.08 - np.hypot(ring, points[:, 2] - 0.01))


def two_near_balls(points):
    return np.maximum(ball(points, 0.15, (-0.157, 0.003, 0)), ball(points, 0.15, (0.157, 0.003, 0)))


def skewered_ball(points):
    """A ball with a rod, thinner than a cell of the coarse grid, that leaves it: seen only by following the surface."""
    rod = np.hypot(points[:, 1] - 0.0161, points[:, 2] - 0.0147)
    beyond = np.abs(points[:, 0]) - 0.43
    return np.maximum(ball(points, 0.15, (0, 0, 0)), LEVEL + SHARPNESS * np.minimum(0.012 - rod, -beyond))


def thin_tube(points):
    """A ring whose tube is half as thick as a cell of the coarse grid, between the grid's planes."""
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.3
    return LEVEL + SHARPNESS * (0.007 - np.hypot(ring, points[:, 2] - 0.0156))


def thin_shell(points):
    """A hollow ball whose wall is half as thick as a cell of the coarse grid."""
    return LEVEL + SHARPNESS * (0.008 - np.abs(np.linalg.norm(points - np.float32((0.004, 0.009, 0)), axis=1) - 0.3))


def thin_rod(points):
    """A rod, half as thick as a cell of the coarse grid, that ends inside the cube and lies between its planes."""
    off_axis = np.hypot(points[:, 1] - 0.0161, points[:, 2] - 0.0147)
    return LEVEL + SHARPNESS * np.minimum(0.009 - off_axis, 0.3 - np.abs(points[:, 0]))


def cut_by_the_border(points):
    return ball(points, 0.3, (0.35, 0, 0))


def dense(field, resolution):
    ticks = np.arange(resolution + 1, dtype=np.float32) / resolution - 0.5
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1)
    return field(points.reshape(-1, 3)).reshape(points.shape[:3]).astype(np.float32)
