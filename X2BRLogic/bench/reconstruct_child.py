"""A fresh process from its start to its first mesh: ``python -m X2BRLogic.bench.reconstruct_child METHOD N FILE``.

It says ``mesh`` on stdout when there is one, and reconstructs twice more, so that its peak is that of a warm worker.
"""

from __future__ import annotations

import sys

from ..radiograph import read_radiograph

if __name__ == "__main__":
    method, resolution, file = sys.argv[1:]
    radiograph = read_radiograph(file)
    from ..pipeline import Reconstructor

    reconstructor = Reconstructor(method)
    reconstructor.reconstruct(radiograph, resolution=int(resolution))
    print("mesh", flush=True)
    for _ in range(2):
        reconstructor.reconstruct(radiograph, resolution=int(resolution))
