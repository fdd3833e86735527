"""The index's table of CT acquisitions: slice thickness and image type. It is fetched when there is a network."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path

from ...files import written_whole

_URL = "https://github.com/ImagingDataCommons/idc-index-data/releases/download/{version}/ct_index.parquet"
_SECONDS = 10


def acquisitions(version: str) -> Path | None:
    """The table of an index version, where `idc_index` keeps it too; ``None`` when it cannot be had."""
    import platformdirs

    path = Path(platformdirs.user_data_dir("idc_index_data", "IDC", version=version)) / "ct_index.parquet"
    if not path.is_file():
        try:
            with urllib.request.urlopen(_URL.format(version=version), timeout=_SECONDS) as answer:
                content = answer.read()
            path.parent.mkdir(parents=True, exist_ok=True)
            with written_whole(path) as partial:
                partial.write_bytes(content)
        except (
            OSError,
            ValueError,
            http.client.HTTPException,
        ):  # no network, no such release, no place to keep it: the shipped index must do
            return None
    return path
