"""What the Imaging Data Commons holds, asked of the index that ships with the `idc-index-data` package.

DuckDB reads only the columns that are asked for: a query takes under a second, where `idc_index.IDCClient` first loads
the whole table (16 s and 1.7 GB on two cores).
"""

from __future__ import annotations

import difflib
import html
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ...errors import InputError

#: A thorax from T1 to T12 with its ribs is at least so tall (mm); with fewer slices a series is a part, or too thick.
MIN_HEIGHT_MM = 250.0
#: More slices are a perfusion or gated series, the same place many times over.
MAX_SLICES = 1500
#: Body parts whose scans hold the thorax whole, as scanners write them (DICOM PS3.16 CID 4031 and free text).
CHEST = "chest|thorax|lung|whole ?body"
#: Descriptions of what is no axial scan of the body.
NOT_AXIAL = r"scout|topogram|localizer|surview|dose|coronal|sagittal|\bcor\b|\bsag\b|\bmip\b|bolus|monitoring|biopsy"
#: NLST describes a series as year, type, maker, model, kernel, field of view, slice thickness, kV, ...
_NLST_THICKNESS = r"^[0-9],[A-Z]+,[^,]*,[^,]*,[^,]*,[^,]*,([0-9.]+),"


@dataclass(frozen=True)
class Collection:
    """A collection: its id, its title, and how it asks to be cited, a line a source."""

    name: str
    title: str
    citations: tuple[str, ...]


@dataclass(frozen=True)
class Series:
    """A CT series.

    Attributes:
        subject, study, uid: DICOM PatientID, StudyInstanceUID, SeriesInstanceUID.
        slices: number of DICOM files.
        megabytes: of all of them, 10^6 bytes.
        thickness: of the slices in mm, ``None`` where the index does not tell.
        licence: short name, e.g. ``CC BY 3.0``.
        doi: of the data set it belongs to.
        url: ``s3://bucket/folder/*``.
        description: SeriesDescription.
    """

    subject: str
    study: str
    uid: str
    slices: int
    megabytes: float
    thickness: float | None
    licence: str
    doi: str
    url: str
    description: str


class Index:
    """The index that is installed.

    Raises `InputError` when it is not.
    """

    def __init__(self):
        try:
            import duckdb
            import idc_index_data
        except ImportError:
            raise InputError(
                "dataset fetch needs the packages idc-index and duckdb; install them with pip install idc-index"
            ) from None
        self.version = version("idc-index-data")
        self._series = str(idc_index_data.IDC_INDEX_PARQUET_FILEPATH)
        self._collections = str(idc_index_data.INDEX_METADATA["collections_index"]["parquet_filepath"])
        self._ask = duckdb.connect()

    def collection(self, name: str) -> Collection:
        """A collection by its name, in any case, with hyphens or underscores, or by the start of it if that is unique.

        Raises `InputError`, with the nearest names, when there is none.
        """
        wanted = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        known = [row[0] for row in self._ask.execute(f"SELECT collection_id FROM '{self._collections}'").fetchall()]
        begin = [each for each in known if wanted and each.startswith(f"{wanted}_")]
        found = wanted if wanted in known else begin[0] if len(begin) == 1 else None
        if found is None:
            near = sorted(begin) or sorted(each for each in known if len(wanted) > 2 and wanted in each)
            near = (near or difflib.get_close_matches(wanted, known, n=3, cutoff=0.5))[:5]
            raise InputError(
                f"the Imaging Data Commons (index {self.version}) has no collection {name}"
                + (
                    f"; the nearest are {', '.join(near)}"
                    if near
                    else "; see https://portal.imaging.datacommons.cancer.gov"
                )
            )
        title, sources = self._ask.execute(
            f"SELECT collection_name, sources FROM '{self._collections}' WHERE collection_id = ?", [found]
        ).fetchone()
        cited = [
            s["citation"] for s in sources or () if s["source_type"] == "original_data" and "CT" in s["modalities"]
        ]
        plain = [" ".join(html.unescape(re.sub(r"<[^>]+>", "", text)).split()) for text in cited if text]
        return Collection(found, title, tuple(plain))

    def series(self, collection: Collection, max_thickness: float, acquisitions: Path | None = None) -> list[Series]:
        """The collection's original axial CT series of the thorax, thin and tall enough, as far as the index can tell.

        Args:
            max_thickness: of the slices in mm. There must be as many slices as a thorax has at this distance; the index
                does not tell theirs, which may be more than their thickness.
            acquisitions: the index package's table ``ct_index`` (slice thickness, image type), which is not shipped.

        Returns:
            Sorted by subject in an order that does not depend on how many are taken, then thinnest slices first. The
            order of the subjects is that of a hash of their names, so that the first hundred are no hospital's block.
        """
        thickness = "NULL" if acquisitions is None else "a.SliceThickness"
        kind = "TRUE" if acquisitions is None else "coalesce(a.ImageType::VARCHAR NOT ILIKE '%LOCALIZER%', TRUE)"
        join = "" if acquisitions is None else f"LEFT JOIN '{acquisitions}' a USING (SeriesInstanceUID)"
        rows = self._ask.execute(
            f"""
            WITH candidates AS (
                SELECT i.PatientID, i.StudyInstanceUID, SeriesInstanceUID, i.instanceCount, i.series_size_MB,
                    coalesce({thickness}, try_cast(regexp_extract(i.SeriesDescription, $nlst, 1) AS DOUBLE)) AS thick,
                    i.license_short_name, i.source_DOI, i.series_aws_url, coalesce(i.SeriesDescription, '') AS told
                FROM '{self._series}' i {join}
                LEFT JOIN '{self._collections}' c ON c.collection_id = i.collection_id
                WHERE i.collection_id = $collection AND i.Modality = 'CT' AND i.sop_class_name = 'CT Image Storage'
                    AND i.analysis_result_id IS NULL AND {kind}
                    AND (regexp_matches(i.BodyPartExamined, $chest, 'i') OR (i.BodyPartExamined IS NULL
                        AND regexp_matches(concat_ws(' ', c.tumor_locations, i.SeriesDescription), $chest, 'i')))
                    AND NOT regexp_matches(coalesce(i.SeriesDescription, ''), $not_axial, 'i')
            )
            SELECT * FROM candidates
            WHERE (thick IS NULL OR thick BETWEEN 0.1 AND $thickness) AND instanceCount <= $most
                AND instanceCount * $thickness >= $height
            ORDER BY md5(PatientID), PatientID, thick NULLS LAST, instanceCount DESC, SeriesInstanceUID
            """,
            {
                "nlst": _NLST_THICKNESS,
                "chest": CHEST,
                "not_axial": NOT_AXIAL,
                "collection": collection.name,
                "thickness": max_thickness,
                "most": MAX_SLICES,
                "height": MIN_HEIGHT_MM,
            },
        ).fetchall()
        return [Series(*row) for row in rows]
