"""Renderers side by side: ours and others', each called as its users call it, on one volume and one geometry.

All get the same linear attenuation coefficients, so images may be compared; what others need to turn a CT into their
own form, and reading files, is not counted.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numba
import numpy as np
import SimpleITK as sitk

from ..drr import Renderer
from ..drr.attenuation import water_attenuation
from ..geometry import XRayGeometry
from ..volume import Volume
from .machine import cores, free_memory

_LPS_RAS = np.array([-1.0, -1.0, 1.0])
_LONGEST_S = 1800


class UnavailableError(Exception):
    """A peer that is not installed, or cannot take this volume; the message says why."""


@dataclass(frozen=True)
class Scene:
    """What is rendered: a CT in Hounsfield units, int16, and the geometry."""

    ct: Volume
    geometry: XRayGeometry

    def attenuation(self) -> np.ndarray:
        """Linear attenuation coefficients, 1/mm, float32, the shape of the CT."""
        return np.maximum(self.ct.array.astype(np.float32) + 1000, 0) * np.float32(water_attenuation() / 1000)


@dataclass(frozen=True)
class Run:
    """Seconds for one image and the image; for another process also that process from start to end."""

    seconds: float
    image: np.ndarray
    process_seconds: float | None = None


class Ours:
    """Exact, on all cores. The first view of a CT includes the running sums, later ones do not."""

    label = "X2BR, first view of a CT"
    most_runs = None

    def __init__(self, scene: Scene, threads: int | None = None):
        self._scene, self._threads = scene, threads or numba.config.NUMBA_NUM_THREADS

    def run(self) -> Run:
        """From Hounsfield units in memory to line integrals."""
        before = numba.get_num_threads()
        numba.set_num_threads(self._threads)
        try:
            start = time.perf_counter()
            image = self._renderer().line_integrals(self._scene.geometry)
            return Run(time.perf_counter() - start, image)
        finally:
            numba.set_num_threads(before)

    def _renderer(self) -> Renderer:
        return Renderer(self._scene.ct)


class OursAgain(Ours):
    """Further views of the same CT."""

    label = "X2BR, further views"

    def __init__(self, scene: Scene, threads: int | None = None):
        super().__init__(scene, threads)
        self._kept = Renderer(scene.ct)

    def _renderer(self) -> Renderer:
        return self._kept


class OursOnCuda:
    """The same on a graphics card, 16 views at once, seconds a view."""

    label = "X2BR on CUDA, a view of 16"
    most_runs = None

    def __init__(self, scene: Scene):
        from ..drr.torch_siddon import TorchRayTracer

        self._torch = _with_cuda()
        self._views = [scene.geometry] * 16
        self._tracer = TorchRayTracer(scene.ct, offset=1000, device="cuda")

    def run(self) -> Run:
        """Running sums kept, as for further views."""
        self._torch.cuda.synchronize()
        start = time.perf_counter()
        images = self._tracer.integrate(self._views)
        self._torch.cuda.synchronize()
        return Run((time.perf_counter() - start) / len(self._views), images[0].cpu().numpy())


class Plastimatch:
    """``plastimatch drr`` on an uncompressed volume in memory (tmpfs); a run with one pixel tells its reading time."""

    most_runs = None

    def __init__(self, scene: Scene, algorithm: str, threads: int | None = None):
        self.label = f"plastimatch {algorithm}"
        self._program, self._algorithm, self._geometry = plastimatch_program(), algorithm, scene.geometry
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads or cores())}
        image = sitk.GetImageFromArray(scene.attenuation())
        place(image, scene.ct)
        self._folder = memory_folder()
        self._volume = Path(self._folder.name, "attenuation.mha")
        sitk.WriteImage(upright(image), str(self._volume), False)

    def run(self) -> Run:
        """The whole process less the one that only reads."""
        seconds, image = self._process(self._geometry)
        reading, _ = self._process(self._geometry.resized((1, 1)))
        return Run(seconds - reading, image, seconds)

    def _process(self, geometry: XRayGeometry) -> tuple[float, np.ndarray]:
        out = Path(self._folder.name, "drr")
        command = [
            str(self._program), "drr", "-i", self._algorithm, "-P", "none", *plastimatch_geometry(geometry),
            "-I", str(self._volume), "-O", str(out),
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=self._environment, timeout=_LONGEST_S)
        seconds = time.perf_counter() - start
        (made,) = out.parent.glob("drr*.pfm")
        return seconds, read_pfm(made)


class DiffDrr:
    """DiffDRR's Siddon on the CPU as its documentation calls it: all rays at once."""

    label = "DiffDRR Siddon"
    most_runs = 1
    patch: int | None = None

    def __init__(self, scene: Scene):
        self._require_memory(scene)
        try:
            import torch
            from diffdrr.drr import DRR
            from diffdrr.pose import RigidTransform
            from torchio import ScalarImage, Subject
        except ImportError as error:
            raise UnavailableError(f"not installed ({error.name})") from None
        self._torch, geometry = torch, scene.geometry
        volume = ScalarImage(tensor=_ijk(scene.attenuation()), affine=scene.ct.ijk_to_ras)
        subject = Subject(
            volume=volume, density=volume, mask=None, orientation=None, fiducials=None, reorient=torch.eye(4)
        )
        rows, columns = geometry.shape
        self._drr = DRR(
            subject, sdd=geometry.sid, height=rows, width=columns, delx=geometry.spacing[1], dely=geometry.spacing[0],
            patch_size=self.patch if rows * columns > (self.patch or 0) ** 2 else None,
        )  # fmt: skip
        # Its camera looks along +z; x runs against the columns (reverse_x_axis), y against the rows.
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = np.stack([-geometry.columns, -geometry.rows, -geometry.to_source], axis=1)
        pose[:3, 3] = geometry.source
        self._pose = RigidTransform(torch.from_numpy(pose)[None])

    def run(self) -> Run:
        """One call of the module, without gradients."""
        with self._torch.inference_mode():
            start = time.perf_counter()
            image = self._drr(self._pose)
            return Run(time.perf_counter() - start, image[0, 0].numpy())

    def _require_memory(self, scene: Scene) -> None:
        """Measured: a dozen float32 numbers at once for every ray and plane of the grid."""
        planes = sum(scene.ct.array.shape) + 3
        needed = 48 * planes * scene.geometry.shape[0] * scene.geometry.shape[1]
        free = free_memory()
        if free is not None and free < needed:
            raise UnavailableError(f"needs {needed / 2**30:.0f} GiB of memory, {free / 2**30:.0f} GiB are free")


class DiffDrrInPatches(DiffDrr):
    """The same in series, which takes less memory, and less time where memory is slow to come."""

    patch = 128
    label = f"DiffDRR Siddon in patches of {patch} x {patch}"

    def _require_memory(self, scene: Scene) -> None:
        """Patches fit anywhere."""


class NanoDrr:
    """nanodrr: trilinear interpolation at its default of 500 points a ray, which is not exact."""

    label = "nanodrr trilinear"
    most_runs = None
    device = "cpu"

    def __init__(self, scene: Scene):
        try:
            import torch
            from nanodrr.data import Subject
            from nanodrr.drr import DRR
            from torchio import ScalarImage
        except ImportError as error:
            raise UnavailableError(f"not installed ({error.name})") from None
        self._torch, geometry = torch, scene.geometry
        image = ScalarImage(tensor=_ijk(scene.attenuation()), affine=scene.ct.ijk_to_ras)
        self._subject = Subject.from_images(image, convert_to_mu=False, max_label=0).to(self.device)
        rows, columns = geometry.shape
        self._drr = DRR.from_carm_intrinsics(
            sdd=geometry.sid, delx=geometry.spacing[1], dely=geometry.spacing[0], x0=0.0, y0=0.0,
            height=rows, width=columns, dtype=torch.float32, device=torch.device(self.device),
        )  # fmt: skip
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = np.stack([geometry.columns, geometry.rows, -geometry.to_source], axis=1)
        pose[:3, 3] = geometry.source
        self._pose = torch.from_numpy(pose)[None].to(self.device)

    def run(self) -> Run:
        """One call of the module, without gradients."""
        with self._torch.inference_mode():
            self._synchronise()
            start = time.perf_counter()
            image = self._drr(self._subject, self._pose)
            self._synchronise()
            return Run(time.perf_counter() - start, image[0, 0].cpu().numpy())

    def _synchronise(self) -> None:
        """Nothing runs on on a CPU when the call has returned."""


class NanoDrrOnCuda(NanoDrr):
    """The same by its Triton kernel."""

    label = "nanodrr trilinear on CUDA"
    device = "cuda"

    def __init__(self, scene: Scene):
        _with_cuda()
        super().__init__(scene)

    def _synchronise(self) -> None:
        self._torch.cuda.synchronize()


#: What ``--peers`` names, and its rows.
PEERS = {
    "ours": (Ours, OursAgain, OursOnCuda),
    "plastimatch-exact": (partial(Plastimatch, algorithm="exact"),),
    "plastimatch-uniform": (partial(Plastimatch, algorithm="uniform"),),
    "diffdrr": (DiffDrr, DiffDrrInPatches),
    "nanodrr": (NanoDrr, NanoDrrOnCuda),
}


# --- plastimatch ----------------------------------------------------------------------------------------------------


def plastimatch_program() -> Path:
    """Its executable, without the Python that wraps it. Raises `UnavailableError`."""
    try:
        import plastimatch
    except ImportError:
        raise UnavailableError("not installed") from None
    (program,) = Path(plastimatch.__file__).parent.glob("bin/plastimatch*")
    return program


def plastimatch_geometry(geometry: XRayGeometry) -> list[str]:
    """Options of ``plastimatch drr`` for a geometry; its world is LPS, and what its help calls row is the column."""

    def listed(values) -> str:
        return " ".join(f"{v:.9g}" for v in values)

    return [
        "-t", "pfm", "--sad", f"{geometry.sod:.9g}", "--sid", f"{geometry.sid:.9g}",
        "-r", listed(geometry.shape[::-1]), "-c", listed(geometry.principal_point),
        "-z", listed(np.array(geometry.shape[::-1]) * geometry.spacing[::-1]),
        "-o", listed(geometry.isocentre * _LPS_RAS), "-n", listed(geometry.to_source * _LPS_RAS),
        "--vup", listed(-geometry.rows * _LPS_RAS),
    ]  # fmt: skip


def place(image: sitk.Image, volume: Volume) -> None:
    """Give an ITK image the place of a volume."""
    image.SetSpacing(volume.spacing.tolist())
    image.SetDirection((volume.ijk_to_ras[:3, :3] / volume.spacing * _LPS_RAS[:, None]).ravel().tolist())
    image.SetOrigin((volume.ijk_to_ras[:3, 3] * _LPS_RAS).tolist())


def upright(image: sitk.Image) -> sitk.Image:
    """Axes flipped and exchanged to run left, posterior, superior: plastimatch takes no others.

    Raises `UnavailableError` for an oblique volume.
    """
    image = sitk.DICOMOrient(image, "LPS")
    if not np.allclose(image.GetDirection(), np.eye(3).ravel(), atol=1e-4):
        raise UnavailableError("takes no oblique volume")
    return image


def memory_folder() -> tempfile.TemporaryDirectory:
    """A folder that is no disk where the system has one (tmpfs)."""
    return tempfile.TemporaryDirectory(prefix="x2br-bench-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


def read_pfm(path: Path) -> np.ndarray:
    """A grey portable float map as plastimatch writes it: rows from the top."""
    with path.open("rb") as stream:
        _, size, scale = (stream.readline() for _ in range(3))
        columns, rows = (int(n) for n in size.split())
        return np.frombuffer(stream.read(), "<f4" if float(scale) < 0 else ">f4").reshape(rows, columns)


# --- tensors --------------------------------------------------------------------------------------------------------


def _ijk(array: np.ndarray):
    """An array (K, J, I) as torchio's tensor (1, I, J, K)."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0)))[None]


def _with_cuda():
    try:
        import torch
    except ImportError:
        raise UnavailableError("PyTorch is not installed") from None
    if not torch.cuda.is_available():
        raise UnavailableError("no CUDA device on this machine")
    return torch
