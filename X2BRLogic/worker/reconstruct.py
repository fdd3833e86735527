"""The kind of job ``reconstruct``: the worker's handler, and the host's `Reconstructor` that hands it the films."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ..detection import Box
from ..errors import InputError
from ..reconstruction import RESOLUTION, Progress, Reconstruction
from .client import Job, Worker
from .protocol import Event

# What takes long to import waits for the first job: a worker listens, and a host's module is loaded, without it.
if TYPE_CHECKING:
    from ..pipeline import Reconstructor
    from ..radiograph import Radiograph
    from .server import JobContext

#: Folder of the second film in that of a job.
_SECOND = "second"

# --- the host's side --------------------------------------------------------------------------------------------------


class _Load:
    """The task of having a model ready before it is needed."""

    kind = "load"

    def __init__(self, model: dict):
        self.settings = model

    def write(self, folder: Path) -> None:
        """Nothing to write."""

    def read(self, folder: Path, facts: dict) -> dict:
        """Method and device."""
        return facts


class _Reconstruct:
    """The task of reconstructing from one radiograph, or from two."""

    kind = "reconstruct"

    def __init__(
        self,
        radiograph: Radiograph,
        model: dict,
        resolution: int,
        boxes: Sequence[Box] | None,
        second: Radiograph | None,
    ):
        self._radiograph, self._second = radiograph, second
        listed = None if boxes is None else [asdict(box) for box in boxes]
        self.settings = model | {"resolution": resolution, "boxes": listed}

    def write(self, folder: Path) -> None:
        """The radiographs into the job's folder."""
        from .exchange import pack_radiograph

        pack_radiograph(folder, self._radiograph)
        if self._second is not None:
            (folder / _SECOND).mkdir()
            pack_radiograph(folder / _SECOND, self._second)

    def read(self, folder: Path, facts: dict) -> Reconstruction:
        """The reconstruction from the job's folder."""
        from .exchange import unpack

        parts = unpack(folder, "reconstruction")
        boxes = tuple(Box(**box) for box in parts.pop("boxes"))
        return Reconstruction(radiograph=self._radiograph, boxes=boxes, **parts)


class WorkerReconstructor:
    """`pipeline.Reconstructor` in a process of its own: same arguments, same results, and a crash is an exception.

    The process starts and loads the model at once, beside what the caller goes on to do. PyTorch is never loaded into
    the caller's process.

    Args:
        method, device, weights: as for `pipeline.Reconstructor`; what is wrong with them is told by the first job.
        worker: one to share with others; by default one of its own, which `close` ends.

    Attributes:
        loading: the job of having the model ready; its value is method and device.
    """

    def __init__(
        self,
        method: str | None = None,
        device: str = "auto",
        weights: str | Path | None = None,
        worker: Worker | None = None,
    ):
        file = str(Path(weights).absolute()) if weights else None
        self._model = {"method": method, "device": device, "weights": file}
        self._owned = worker is None
        self.worker = worker or Worker()
        self.loading: Job = self.worker.submit(_Load(self._model))

    def __enter__(self) -> WorkerReconstructor:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def submit(
        self,
        radiograph: Radiograph,
        *,
        resolution: int = RESOLUTION,
        boxes: Sequence[Box] | None = None,
        second: Radiograph | None = None,
    ) -> Job:
        """Begin, and return at once: for a host with an event loop. The job's value is a `Reconstruction`."""
        return self.worker.submit(_Reconstruct(radiograph, self._model, resolution, boxes, second))

    def reconstruct(
        self,
        radiograph: Radiograph,
        progress: Progress | None = None,
        *,
        resolution: int = RESOLUTION,
        boxes: Sequence[Box] | None = None,
        second: Radiograph | None = None,
    ) -> Reconstruction:
        """Reconstruct the bones of the thorax; see `reconstruction.Reconstructing`.

        An exception in `progress`, or Ctrl-C, cancels the job. Raises `WorkerError` too: the worker crashed or was
        killed; the next call starts a new one.
        """
        job = self.submit(radiograph, resolution=resolution, boxes=boxes, second=second)
        try:
            return job.wait(_listener(progress) if progress else None)
        finally:
            job.cancel()

    def close(self) -> None:
        """End the worker, unless it is shared."""
        if self._owned:
            self.worker.close()


def _listener(progress: Progress) -> Callable[[Event], None]:
    def on_event(event: Event) -> None:
        if event.name == "progress":
            progress(event.fraction, event.stage)

    return on_event


# --- the worker's side ------------------------------------------------------------------------------------------------


#: The model of the last job, and what it was asked for as.
_warm: dict[tuple, Reconstructor] = {}


def prepare() -> dict:
    """Load the libraries; the device that ``auto`` means."""
    from .. import pipeline  # noqa: F401  the slow part of a start
    from ..networks.device import choose_device

    return {"device": str(choose_device())}


def load(job: JobContext) -> dict:
    """Handler: have the model ready."""
    reconstructor = _reconstructor(job)
    return {"method": reconstructor.method, "device": str(reconstructor.device)}


def reconstruct(job: JobContext) -> dict:
    """Handler: ``radiograph``, and the second if there is one, to ``reconstruction``, all as `exchange` writes them."""
    from ..fitness import admit
    from .exchange import pack, unpack_radiograph

    radiograph = unpack_radiograph(job.folder)
    second = unpack_radiograph(job.folder / _SECOND) if (job.folder / _SECOND).is_dir() else None
    try:
        listed = job.settings.get("boxes")
        boxes = None if listed is None else [Box(**box) for box in listed]
    except (ValueError, TypeError) as error:
        raise InputError(f"the boxes of the job are damaged ({error}); hand them in again") from None
    reconstructor = _reconstructor(job)
    film = admit(radiograph, boxes, method=reconstructor.method, rescale=False)  # the host has placed it
    reconstruction = reconstructor.reconstruct(
        film.radiograph,
        job.progress,
        resolution=job.settings.get("resolution", RESOLUTION),
        boxes=film.boxes,
        second=second,
    )
    reconstruction.summary["film"] = film.facts
    for warning in reconstruction.summary["warnings"]:
        if warning not in radiograph.warnings:
            job.warn(warning)
    parts = {part.name: getattr(reconstruction, part.name) for part in fields(reconstruction)}
    del parts["radiograph"]  # the host has it
    parts["boxes"] = [asdict(box) for box in reconstruction.boxes]
    pack(job.folder, "reconstruction", parts)
    return {}


def _reconstructor(job: JobContext) -> Reconstructor:
    """The model that the settings name; loaded where the last job had another, or its file has changed since."""
    from ..models import DEFAULT_METHOD, weights_of

    method = job.settings.get("method") or DEFAULT_METHOD
    weights = Path(job.settings.get("weights") or weights_of(method))
    try:
        version = weights.stat().st_mtime_ns
    except OSError:
        version = None  # loading it says what is wrong
    key = (method, job.settings.get("device", "auto"), weights, version)
    if key not in _warm:
        from ..pipeline import Reconstructor

        job.progress(0.0, "load model")
        _warm.clear()
        _warm[key] = Reconstructor(method, key[1], weights)
    return _warm[key]
