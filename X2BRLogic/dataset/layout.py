"""What a data set looks like on disk: names of folders and files, and the keys of a subject's record.

::

    OUT/
      dataset.json             schema, program version, settings
      manifest.parquet         one row a subject, rejected and failed ones too
      index.html               the same for the eye
      subjects/NAME/
        subject.json           the record, see below
        thumbnail.png          DRR, and the bones in their colours
        ct.nrrd, bones.nrrd    int16 HU and uint8 labels (`X2BRLogic.anatomy`), on one grid
        thorax.ply             ribs, sternum and T1-T12 as one closed mesh, RAS mm
        meshes/BONE.ply        one closed mesh a bone, RAS mm
        occupancy.npz          points in the mesh's unit box and the 32^3 grid, see `X2BRLogic.dataset.occupancy`
        drr/VIEW.png           16-bit, with geometry.json, which says where each one was taken
        boxes/VIEW.json        2D boxes of the bones in pixels
        depth/VIEW.npz         front and back of the thorax and of each bone, mm from the source along the ray

A rejected subject has its record and thumbnail alone, a failed one its record alone.

The record, ``subject.json``:

``schema``           `SCHEMA`
``name``, ``person`` the subject, and whose scan it is: split training from test by person
``status``           `ACCEPTED`, `REJECTED` or `FAILED`
``reasons``          sentences: why it was rejected or failed; empty otherwise
``remarks``          sentences: what a user should know and training can live with
``gates``            keys of the quality gates that reject it
``measures``         numbers that the verdict rests on (`X2BRLogic.dataset.quality`)
``labels``           ``method``: given, atlas or totalsegmentator; ``notes``: sentences
``source``           ``ct`` and ``labels`` below their input folders, ``sha256`` of both contents, ``stamp`` (of names,
                     sizes, times), ``bytes``
``settings_sha256``  of the settings in dataset.json
``scan``             ``shape`` [k, j, i] and ``spacing`` [i, j, k] mm of the scan
``grid``             ``shape`` and ``ijk_to_ras`` of ct.nrrd and bones.nrrd
``bones``            by name: ``label``, ``volume_mm3``, ``cut`` (whether the scan cuts it off), ``mesh`` (path, null
                     for the shoulder girdle, which is context, and where too few voxels are there)
``views``            list of ``name``, ``image``, ``boxes``, ``depth`` (paths)
``files``            by path: ``sha256`` and ``bytes`` of every file but the record
``seconds``          by stage
``x2br``             the program's version

Keys from ``labels`` on may be missing where a subject failed before they were known. Paths have forward slashes.
"""

from __future__ import annotations

from pathlib import Path

SCHEMA = 1

DATASET = "dataset.json"
MANIFEST = "manifest.parquet"
PAGE = "index.html"
SUBJECTS = "subjects"

RECORD = "subject.json"
THUMBNAIL = "thumbnail.png"
CT = "ct.nrrd"
LABELS = "bones.nrrd"
THORAX = "thorax.ply"
MESHES = "meshes"
OCCUPANCY = "occupancy.npz"
DRR = "drr"
BOXES = "boxes"
DEPTH = "depth"

ACCEPTED = "accepted"
REJECTED = "rejected"
FAILED = "failed"


def subject_folder(dataset: Path, name: str) -> Path:
    """Where a subject's files are."""
    return dataset / SUBJECTS / name
