"""Reads the skeleton of a user's own SKEL (or BSM-derived) model file. Nothing of the model ships with X2BR.

SKEL: Keller et al., From Skin to Skeleton: Towards Biomechanically Accurate 3D Digital Humans, SIGGRAPH Asia 2023;
non-commercial, from https://skel.is.tue.mpg.de. Its files are pickles, which can run code when they are read; here
only arrays, sparse matrices and plain containers are let through.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import trimesh
from scipy import sparse

from ..errors import InputError
from ..files import reason
from ..intact import require_modest
from .contact import joints_of
from .pieces import named_pieces
from .skeleton import Skeleton

SUFFIXES = (".pkl", ".npz")
#: Parts of SKEL's skeleton in the order of its skinning weights.
PARTS = (
    "pelvis femur_r tibia_r talus_r calcn_r toes_r femur_l tibia_l talus_l calcn_l toes_l lumbar_body thorax head "
    "scapula_r humerus_r ulna_r radius_r hand_r scapula_l humerus_l ulna_l radius_l hand_l"
).split()
_TRUNK = ("lumbar_body", "thorax")
#: SKEL's frame (x to the left, y up, z to the front, metres) to RAS mm.
_TO_RAS_MM = 1000.0 * np.array([[-1.0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1e-3]])
_VERTICES, _FACES, _WEIGHTS = "skel_template_v", "skel_template_f", "skel_weights"

_NUMPY = {("multiarray", "_reconstruct"), ("multiarray", "scalar"), ("numeric", "_frombuffer")}
_SPARSE = {f"{kind}_{what}" for kind in ("csr", "csc", "coo") for what in ("matrix", "array")}


def read_skel(path: Path) -> Skeleton:
    """The thorax and the lumbar spine of a SKEL model in its rest pose, bones named by where they lie.

    Args:
        path: SKEL's ``skel_male.pkl`` or ``skel_female.pkl``, or an ``.npz`` with the same three arrays:
            ``skel_template_v`` (V, 3), ``skel_template_f`` (F, 3), ``skel_weights`` (V, 24).

    Raises:
        InputError: the file holds something else than arrays, lacks one of them, or its bones cannot be told apart.
    """
    data = _load_npz(path) if path.suffix.lower() == ".npz" else _load_pickle(path)
    vertices, faces, weights = _arrays(data, path)
    part = weights.argmax(axis=1)
    trunk = np.isin(part, [PARTS.index(name) for name in _TRUNK])
    mesh = trimesh.Trimesh(vertices, faces[trunk[faces].all(axis=1)], process=False)
    mesh.remove_unreferenced_vertices()
    mesh.apply_transform(_TO_RAS_MM)
    bones, notes = named_pieces(mesh)
    return Skeleton(bones, joints_of(bones), {"source": path.name}, notes)


def _arrays(data: dict, path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    missing = [key for key in (_VERTICES, _FACES, _WEIGHTS) if key not in data]
    if missing:
        raise InputError(f"{path} has no {missing[0]}; give SKEL's own skel_male.pkl or skel_female.pkl")
    weights = data[_WEIGHTS]
    try:
        vertices = np.asarray(data[_VERTICES], dtype=np.float64)
        faces = np.asarray(data[_FACES], dtype=np.int64)
        weights = np.asarray(weights.todense() if sparse.issparse(weights) else weights, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: its skeleton is not numbers ({reason(error)}); download the model again") from None
    sound = (
        vertices.ndim == faces.ndim == weights.ndim == 2
        and vertices.shape[1:] == faces.shape[1:] == (3,)
        and weights.shape == (len(vertices), len(PARTS))
        and len(faces) > 0
        and faces.min() >= 0
        and faces.max() < len(vertices)
        and np.isfinite(vertices).all()
    )
    if not sound:
        raise InputError(f"{path}: its skeleton's vertices, faces and weights do not fit each other; download it again")
    return vertices, faces, weights


def _load_npz(path: Path) -> dict:
    try:
        require_modest(path)
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except InputError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(f"{path} is damaged, or holds more than plain arrays ({reason(error)})") from None


def _load_pickle(path: Path) -> dict:
    try:
        with path.open("rb") as stream:
            data = _ArraysOnly(stream, encoding="latin1").load()
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except Exception as error:  # a damaged pickle fails with whatever its opcodes stumble over
        raise InputError(f"{path} is damaged or no SKEL model ({reason(error)}); download it again") from None
    if not isinstance(data, dict):
        raise InputError(f"{path} holds no table of arrays; give SKEL's own skel_male.pkl or skel_female.pkl")
    return data


class _ArraysOnly(pickle.Unpickler):
    """Lets NumPy arrays, sparse matrices of SciPy and plain containers through, and nothing that could act."""

    def find_class(self, module: str, name: str):
        root, last = module.split(".")[0], module.split(".")[-1]
        if root == "numpy" and ((last, name) in _NUMPY or (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}):
            return super().find_class(module, name)
        if root == "scipy" and module.startswith("scipy.sparse") and name in _SPARSE:
            return getattr(sparse, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in a pickle of Python 2
            return _latin1
        if (module, name) in {("builtins", "set"), ("builtins", "frozenset"), ("collections", "OrderedDict")}:
            return super().find_class(module, name)
        raise InputError(f"asks to run {module}.{name}, which data does not need; X2BR does not read it")


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise InputError(f"holds bytes written as {encoding}; X2BR does not read it")
    return text.encode("latin1")
