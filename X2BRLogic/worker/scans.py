"""``python -m X2BRLogic.worker.scans FOLDER HOST``: a worker for CTs, which starts without PyTorch.

It makes radiographs and data sets from them, and measures reconstructions against them.
"""

from __future__ import annotations

from .dataset import build_dataset
from .drr import drr
from .measure import evaluate, reproject
from .server import serve

#: For `client.Worker`.
MODULE = "X2BRLogic.worker.scans"


def _prepare() -> dict:
    from .. import drr  # noqa: F401  the slow part of a start

    return {"device": "cpu"}


if __name__ == "__main__":
    serve({"drr": drr, "dataset": build_dataset, "evaluate": evaluate, "reproject": reproject}, _prepare)
