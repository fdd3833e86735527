"""``x2br register``: one shape laid onto another."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from ..errors import InputError
from .arguments import add_command, count, positive, say

_EXAMPLES = """\
  x2br register rib_a.ply rib_b.ply --out rib_a_on_b.ply
  x2br register template.ply patient.ply --gamma 0.1 --normalise x --out fitted.ply --json
  x2br register a.ply b.ply --method gbcpd -w0 -b1 -l50 -g3 --tau 0.2 -J300 -K150 -c1e-6 -r1 --out a_on_b.ply
  x2br register a.ply b.ply --method cpd --transformation sr --out a_on_b.ply
  x2br register cloud.txt scan.npy --method bcpd++ -D X,6000,0.08 -D Y,5000,0.05 --out new.txt

The short options are those of the author's program bcpd, and mean the same; with the same seed the same points are
drawn. Lengths are in normalised coordinates: 1 is the standard deviation of the points about their mean.
Preset: -w 0.05 -b 0.7 -l 20 -g 1 --tau 0.5 -u e -T srn -K 300 -J 300 -p -D B,5000,0.02 -c 1e-6 -n 500;
for cpd -w 0.1 -b 2 -l 3 -T n -K 0 -J 0 -c 1e-5 -n 150; for ndp 9 levels of -n 500."""

_METHODS = ("gbcpd++", "gbcpd", "bcpd++", "bcpd", "cpd", "ndp")


def add_to(subparsers) -> None:
    """Add the sub-command."""
    command = add_command(
        subparsers, "register", run, tell, "Lay one mesh or point cloud onto another, non-rigidly.", _EXAMPLES
    )
    command.add_argument("moving", type=Path, metavar="MOVING", help="PLY, STL, OBJ, OFF; points as TXT, XYZ, CSV, NPY")
    command.add_argument("fixed", type=Path, metavar="FIXED", help="what it is laid onto; the same kinds of file")
    command.add_argument("--method", choices=_METHODS, default="gbcpd++", help="default gbcpd++; ++ thins large shapes")
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="deformed MOVING; a .json lies beside")

    model = command.add_argument_group("model (all methods but ndp)")
    model.add_argument("-w", "--omega", type=float, metavar="P", help="share of outliers in FIXED")
    model.add_argument("-b", "--beta", type=positive, metavar="LENGTH", help="range of common motion")
    model.add_argument("-l", "--lambda", type=positive, dest="lambda_", metavar="X", help="stiffness")
    model.add_argument("-g", "--gamma", type=positive, metavar="X", help="how much of the first pose is forgotten")
    model.add_argument("-k", "--kappa", type=positive, metavar="X", help="evenness of mixing; default infinite")
    model.add_argument("--tau", type=float, metavar="X", help="share of geodesics in the kernel; gbcpd only")
    model.add_argument("-z", "--epsilon", type=float, metavar="X", help="smallest eigenvalue of that kernel kept")
    model.add_argument("-T", "--transformation", metavar="LETTERS", help="s scale, r rotation, n non-rigid, a affine")
    model.add_argument("-u", "--normalise", choices=tuple("exyn"), help="e each, x by FIXED, y by MOVING, n no")

    speed = command.add_argument_group("speed")
    speed.add_argument("-K", "--nystrom-g", type=int, metavar="N", help="landmarks of the motion kernel; 0 exact")
    speed.add_argument("-J", "--nystrom-p", type=int, metavar="N", help="points for the matching sums; 0 exact")
    speed.add_argument(
        "-p",
        "--local",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="near the end sum over neighbours",
    )
    speed.add_argument("-d", "--local-sigmas", type=positive, metavar="X", help="near is within so many residuals")
    speed.add_argument("-e", "--local-radius", type=positive, metavar="LENGTH", help="and this")
    speed.add_argument("-f", "--local-below", type=positive, metavar="LENGTH", help="which residual counts as the end")
    speed.add_argument(
        "-D", "--downsample", action="append", metavar="SET,N,SIZE",
        help="X (FIXED), Y (MOVING), B(oth) to N points, even over voxels of SIZE (x y b: balls; 0: random)",
    )  # fmt: skip

    end = command.add_argument_group("end")
    end.add_argument("-c", "--tolerance", type=positive, metavar="LENGTH", help="residual, or change of it, to stop at")
    end.add_argument("-n", "--iterations", type=count, metavar="N", help="at most; of ndp: a level")
    end.add_argument("-N", "--minimum-iterations", type=count, metavar="N", help="at least")
    end.add_argument("-r", "--seed", type=int, metavar="N", help="of all random choices")


def run(options: argparse.Namespace) -> dict:
    """Read both shapes, register, and write the deformed one; the summary."""
    if options.downsample and not options.method.endswith("++"):
        raise InputError(f"--downsample is for bcpd++ and gbcpd++, not for {options.method}; leave it out")
    from ..registration import DEFAULTS, register, warm_up
    from ..registration.distance import symmetric_distance
    from ..registration.files import check_output, read_shape, write_registration

    settings = _settings(options, DEFAULTS[options.method])
    moving, fixed = read_shape(options.moving), read_shape(options.fixed)
    check_output(options.out, moving)
    if not options.out.parent.is_dir():  # said now, not after the work
        raise InputError(f"the folder of {options.out} does not exist; make it first")
    warming = warm_up() if options.method != "ndp" else 0.0
    told = -1

    def progress(fraction: float, stage: str) -> None:
        nonlocal told
        if int(10 * fraction) > told:
            told = int(10 * fraction)
            say(f"{fraction:4.0%} {stage}")

    registration = register(moving, fixed, options.method, settings, progress)
    for warning in registration.warnings:
        say(f"x2br: warning: {warning}")
    start, end = getattr(moving, "vertices", moving), getattr(fixed, "vertices", fixed)
    summary = {
        "moving": str(options.moving),
        "fixed": str(options.fixed),
        **registration.summary(),
        "warm_up_seconds": round(warming, 4),
        "distance_before_mm": round(symmetric_distance(start, end), 4),
        "distance_after_mm": round(symmetric_distance(registration.vertices, end), 4),
        "settings": {field.name: getattr(settings, field.name) for field in fields(settings)},
    }
    if summary["settings"].get("kappa") == float("inf"):
        summary["settings"]["kappa"] = None  # JSON knows no infinity
    out = {"shape": str(options.out), "summary": str(options.out.with_suffix(".json"))}
    write_registration(options.out, moving, registration, summary)
    return summary | {"out": out}


def _settings(options: argparse.Namespace, preset):
    """The method's settings with what was given on the command line."""
    from ..registration import Settings

    changes = {field.name: getattr(options, field.name) for field in fields(Settings)}
    changes = {name: value for name, value in changes.items() if value is not None}
    if strange := sorted(changes.keys() - {field.name for field in fields(preset)}):
        option = strange[0].rstrip("_").replace("_", "-")
        raise InputError(f"--{option} means nothing to {options.method}; leave it out")
    if "downsample" in changes:
        changes["downsample"] = tuple(changes["downsample"])
    return replace(preset, **changes)


def tell(result: dict) -> str:
    """The result in words."""
    return (
        f"{result['method']}: {result['distance_before_mm']:.2f} mm apart before, {result['distance_after_mm']:.2f} mm "
        f"after; {result['iterations']} iterations ({result['reason']}), {result['seconds']:.2f} s\n"
        + "\n".join(f"  {path}" for path in result["out"].values())
    )
