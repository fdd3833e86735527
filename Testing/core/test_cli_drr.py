"""``x2br drr`` as a user types it: every option, one JSON object, and one line for what cannot be."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from X2BRLogic.cli import main
from X2BRLogic.cli.main import parser
from X2BRLogic.drr import PoseRange
from X2BRLogic.drr.attenuation import water_attenuation
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import VIEWS, XRayGeometry
from X2BRLogic.radiograph import read_radiograph
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import write_volume

SPACING = 8.0
CENTRE = np.array([10.0, -20.0, 30.0])


def grid(values) -> Volume:
    """Values on a grid centred on CENTRE."""
    matrix = np.diag([SPACING, SPACING, SPACING, 1.0])
    matrix[:3, 3] = CENTRE - SPACING * (np.array(values.shape[::-1]) - 1) / 2
    return Volume(values, matrix)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A trunk with a spine and a rib, on a couch; and the labels of the two."""
    folder = tmp_path_factory.mktemp("scan")
    k, j, i = np.indices((32, 36, 48))
    ct = np.full(k.shape, -1000, np.int16)
    ct[((i - 23.5) / 16) ** 2 + ((j - 18) / 11) ** 2 < 1] = 40
    labels = np.zeros(k.shape, np.uint8)
    labels[(abs(i - 23.5) < 2) & (abs(j - 12) < 2)] = 38
    labels[14:16, 8:28, 32:34] = 5
    ct[labels == 38] = 400
    ct[labels == 5] = 800
    ct[:, 2, 6:42] = 300
    write_volume(folder / "ct.nii.gz", grid(ct))
    write_volume(folder / "bones.nii.gz", grid(labels))
    write_volume(folder / "shoulder.nii.gz", grid(np.where(labels == 38, 52, 0).astype(np.uint8)))
    write_volume(folder / "strange.nii.gz", grid(np.where(labels == 38, 200, 0).astype(np.uint8)))
    return folder


@pytest.fixture
def x2br(scan, tmp_path, capsys, monkeypatch):
    """Run ``x2br drr ct.nii.gz --out out --json`` and more, in the scan's folder; the JSON object."""
    monkeypatch.chdir(scan)

    def run(*options, ct="ct.nii.gz"):
        usual = ["--out", str(tmp_path / "out"), "--size", "64", "--pixel-spacing", "8", "--json"]
        status = main(["drr", ct, *usual, *options])
        said = capsys.readouterr()
        assert status == 0, said.err
        assert len(said.out.splitlines()) == 1
        return json.loads(said.out)

    return run


@pytest.fixture
def fails(scan, tmp_path, capsys, monkeypatch):
    """Run it and expect exit 2, one line, nothing on stdout and nothing written; the line."""
    monkeypatch.chdir(scan)

    def run(*options, ct="ct.nii.gz", size="64"):
        status = main(["drr", ct, "--out", str(tmp_path / "out"), "--size", size, *options])
        said = capsys.readouterr()
        assert status == 2 and said.out == ""
        lines = [line for line in said.err.splitlines() if line.startswith("x2br: error: ")]
        assert len(lines) == 1 and said.err.rstrip().endswith(lines[0])
        assert list(tmp_path.iterdir()) == []
        return lines[0]

    return run


def geometries(out) -> dict[str, XRayGeometry]:
    images = json.loads((out / "geometry.json").read_text())["images"]
    return {name: XRayGeometry.from_dict(data) for name, data in images.items()}


def picture(out, name="drr_ap.png") -> np.ndarray:
    return np.asarray(Image.open(out / name)).astype(float)


# --- what it makes ----------------------------------------------------------------------------------------------------


def test_plain(x2br, tmp_path):
    result = x2br()
    assert result["images"] == ["drr_ap.png"] and result["out"] == str(tmp_path / "out")
    assert result["exposure"] == {"energy_kev": 70.0, "scatter": 0.0}
    assert set(result["seconds"]) == {"read", "prepare", "render", "write"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["drr_ap.png", "geometry.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    image = picture(tmp_path / "out")
    assert image.shape == (64, 64) and image.max() == 65535 and image[0, 0] == 0
    (geometry,) = geometries(tmp_path / "out").values()
    assert (geometry.sid, geometry.sod, geometry.spacing, geometry.view) == (1800, 1500, (8, 8), "AP")


@pytest.mark.parametrize("view", VIEWS)
def test_views(x2br, tmp_path, view):
    x2br("--view", view)
    (geometry,) = geometries(tmp_path / "out").values()
    expected = XRayGeometry.from_view(view)
    assert geometry.view == view and np.allclose(geometry.to_source, expected.to_source)
    assert np.allclose(geometry.columns, expected.columns)


def test_lists_that_begin_with_a_minus():
    lists = {"--angles": [-10, 0, 10], "--offset": [-1.5, 2], "--isocentre": [-0.5, 1e-3, -2], "--random-shift": [-1]}
    words = [word for option, values in lists.items() for word in (option, ",".join(map(str, values)))]
    options = parser().parse_args(["drr", "ct.nii", "--out", "o", *words, "--tilt", "-5", "--json"])
    assert (options.angles, options.offset, options.isocentre, options.random_shift) == tuple(lists.values())
    assert options.tilt == -5 and options.json
    with pytest.raises(InputError, match="expected one argument"):
        parser().parse_args(["drr", "ct.nii", "--out", "o", "--angles", "--offset", "1,2"])


def test_angles_tilt_and_roll(x2br, tmp_path):
    result = x2br("--angles", "-10,0,22.5", "--tilt", "6", "--roll=-3")
    assert result["images"] == ["drr_ap_-10.png", "drr_ap.png", "drr_ap_+22.5.png"]
    for name, angle in zip(result["images"], (-10, 0, 22.5), strict=True):
        expected = XRayGeometry.from_view("AP", angle=angle, tilt=6, roll=-3)
        geometry = geometries(tmp_path / "out")[name]
        assert np.allclose(geometry.to_source, expected.to_source) and np.allclose(geometry.rows, expected.rows)


def test_detector_and_distances(x2br, tmp_path):
    x2br("--size", "80,70", "--pixel-spacing", "6.5", "--sid", "1500", "--sod", "1200", "--offset=13,-26",
         "--isocentre=1,-2,3.5")  # fmt: skip
    (geometry,) = geometries(tmp_path / "out").values()
    assert geometry.shape == (80, 70) == picture(tmp_path / "out").shape
    assert geometry.spacing == (6.5, 6.5) and (geometry.sid, geometry.sod) == (1500, 1200)
    assert np.allclose(geometry.isocentre, (1, -2, 3.5))
    assert np.allclose(geometry.principal_point, (34.5 - 2, 39.5 + 4))


def test_the_isocentre_is_that_of_the_labelled_bones_or_of_the_body(x2br):
    # With the couch the body's box reaches from j = 2 to 28, without from 8.
    lying, floating = x2br()["isocentre_ras_mm"], x2br("--remove-couch")["isocentre_ras_mm"]
    assert np.allclose(np.subtract(floating, lying), (0, 3 * SPACING, 0))
    assert np.allclose(floating, CENTRE + np.array([0, 0.5 * SPACING, 0]), atol=1e-3)
    # The spine's and the rib's box: i 22-33, j 8-27, all of k.
    middle = CENTRE + SPACING * (np.array([(22 + 33) / 2, (8 + 27) / 2, 15.5]) - (23.5, 17.5, 15.5))
    assert np.allclose(x2br("--labels", "bones.nii.gz")["isocentre_ras_mm"], middle, atol=1e-3)
    assert x2br("--isocenter=7,8,9")["isocentre_ras_mm"] == [7, 8, 9]


def test_random_poses(x2br, tmp_path):
    result = x2br("--random", "5", "--seed", "4", "--view", "PA")
    assert result["images"] == [f"drr_pa_{n:04d}.png" for n in range(5)]
    first = geometries(tmp_path / "out")
    cosines = [geometry.to_source @ (0, -1, 0) for geometry in first.values()]
    limits = PoseRange()
    assert min(cosines) > np.cos(np.radians(limits.angle)) * np.cos(np.radians(limits.tilt)) - 1e-6
    assert len(set(cosines)) == 5
    x2br("--random", "5", "--seed", "4", "--view", "PA")
    again = geometries(tmp_path / "out")
    assert all(again[n].to_dict() == first[n].to_dict() for n in result["images"])
    moved = x2br("--random", "3", "--random-rotation", "0,0,0", "--random-shift", "0,0,50", "--isocentre=0,0,0")
    for name in moved["images"]:
        geometry = geometries(tmp_path / "out")[name]
        assert np.allclose(geometry.to_source, (0, 1, 0)) and np.allclose(geometry.isocentre[:2], 0)
        assert 0 < abs(geometry.isocentre[2]) <= 50


def test_energy_scales_the_line_integrals(x2br, tmp_path):
    read = lambda: read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels  # noqa: E731
    assert x2br("--raw", "--energy", "50")["exposure"]["energy_kev"] == 50
    low = read()
    x2br("--raw", "--energy", "100")
    assert np.allclose(low, read() * water_attenuation(50) / water_attenuation(100), rtol=1e-5)


def test_spectrum(x2br, tmp_path):
    pytest.importorskip("spekpy")
    x2br("--raw")
    mono = read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels
    assert x2br("--raw", "--spectrum", "120")["exposure"] == {"kvp": 120.0, "scatter": 0.0}
    poly = read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels
    assert np.corrcoef(mono.ravel(), poly.ravel())[0, 1] > 0.99 and 0.8 < poly.max() / mono.max() < 1.3


def test_scatter_and_noise_come_again_with_their_seed(x2br, tmp_path):
    options = ["--raw", "--scatter", "0.5", "--photons", "1e5"]

    def make(seed):
        assert x2br(*options, "--seed", seed)["exposure"]["seed"] == int(seed)
        return read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels

    first = make("1")
    assert np.array_equal(first, make("1")) and not np.array_equal(first, make("2"))
    x2br("--raw")
    clean = read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels
    assert first.max() < clean.max() - 0.2  # scatter fills the deepest shadow


def test_clahe_changes_the_picture_and_not_the_line_integrals(x2br, tmp_path):
    x2br("--raw")
    plain, raw = picture(tmp_path / "out"), (tmp_path / "out" / "drr_ap.nrrd").read_bytes()
    x2br("--raw", "--clahe")
    assert not np.array_equal(plain, picture(tmp_path / "out"))
    assert raw == (tmp_path / "out" / "drr_ap.nrrd").read_bytes()


def test_bones_alone(x2br, tmp_path):
    x2br("--raw", "--labels", "bones.nii.gz", "--bones")
    bones = read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels
    x2br("--raw", "--labels", "bones.nii.gz")
    everything = read_radiograph(tmp_path / "out" / "drr_ap.nrrd").pixels
    assert 0 < (bones > 0).sum() < 0.5 * (everything > 0).sum() and (bones <= everything + 1e-5).all()


def test_the_couch_goes(x2br, tmp_path):
    x2br("--raw", "--view", "LAT", "--isocentre=10,-20,30")
    lying = read_radiograph(tmp_path / "out" / "drr_lat.nrrd").pixels
    x2br("--raw", "--view", "LAT", "--isocentre=10,-20,30", "--remove-couch")
    floating = read_radiograph(tmp_path / "out" / "drr_lat.nrrd").pixels
    gone = (lying > 0.5) & (floating == 0)
    # Left lateral: the back is on the image's left.
    assert gone.sum() > 20 and np.nonzero(gone)[1].max() < 25
    assert np.allclose(lying[:, 30:], floating[:, 30:])


@pytest.mark.parametrize("suffix", ["png", "nrrd", "dcm"])
def test_every_format_reads_back(x2br, tmp_path, suffix):
    x2br("--raw", "--dicom", "--view", "PA", "--angles", "12", "--offset", "20,10")
    film = read_radiograph(tmp_path / "out" / f"drr_pa_+12.{suffix}")
    assert film.geometry.to_dict() == geometries(tmp_path / "out")["drr_pa_+12.png"].to_dict()
    assert film.scale_known and not film.warnings


def test_a_second_view_joins_the_first(x2br, tmp_path):
    x2br()
    x2br("--view", "LAT")
    assert {name: g.view for name, g in geometries(tmp_path / "out").items()} == {
        "drr_ap.png": "AP",
        "drr_lat.png": "LAT",
    }
    assert read_radiograph(tmp_path / "out" / "drr_ap.png").geometry.view == "AP"


def test_in_words(scan, tmp_path, capsys):
    assert main(["drr", str(scan / "ct.nii.gz"), "--out", str(tmp_path / "o"), "--size", "32"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 radiograph(s) in ") and "drr_ap.png" in said and said.count("\n") == 1


def test_a_plain_drr_imports_no_more_than_it_needs(scan, tmp_path):
    """It is compared with other programs as a whole process: PyTorch alone takes two seconds to import."""
    code = (
        "import sys; from X2BRLogic.cli import main; "
        f"main(['drr', {str(scan / 'ct.nii.gz')!r}, '--out', {str(tmp_path / 'o')!r}, '--size', '32']); "
        "print([m for m in ('torch', 'skimage', 'spekpy', 'trimesh', 'scipy.interpolate', 'scipy.spatial') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# --- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--view", "OBLIQUE"], "--view"),
        (["--size", "0"], "positive whole number"),
        (["--size", "64,64,64"], "ROWS,COLUMNS"),
        (["--size", "9000"], "9000"),
        (["--pixel-spacing", "0"], "positive"),
        (["--pixel-spacing", "nan"], "positive"),
        (["--sid", "-1800"], "positive"),
        (["--sid", "1000"], "cannot exceed"),
        (["--angles", "ten"], "list of numbers"),
        (["--angles", "nan"], "degrees"),
        (["--angles", "5,5"], "twice"),
        (["--tilt", "inf"], "degrees"),
        (["--roll", "much"], "--roll"),
        (["--isocentre", "1,2"], "three numbers"),
        (["--isocentre", "1,2,nan"], "isocentre"),
        (["--isocentre", "5000,0,0"], "misses the patient"),
        (["--offset", "1"], "two numbers"),
        (["--offset", "inf,0"], "offset"),
        (["--offset", "9000,0"], "misses the patient"),
        (["--random", "0"], "positive whole number"),
        (["--random", "2", "--angles", "1,2"], "exclude each other"),
        (["--random-rotation", "1,2,3"], "--random"),
        (["--random", "2", "--random-rotation", "1,2"], "three numbers"),
        (["--random", "2", "--random-shift", "1,-2,3"], "ranges"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "x"], "--seed"),
        (["--energy", "5"], "keV"),
        (["--energy", "70", "--spectrum", "120"], "not allowed"),
        (["--spectrum", "500"], "kV"),
        (["--scatter", "1"], "scatter"),
        (["--scatter", "-0.1"], "scatter"),
        (["--scatter", "nan"], "scatter"),
        (["--photons", "0"], "positive"),
        (["--photons", "0.5"], "photons"),
        (["--bones"], "--labels"),
        (["--labels", "nowhere.nii.gz"], "does not exist"),
        (["--labels", "ct.nii.gz"], "no label map"),
        (["--labels", "shoulder.nii.gz"], "no bone of the thorax"),
        (["--labels", "strange.nii.gz", "--bones", "--isocentre=0,0,0"], "no bone"),
    ],
)
def test_bad_options(fails, options, says):
    assert says in fails(*options)


def test_bad_scans(fails, scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    assert "does not exist" in fails(ct="nowhere.nii.gz")
    (folder / "text.nii.gz").write_text("no volume")
    assert "damaged" in fails(ct=str(folder / "text.nii.gz"))
    whole = (scan / "ct.nii.gz").read_bytes()
    (folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert "truncated" in fails(ct=str(folder / "cut.nii.gz"))
    air = np.full((20, 20, 20), -1000, np.int16)
    air[3, 3, 3] = 200
    write_volume(folder / "speck.nii.gz", grid(air))
    assert "no body" in fails("--remove-couch", ct=str(folder / "speck.nii.gz"))
    write_volume(folder / "water.nii.gz", grid(np.where(air == 200, 0, air).astype(np.int16)))
    assert "no CT" in fails(ct=str(folder / "water.nii.gz"))
    Image.new("L", (64, 64)).save(folder / "film.png")
    assert "not a CT" in fails(ct=str(folder / "film.png"))
    assert "no DICOM" in fails(ct=str(tmp_path_factory.mktemp("empty")))


def test_a_failure_leaves_the_folder_as_it_was(x2br, scan, tmp_path, capsys):
    x2br("--angles", "0,5")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    # The first pose is fine, the random ones go off the detector.
    assert main(["drr", str(scan / "ct.nii.gz"), "--out", str(tmp_path / "out"), "--size", "64",
                 "--random", "40", "--random-shift", "9000,0,0"]) == 2  # fmt: skip
    assert "misses" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_out_must_be_a_folder(scan, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert main(["drr", str(scan / "ct.nii.gz"), "--out", str(tmp_path / "file"), "--size", "32"]) == 2
    assert "is a file" in capsys.readouterr().err and (tmp_path / "file").read_text() == "mine"


def test_help_shows_examples_that_parse(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["drr", "--help"])
    assert stop.value.code == 0
    from X2BRLogic.cli.main import parser

    lines = capsys.readouterr().out.splitlines()
    examples = [line.split()[1:] for line in lines if line.startswith("  x2br ")]
    assert len(examples) >= 5
    for example in examples:
        assert parser().parse_args(example).command == "drr"
