"""``python -m X2BRLogic.worker FOLDER HOST``: a worker for the process with the number HOST.

`process.WorkerProcess` starts it so, with a private folder that the worker removes when its host is gone.
"""

from .films import detect
from .reconstruct import load, prepare, reconstruct
from .server import serve

serve({"load": load, "reconstruct": reconstruct, "detect": detect}, prepare)
