"""``x2br drr``: radiographs from a CT."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError
from ..files import folder_written_whole
from .arguments import add_command, add_geometry, count, numbers, positive, say

_EXAMPLES = """\
  x2br drr chest.nii.gz --out drrs
  x2br drr dicom_folder --labels bones.nii.gz --view LAT --remove-couch --dicom --out drrs
  x2br drr chest.nii.gz --labels bones.nii.gz --bones --out drrs
  x2br drr chest.nii.gz --angles -10,0,10 --size 1024 --pixel-spacing 0.45 --raw --out drrs
  x2br drr chest.nii.gz --random 100 --seed 7 --spectrum 120 --scatter 0.4 --photons 100000 --out drrs"""


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "drr", run, tell, "Make radiographs (DRRs) from a CT by exact ray tracing.", _EXAMPLES
    )
    command.add_argument("ct", type=Path, metavar="CT", help="NIfTI, NRRD, MetaImage, or a folder of DICOM slices")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the images")
    command.add_argument(
        "--labels",
        type=Path,
        help="bone labels of the CT: aims at the bones of the thorax (1-12 left ribs, 13-24 right ribs, 25 sternum, "
        "26 costal cartilages, 27-33 C1-C7, 34-45 T1-T12, 46-50 L1-L5, 51 sacrum, 52-57 shoulders), and writes where "
        "each bone is in the image, NAME.boxes.json",
    )
    command.add_argument("--bones", action="store_true", help="the labelled bones alone; needs --labels")
    command.add_argument("--remove-couch", action="store_true", help="take couch and sheets out of the CT first")

    where = command.add_argument_group("geometry (degrees, mm)")
    add_geometry(where, spacing=0.9, sid=1800.0, sod=1500.0)
    where.add_argument("--size", type=_size, default=(512, 512), metavar="N", help="pixels, or ROWS,COLUMNS; 512")
    where.add_argument("--isocentre", "--isocenter", type=numbers, metavar="R,A,S", help="default: bones, else body")
    where.add_argument(
        "--offset", type=numbers, default=[0.0, 0.0], metavar="X,Y", help="of the detector: to the image's right, down"
    )
    where.add_argument("--angles", type=numbers, metavar="A,B,...", help="turns about the body axis, one image each")
    where.add_argument("--tilt", type=float, default=0.0, help="about the image's columns, after the turn")
    where.add_argument("--roll", type=float, default=0.0, help="about the beam, last")

    where.add_argument("--random", type=count, metavar="N", help="N random poses about the view; see the next two")
    where.add_argument(
        "--random-rotation", type=numbers, metavar="A,T,R", help="most that angle, tilt, roll change; 15,10,5"
    )
    where.add_argument("--random-shift", type=numbers, metavar="R,A,S", help="most that the isocentre moves; 20,20,20")
    where.add_argument("--seed", type=_seed, default=0, help="of random poses and of noise; 0")

    how = command.add_argument_group("physics and presentation")
    beam = how.add_mutually_exclusive_group()
    beam.add_argument("--energy", type=positive, metavar="KEV", help="effective energy of the beam, 20 to 200; 70")
    beam.add_argument("--spectrum", type=positive, metavar="KVP", help="a tube's spectrum, 40 to 150 kV; needs SpekPy")
    how.add_argument("--scatter", type=float, default=0.0, metavar="F", help="its share of the signal, 0 to 0.95; 0")
    how.add_argument("--photons", type=positive, metavar="N", help="per pixel in the open beam: adds noise")
    how.add_argument("--clahe", action="store_true", help="equalise the pictures' local contrast (not --raw)")
    how.add_argument("--raw", action="store_true", help="also write the line integrals as NRRD")
    how.add_argument("--dicom", action="store_true", help="also write DICOM (DX), of nobody")


def run(options: argparse.Namespace) -> dict:
    """Render, and write 16-bit PNG with ``geometry.json``."""
    from ..volume_io import match_grid, read_ct, read_labels

    _check(options)
    loading = threading.Thread(target=_load_kernels)
    loading.start()
    start = time.perf_counter()
    ct = read_ct(options.ct)
    labels = match_grid(read_labels(options.labels), ct) if options.labels else None
    loading.join()
    say(f"read {options.ct.name}: {' x '.join(map(str, ct.array.shape[::-1]))} voxels")
    seconds = {"read": time.perf_counter() - start, "prepare": 0.0, "render": 0.0, "write": 0.0}

    from ..drr import DrrWriter, Exposure, ImagingChain, bones_only, isocentre, project_boxes, remove_couch

    start = time.perf_counter()
    poses, detector = _poses(options), _detector(options)
    beam = {"energy_kev": options.energy} if options.energy else {"kvp": options.spectrum}
    exposure = Exposure(scatter=options.scatter, photons=options.photons, seed=options.seed, **beam)
    if options.remove_couch:
        ct = remove_couch(ct)
    centre = options.isocentre if options.isocentre else isocentre(ct, labels)
    if options.bones:
        ct = bones_only(ct, labels)
    chain = ImagingChain(ct, exposure)
    seconds["prepare"] = time.perf_counter() - start

    images = []
    record = {"exposure": exposure.to_dict()}
    with folder_written_whole(options.out) as partial:
        writer = DrrWriter(partial, raw=options.raw, dicom=options.dicom, clahe=options.clahe)
        for number, pose in enumerate(poses):
            start = time.perf_counter()
            geometry = pose.geometry(detector, centre)
            image = chain.line_integrals(geometry, number)
            rendered = time.perf_counter()
            boxes = None if labels is None else project_boxes(labels, geometry)
            images.append(writer.add(f"drr_{pose.name}", image, geometry, record, boxes))
            seconds["render"] += rendered - start
            seconds["write"] += time.perf_counter() - rendered
        writer.finish(beside=options.out)
    return {
        "out": str(options.out),
        "images": images,
        "isocentre_ras_mm": [round(float(value), 3) for value in centre],
        "exposure": exposure.to_dict(),
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
    }


def _load_kernels() -> None:
    """Numba and the compiled kernels take half a second to load: done beside the reading of the CT."""
    import numpy as np

    from ..drr import RayTracer
    from ..geometry import XRayGeometry
    from ..volume import Volume

    RayTracer(Volume(np.zeros((1, 1, 1), dtype=np.int16), np.eye(4))).integrate(XRayGeometry(shape=(1, 1)))


def tell(result: dict) -> str:
    """The result in words."""
    images = result["images"]
    listed = ", ".join(images) if len(images) <= 6 else f"{images[0]} to {images[-1]}"
    return f"{len(images)} radiograph(s) in {result['out']}: {listed} (rendered in {result['seconds']['render']:.2f} s)"


def _check(options: argparse.Namespace) -> None:
    """Options that exclude or need each other are told before the CT is read."""
    if options.bones and not options.labels:
        raise InputError("--bones needs the bones' labels; give --labels")
    if not options.random and (options.random_rotation or options.random_shift):
        raise InputError("--random-rotation and --random-shift need --random; give the number of poses")
    if options.random and options.angles:
        raise InputError("--angles and --random exclude each other; give one of them")
    if len(options.offset) != 2:
        raise InputError("--offset takes two numbers, such as 10,-5")
    for option in ("isocentre", "random_rotation", "random_shift"):
        values = getattr(options, option)
        if values is not None and len(values) != 3:
            raise InputError(f"--{option.replace('_', '-')} takes three numbers, such as 10,-5,0")


def _poses(options: argparse.Namespace) -> Iterable:
    from ..drr import Pose, PoseRange, random_poses, series

    if not options.random:
        return series(options.view, options.angles or [0.0], tilt=options.tilt, roll=options.roll)
    spread = PoseRange()
    angle, tilt, roll = options.random_rotation or (spread.angle, spread.tilt, spread.roll)
    shift = options.random_shift or spread.shift
    about = Pose(options.view.lower(), options.view, tilt=options.tilt, roll=options.roll)
    return random_poses(about, options.random, options.seed, PoseRange(angle, tilt, roll, tuple(shift)))


def _detector(options: argparse.Namespace):
    from ..drr import Detector

    spacing = (options.pixel_spacing, options.pixel_spacing)
    return Detector(options.sid, options.sod, options.size, spacing, tuple(options.offset))


def _size(text: str) -> tuple[int, int]:
    """``N`` or ``ROWS,COLUMNS``, for argparse."""
    edges = [count(part) for part in text.split(",")]
    if len(edges) > 2:
        raise argparse.ArgumentTypeError(f"{text!r} is not N or ROWS,COLUMNS")
    return edges[0], edges[-1]


def _seed(text: str) -> int:
    """A whole number from 0, for argparse."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)
