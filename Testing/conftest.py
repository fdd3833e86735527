"""Fixtures that more than one test folder uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans and radiographs: ``$X2BR_SHARED_DATA``, else ``../shared/data`` beside the repository.

    Without it a test is skipped on a developer's machine and fails in CI, where it must be.
    """
    folder = Path(os.environ.get("X2BR_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "ct").is_dir():
        message = f"no test data in {folder}; set X2BR_SHARED_DATA"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def subjects(shared_data: Path) -> list[Path]:
    """The folders of the labelled CTs, sorted; each holds ``ct.nii.gz``, ``bones.nii.gz`` and ``subject.json``."""
    return sorted(path.parent for path in shared_data.glob("ct/*/ct.nii.gz"))
