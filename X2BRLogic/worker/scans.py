"""``python -m X2BRLogic.worker.scans FOLDER HOST``: a worker for CTs, which starts without PyTorch.

It makes radiographs and data sets from them, measures reconstructions against them, and writes these for others.
"""

from __future__ import annotations

from .dataset import build_dataset
from .drr import drr
from .handing_over import export, report
from .measure import evaluate, reproject
from .server import serve

#: For `client.Worker`.
MODULE = "X2BRLogic.worker.scans"


def _prepare() -> dict:
    from .. import drr  # noqa: F401  the slow part of a start

    return {"device": "cpu"}


if __name__ == "__main__":
    measures = {"evaluate": evaluate, "reproject": reproject}
    serve({"drr": drr, "dataset": build_dataset, **measures, "report": report, "export": export}, _prepare)
