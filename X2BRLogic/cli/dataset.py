"""``x2br dataset``: training data."""

from __future__ import annotations

from . import dataset_boxes, dataset_build, dataset_check, dataset_fetch, dataset_sheet, dataset_virtual

_ACTIONS = (dataset_fetch, dataset_build, dataset_check, dataset_virtual, dataset_boxes, dataset_sheet)


def add_to(subparsers) -> None:
    """Add the sub-command and what is under it."""
    group = subparsers.add_parser("dataset", help="Make training data.").add_subparsers(
        dest="action", metavar="ACTION", required=True
    )
    for module in _ACTIONS:
        module.add_to(group)
