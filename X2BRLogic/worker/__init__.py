"""A process of its own that keeps a model warm, for a host that must stay responsive; and the host's side of it.

`WorkerReconstructor` is `pipeline.Reconstructor` by way of a `Worker`. A host with an event loop submits and polls::

    reconstructor = WorkerReconstructor()  # starts at once, and loads the model in the background
    job = reconstructor.submit(radiograph)
    for event in job.poll():  # from a timer; never blocks
        show(event.name, event.fraction, event.stage, event.remaining, event.message)
    if job.finished:
        reconstruction = job.result()  # or raises InputError, WorkerError, Cancelled: one sentence each

`protocol` says how another program talks to ``python -m X2BRLogic.worker``.
"""

from .client import Job, Task, Worker
from .protocol import Cancelled, Event, WorkerError
from .reconstruct import WorkerReconstructor

__all__ = ["Cancelled", "Event", "Job", "Task", "Worker", "WorkerError", "WorkerReconstructor"]
