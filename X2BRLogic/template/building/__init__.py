"""Makes the skeleton template: the mean of labelled people, which is none of them (``x2br template build``)."""

from .build import build_template

__all__ = ["build_template"]
