"""CT collections of the Imaging Data Commons: find, choose, fetch, check."""

from .acquisitions import acquisitions
from .fetch import Plan, Store, fetch, plan, series_folder
from .index import Collection, Index, Series
from .store import Bucket, NoConnectionError, Remote

__all__ = [
    "Bucket",
    "Collection",
    "Index",
    "NoConnectionError",
    "Plan",
    "Remote",
    "Series",
    "Store",
    "acquisitions",
    "fetch",
    "plan",
    "series_folder",
]
