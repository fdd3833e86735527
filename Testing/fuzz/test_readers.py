"""A few damaged files for every reader, and any JSON, TOML and arguments; ``make fuzz`` tries a hundred thousand."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from Testing.fuzz.case import BROKEN, READ, Cases
from Testing.fuzz.readers import READERS
from X2BRLogic.cli import main
from X2BRLogic.errors import InputError

#: Cases of a quick reader; slow ones have a smaller share.
_CASES = 40
#: Cases of the campaign that once were broken.
_FOUND = {
    "radiograph: DICOM": (941,),
    "weights: safetensors": (64, 234, 619),
    "virtual patients: JSON, NPZ": (627, 1250),
}
quick = settings(
    max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=5))
trees = st.recursive(
    numbers, lambda t: st.lists(t, max_size=4) | st.dictionaries(st.text(max_size=6), t, max_size=4), max_leaves=8
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused(reader, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", None)
    cases = Cases(reader, tmp_path / "case")
    cases.read_whole()
    numbers = [*range(min(reader.share // 100, _CASES)), *_FOUND.get(reader.name, ())]
    outcomes = [cases.run(number) for number in numbers]
    assert not [outcome for outcome in outcomes if outcome.kind == BROKEN]
    path, whole = cases.originals()[0]
    assert cases.judge(-1, path, whole).kind == READ  # the harness damages nothing else


def told_or_made(make, *arguments) -> object:
    """What it makes; of a refusal nothing. Whatever else is raised fails the test."""
    try:
        return make(*arguments)
    except InputError as error:
        assert 0 < len(str(error)) < 700
        return None


@quick
@given(trees, st.sampled_from(["sid_mm", "rows", "spacing_mm", "isocentre", "principal_point", "column_direction"]))
@example(float("inf"), "rows")
@example([10**400, 1], "spacing_mm")
def test_any_geometry(value, key):
    from X2BRLogic.geometry import XRayGeometry

    geometry = told_or_made(XRayGeometry.from_dict, XRayGeometry().to_dict() | {key: value})
    assert geometry is None or XRayGeometry.from_dict(geometry.to_dict()).to_dict() == geometry.to_dict()


@quick
@given(trees, st.sampled_from(["schema", "boxes", "group", "level", "box", "confidence"]))
def test_any_boxes(tmp_path_factory, value, key):
    from X2BRLogic.detection import read_boxes

    box = {"group": "ribs_left", "level": 4, "box": [1, 2, 3, 4], "confidence": 0.5}
    whole = {"schema": "x2br-boxes-1", "boxes": [box]}
    (whole if key in whole else box)[key] = value
    file = tmp_path_factory.mktemp("b") / "film.boxes.json"
    file.write_bytes(json.dumps(whole).encode("utf-8", "surrogatepass"))
    told_or_made(read_boxes, file)


@quick
@given(st.text(), st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=8)))
@example("steps", 10**40)
@example("batch", float("nan"))
def test_any_configuration(tmp_path_factory, name, value):
    from X2BRLogic.detection.config import read_detector_config
    from X2BRLogic.training.config import read_config

    file = tmp_path_factory.mktemp("c") / "run.toml"
    text = f"{json.dumps(name)} = {json.dumps(value).replace('NaN', 'nan').replace('Infinity', 'inf')}\n"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (read_config, read_detector_config):
        told_or_made(read, file)


@quick
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                "reconstruct drr detect evaluate register segment train models template show dataset".split()
            ),
            st.sampled_from("--out --view --sid --json --size --angles --boxes --method --workers -b -T --".split()),
            st.text(alphabet=st.characters(exclude_characters="\0"), max_size=6),
            st.integers().map(str),
            st.floats().map(str),
        ),
        max_size=6,
    )
)
def test_any_arguments(tmp_path_factory, capsys, arguments):
    """Of commands whose input does not exist: bad usage is one line, help is help."""
    where = tmp_path_factory.mktemp("none")
    try:
        status = main([a if a.startswith("-") or not a or a.isalpha() else str(where / "none" / a) for a in arguments])
    except SystemExit as left:  # --help
        status = left.code
    _, err = capsys.readouterr()
    assert status in (0, 2) and "Traceback" not in err and (status == 0 or err.count("x2br: error:") == 1), err
    assert not list(where.iterdir())
