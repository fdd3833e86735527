"""The learning rate over a run."""

from __future__ import annotations

import math


def learning_rate(config, step: int, done: float | None = None) -> float:
    """The rate at a step: linear warm-up, then constant or a half cosine to zero.

    Args:
        config: with ``learning_rate``, ``warmup``, ``decay`` and ``steps``.
        done: the part of the run that is over, 0 to 1, where something other than its steps decides that.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if not config.decay:
        return config.learning_rate
    if done is None:
        done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
