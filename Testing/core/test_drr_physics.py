"""What makes a DRR a radiograph: energies, spectra, scatter, noise, and which parts of the scan are in the beam."""

import sys

import numpy as np
import pytest

from X2BRLogic import anatomy
from X2BRLogic.drr import (
    Detector,
    Exposure,
    ImagingChain,
    Pose,
    PoseRange,
    RayTracer,
    Renderer,
    as_radiograph,
    bones_only,
    isocentre,
    random_poses,
    remove_couch,
    series,
)
from X2BRLogic.drr.attenuation import water_and_bone, water_attenuation
from X2BRLogic.drr.degradation import add_noise, add_scatter
from X2BRLogic.drr.spectrum import PolychromaticRenderer, Spectrum, tube_spectrum
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import XRayGeometry
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import match_grid, read_ct, read_labels

ALONG_THE_BEAM = XRayGeometry(shape=(1, 1))


def block(hounsfield, edge_mm=100.0, dtype=np.int16) -> Volume:
    """A homogeneous cube about the isocentre."""
    matrix = np.diag([edge_mm / 20] * 3 + [1.0])
    matrix[:3, 3] = -9.5 * edge_mm / 20
    return Volume(np.full((20, 20, 20), hounsfield, dtype), matrix)


def bone_hounsfield(energy=70.0) -> float:
    water, bone = water_and_bone(np.array([energy]))
    return 1000 * float(bone[0] / water[0] - 1)


# --- attenuation and spectra ------------------------------------------------------------------------------------------


def test_water_and_cortical_bone_are_those_of_nist():
    """NIST SRD 126 table 4 at 30 and 80 keV; ICRU-44 density of cortical bone 1.92 g/cm^3."""
    water, bone = water_and_bone(np.array([30.0, 80.0]))
    assert np.allclose(water, [0.03756, 0.01837], rtol=1e-6)
    assert np.allclose(bone, np.array([1.331, 0.2229]) * 0.192, rtol=1e-6)
    assert water_attenuation(80) == pytest.approx(0.01837, rel=1e-6)
    # Skeletal tissue ends at about 1600 HU in Schneider et al. 2000.
    assert 1500 < bone_hounsfield() < 1650


def test_between_its_entries_the_table_agrees_with_another_source():
    """SpekPy's own tables, at energies where ours has none."""
    spekpy = pytest.importorskip("spekpy")
    energies = np.array([35.0, 45.0, 55.0, 70.0, 90.0, 120.0])
    data = spekpy.Spek(kvp=120, dk=2).mu_data
    water, bone = water_and_bone(energies)
    assert np.allclose(water * 10, data.get_mu_over_rho_composition("Water, Liquid", energies)[0], rtol=0.006)
    theirs = data.get_mu_over_rho_composition("Bone, Cortical (ICRU)", energies)[0]
    assert np.allclose(bone * 10 / 1.92, theirs, rtol=0.01)


def test_a_tube_spectrum_is_an_energy_fluence_up_to_the_tube_voltage():
    spekpy = pytest.importorskip("spekpy")
    means = []
    for kvp in (60, 90, 120):
        spectrum = tube_spectrum(kvp)
        assert spectrum.weights.sum() == pytest.approx(1) and spectrum.energies_kev.max() <= kvp
        means.append(spectrum.weights @ spectrum.energies_kev)
    assert means == sorted(means) and 55 < means[-1] < 70
    tube = spekpy.Spek(kvp=120, th=12, dk=2)
    tube.filter("Al", 3)
    energies, fluence = tube.get_spectrum()
    expected = np.interp(spectrum.energies_kev, energies, energies * fluence)
    assert np.allclose(spectrum.weights, expected / expected.sum(), rtol=1e-6)


def test_a_spectrum_without_spekpy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "spekpy", None)
    with pytest.raises(InputError, match=r"x2br\[physics\]"):
        tube_spectrum(100)
    for kvp in (10, 400, float("nan")):
        with pytest.raises(InputError, match="kV"):
            tube_spectrum(kvp)


@pytest.mark.parametrize(
    ("energies", "weights"), [([60], [0]), ([60, 70], [1]), ([60, 70], [2, -1]), ([5], [1]), ([300], [1])]
)
def test_a_spectrum_must_make_sense(energies, weights):
    with pytest.raises(InputError, match="spectrum"):
        Spectrum(np.array(energies), np.array(weights))


def test_the_signal_of_a_spectrum_is_the_sum_over_its_energies():
    """Two energies through 100 mm of water and of cortical bone: the closed form."""
    spectrum = Spectrum(np.array([40.0, 90.0]), np.array([3.0, 1.0]))
    for hounsfield, attenuation in zip((0, bone_hounsfield()), water_and_bone(np.array([40.0, 90.0])), strict=True):
        ct = block(hounsfield, dtype=np.float32)
        effective = PolychromaticRenderer(ct, spectrum).line_integrals(ALONG_THE_BEAM)[0, 0]
        assert effective == pytest.approx(-np.log(np.array([0.75, 0.25]) @ np.exp(-100 * attenuation)), rel=1e-4)


def test_the_beam_hardens():
    spectrum = Spectrum(np.arange(30.0, 110.0, 10.0), np.ones(8))
    per_mm = [
        PolychromaticRenderer(block(0, edge), spectrum).line_integrals(ALONG_THE_BEAM)[0, 0] / edge
        for edge in (1.0, 50.0, 300.0)
    ]
    water, _ = water_and_bone(spectrum.energies_kev)
    assert per_mm[0] == pytest.approx(water.mean(), rel=5e-3)
    assert per_mm[0] > 1.03 * per_mm[1] > 1.03 * 1.05 * per_mm[2]


def test_at_the_cts_own_energy_a_spectrum_changes_nothing():
    """Whatever the mixture, the split into water and bone gives back each voxel's own attenuation."""
    values = np.random.default_rng(1).integers(-1024, 2500, (24, 24, 24)).astype(np.int16)
    ct = Volume(values, np.diag([3.0, 3.0, 3.0, 1.0]))
    geometry = XRayGeometry.from_view("AP", angle=20, tilt=5, shape=(40, 40), spacing=(2, 2), isocentre=(35, 35, 35))
    line = Spectrum(np.array([60.0]), np.ones(1))
    mono = Renderer(ct, energy_kev=60).line_integrals(geometry)
    assert mono.max() > 1
    split = PolychromaticRenderer(ct, line, ct_energy_kev=60).line_integrals(geometry)
    assert np.allclose(split, mono, rtol=1e-4, atol=1e-5)
    # At another energy it does change: bone and water differ.
    softer = PolychromaticRenderer(ct, Spectrum(np.array([40.0]), np.ones(1)), ct_energy_kev=60).line_integrals(
        geometry
    )
    assert softer.max() > 1.3 * mono.max() * water_attenuation(40) / water_attenuation(60)


def test_metal_leaves_finite_numbers():
    spectrum = Spectrum(np.array([40.0, 90.0]), np.ones(2))
    assert np.isfinite(PolychromaticRenderer(block(30000, 400), spectrum).line_integrals(ALONG_THE_BEAM)).all()


# --- scatter and noise ------------------------------------------------------------------------------------------------


@pytest.fixture
def shadow():
    """Line integrals of an ellipsoid of soft tissue in the open beam."""
    y, x = np.mgrid[-1:1:128j, -1:1:96j]
    return (5 * np.sqrt(np.maximum(0.5 - x**2 - 0.8 * y**2, 0))).astype(np.float32)


def test_scatter_has_the_share_that_is_asked_for(shadow):
    for fraction in (0.3, 0.7):
        image = add_scatter(shadow, fraction, (2.0, 3.0))
        behind = shadow > 0.1
        primary, total = np.exp(-shadow[behind]).mean(), np.exp(-image[behind].astype(float)).mean()
        assert (total - primary) / total == pytest.approx(fraction, abs=1e-5)
        assert np.ptp(image) < np.ptp(shadow) and image.dtype == np.float32
    assert add_scatter(shadow, 0.0, (2.0, 3.0)) is shadow
    nothing = np.zeros((32, 32), np.float32)
    assert (add_scatter(nothing, 0.5, (2.0, 2.0)) == 0).all()


def test_scatter_falls_off_exponentially_and_alike_in_all_directions():
    dot = np.zeros((301, 201), np.float32)
    dot[150, 100] = 1.0
    veil = np.exp(-add_scatter(dot, 0.5, (1.0, 1.5)).astype(float)) - np.exp(-dot)
    # e-folding distance 50 mm: rows are 1 mm apart, columns 1.5 mm.
    assert veil[150 + 30, 100] / veil[150 + 60, 100] == pytest.approx(np.exp(30 / 50), rel=0.01)
    assert veil[150, 100 + 20] == pytest.approx(veil[150 + 30, 100], rel=0.01)
    assert veil[150, 100 - 40] == pytest.approx(veil[150 - 60, 100], rel=0.01)


@pytest.mark.parametrize("fraction", [-0.1, 0.96, float("nan")])
def test_a_scatter_fraction_must_make_sense(shadow, fraction):
    with pytest.raises(InputError, match="scatter"):
        add_scatter(shadow, fraction, (1.0, 1.0))


def test_noise_has_the_variance_of_its_counts():
    flat = np.full((400, 400), 2.0, np.float32)
    noisy = add_noise(flat, 10000, np.random.default_rng(0), electronic=20.0)
    counts = 10000 * np.exp(-noisy.astype(float))
    expected = 10000 * np.exp(-2)
    assert counts.mean() == pytest.approx(expected, rel=1e-3)
    assert counts.var() == pytest.approx(expected + 400, rel=0.02)


def test_noise_is_repeatable_and_never_infinite(shadow):
    make = lambda seed: add_noise(shadow, 500, np.random.default_rng(seed))  # noqa: E731
    assert np.array_equal(make(3), make(3)) and not np.array_equal(make(3), make(4))
    dark = add_noise(np.full((50, 50), 40.0, np.float32), 100, np.random.default_rng(0))
    assert np.isfinite(dark).all() and dark.max() == pytest.approx(np.log(100), rel=1e-5)
    for photons in (0.5, float("inf"), float("nan")):
        with pytest.raises(InputError, match="photons"):
            add_noise(shadow, photons, np.random.default_rng(0))


def test_the_chain_applies_what_the_exposure_says():
    ct = block(40)
    geometry = XRayGeometry(shape=(32, 32), spacing=(5, 5))
    plain = ImagingChain(ct, Exposure(energy_kev=60)).line_integrals(geometry)
    assert np.array_equal(plain, Renderer(ct, 60).line_integrals(geometry))
    chain = ImagingChain(ct, Exposure(scatter=0.5, photons=1e5, seed=1))
    first = chain.line_integrals(geometry, 0)
    assert np.array_equal(first, chain.line_integrals(geometry, 0))
    assert not np.array_equal(first, chain.line_integrals(geometry, 1))
    expected = add_scatter(Renderer(ct).line_integrals(geometry), 0.5, (5, 5))
    assert np.array_equal(first, add_noise(expected, 1e5, np.random.default_rng((1, 0, 1))))
    assert Exposure().to_dict() == {"energy_kev": 70.0, "scatter": 0.0}
    assert Exposure(kvp=90, photons=10, seed=2).to_dict() == {"kvp": 90, "scatter": 0.0, "photons": 10, "seed": 2}
    with pytest.raises(InputError, match="misses"):
        chain.line_integrals(XRayGeometry(shape=(4, 4), isocentre=(900, 0, 0)))


def test_equalising_raises_local_contrast_in_16_bits():
    """A fine ripple on a wide slope, as ribs over the mediastinum are."""
    y, x = np.mgrid[0:128, 0:96]
    image = (y / 32 + 0.05 * np.sin(x)).astype(np.float32)
    plain, equalised = as_radiograph(image), as_radiograph(image, clahe=True)
    assert equalised.dtype == np.uint16 and equalised.shape == image.shape and equalised.max() > 60000
    ripple = lambda picture: np.diff(picture.astype(float), axis=1).std()  # noqa: E731
    assert ripple(equalised) > 1.1 * ripple(plain)


# --- the patient alone ------------------------------------------------------------------------------------------------


def patient_on_a_couch(with_couch: bool) -> Volume:
    """Trunk with lungs and a vessel in one, two arms apart from it, on a curved shell filled with foam; 2 mm voxels."""
    k, j, i = np.indices((30, 110, 200))
    values = np.full(k.shape, -1000, np.int16)
    trunk = ((i - 100) / 55) ** 2 + ((j - 50) / 35) ** 2 < 1
    values[trunk] = 30
    for centre in (75, 125):
        values[((i - centre) / 18) ** 2 + ((j - 50) / 22) ** 2 < 1] = -850
    values[(np.abs(i - 75) < 2) & (np.abs(j - 50) < 2)] = 50
    for centre in (25, 175):
        limb = (i - centre) ** 2 + (j - 60) ** 2
        values[limb < 18**2] = 20
        values[limb < 5**2] = 900
    if with_couch:
        depth = j - (88 - ((i - 100) / 22.0) ** 2)
        values[(depth > 4) & (depth < 12) & (values == -1000)] = -900
        shell = ((depth > 2) & (depth <= 4)) | ((depth >= 12) & (depth < 14))
        values[shell & (values <= -900) & (np.abs(i - 100) < 98)] = 150
    return Volume(values, np.diag([-2.0, -2.0, 2.0, 1.0]))


def test_the_couch_goes_and_the_patient_stays():
    """Lungs, the vessel in them and the arms, which nothing connects to the trunk, are as they were."""
    lying, floating = patient_on_a_couch(True), patient_on_a_couch(False)
    assert (lying.array[15, 85:] > -300).sum() > 300
    cleaned = remove_couch(lying).array
    patient = floating.array > -1000
    assert np.array_equal(cleaned[patient], floating.array[patient])
    left_over = np.maximum(cleaned[~patient].astype(float) + 1000, 0).sum()
    couch = np.maximum(lying.array[~patient].astype(float) + 1000, 0).sum()
    # What touches the arms stays.
    assert 0 < left_over < 0.08 * couch
    assert (cleaned[~patient] > -300).sum() < 0.08 * (lying.array[~patient] > -300).sum()
    assert (cleaned[:, 86:, 40:160] == -1000).all()


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_couch_goes_whatever_the_order_of_the_axes(order):
    lying = patient_on_a_couch(True)
    expected = remove_couch(lying).array
    to_old = np.zeros((4, 4))
    for new_axis, old_axis in enumerate(order):  # array axes are k, j, i; matrix columns i, j, k
        to_old[2 - old_axis, 2 - new_axis] = 1
    to_old[3, 3] = 1
    turned = Volume(np.ascontiguousarray(lying.array.transpose(order)), lying.ijk_to_ras @ to_old)
    assert np.array_equal(remove_couch(turned).array, expected.transpose(order))


def test_nothing_solid_is_no_patient():
    with pytest.raises(InputError, match="no body"):
        remove_couch(Volume(np.full((20, 20, 20), -900, np.int16), np.diag([3.0, 3.0, 3.0, 1.0])))


def test_the_couch_of_a_real_scan_goes(shared_data):
    """The original DICOM series shows its couch; the same scan at 1.5 mm, from which it was removed, shows no more."""
    (folder,) = shared_data.glob("dicom/*")
    ct = read_ct(folder)
    labels = match_grid(read_labels(shared_data / "ct" / folder.name / "bones.nii.gz"), ct)
    cleaned = remove_couch(ct)
    assert np.array_equal(cleaned.array[labels.array > 0], ct.array[labels.array > 0])
    gone = (ct.array > -300) & (cleaned.array != ct.array)
    assert 200_000 < gone.sum() < 400_000
    # All of the couch lies behind the back; what else went is cable and sheet.
    _, j, i = np.nonzero(gone)
    k = np.nonzero(gone)[0]
    behind = ct.to_ras(np.stack([i, j, k], axis=1))[:, 1] < ct.mask_bounds(cleaned.array > -300)[0, 1] + 25
    assert behind.mean() > 0.95


def test_a_scan_without_couch_is_left_alone(subjects):
    ct = read_ct(subjects[1] / "ct.nii.gz")
    labels = read_labels(subjects[1] / "bones.nii.gz")
    cleaned = remove_couch(ct)
    assert np.array_equal(cleaned.array[labels.array > 0], ct.array[labels.array > 0])
    assert ((ct.array > -300) & (cleaned.array != ct.array)).sum() < 1e-3 * (ct.array > -300).sum()


def test_bones_alone():
    ct = block(300)
    labels = np.zeros(ct.array.shape, np.uint8)
    labels[5] = anatomy.CARTILAGES
    labels[9] = anatomy.STERNUM
    labels[12] = 200  # no bone of the table
    bones = bones_only(ct, Volume(labels, ct.ijk_to_ras))
    assert (bones.array[9] == 300).all() and (np.delete(bones.array, 9, axis=0) == -1000).all()
    labels[9] = 0
    with pytest.raises(InputError, match="no bone"):
        bones_only(ct, Volume(labels, ct.ijk_to_ras))


def test_bones_alone_are_part_of_the_whole(subjects):
    """On a real scan: no ray through the bones alone exceeds the ray through everything."""
    ct, labels = read_ct(subjects[1] / "ct.nii.gz"), read_labels(subjects[1] / "bones.nii.gz")
    geometry = XRayGeometry(shape=(64, 64), spacing=(7, 7), isocentre=isocentre(ct, labels))
    bones = RayTracer(bones_only(ct, labels), 1000).integrate(geometry)
    everything = RayTracer(ct, 1000).integrate(geometry)
    assert bones.max() > 0.1 * everything.max()
    assert (bones <= everything * (1 + 1e-5)).all() and bones.mean() < 0.5 * everything.mean()


# --- poses ------------------------------------------------------------------------------------------------------------

DETECTOR = Detector(sid=1600, sod=1300, shape=(300, 200), spacing=(1.0, 2.0), offset=(30.0, -10.0))


def test_a_pose_is_where_it_says():
    geometry = Pose("x", "AP", angle=30, shift=(1, 2, 3)).geometry(DETECTOR, np.array([10.0, 20, 30]))
    assert np.allclose(geometry.isocentre, (11, 22, 33))
    # Counter-clockwise seen from above: AP's source, in front, goes to the patient's left.
    assert np.allclose(geometry.to_source, (-0.5, np.sqrt(3) / 2, 0))
    assert geometry.shape == (300, 200) and geometry.sid == 1600 and geometry.sod == 1300
    # The detector went 30 mm to the image's right and 10 mm up, so the isocentre appears left of and below its centre.
    assert np.allclose(geometry.project([geometry.isocentre]), [(99.5 - 15, 149.5 + 10)])


def test_a_series_of_angles():
    poses = series("PA", [-10, 0, 12.5], tilt=3, roll=-2)
    assert [pose.name for pose in poses] == ["pa_-10", "pa", "pa_+12.5"]
    assert {(pose.tilt, pose.roll) for pose in poses} == {(3, -2)}
    with pytest.raises(InputError, match="twice"):
        series("AP", [5, 5.0])
    with pytest.raises(InputError, match="degrees"):
        series("AP", [float("nan")])[0].geometry(DETECTOR, np.zeros(3))


def test_random_poses_fill_their_ranges_and_come_again():
    about = Pose("ap", "AP", tilt=3)
    poses = list(random_poses(about, 400, seed=5))
    assert len({pose.name for pose in poses}) == 400 and poses[7].name == "ap_0007"
    numbers = np.array([(p.angle, p.tilt - 3, p.roll, *p.shift) for p in poses])
    limits = np.array([15, 10, 5, 20, 20, 20])
    assert (np.abs(numbers) <= limits).all() and (np.abs(numbers).max(0) > 0.95 * limits).all()
    assert np.allclose(numbers.mean(0), 0, atol=0.1 * limits.max())
    assert np.abs(np.corrcoef(numbers.T) - np.eye(6)).max() < 0.2
    assert list(random_poses(about, 3, seed=5)) == poses[:3]
    assert list(random_poses(about, 3, seed=6)) != poses[:3]
    still = next(random_poses(about, 1, 0, PoseRange(0, 0, 0, (0, 0, 0))))
    assert (still.angle, still.tilt, still.roll, still.shift) == (0, 3, 0, (0, 0, 0))


@pytest.mark.parametrize("ranges", [{"angle": -1}, {"tilt": 181}, {"roll": float("nan")}, {"shift": (1, -1, 0)}])
def test_ranges_must_make_sense(ranges):
    with pytest.raises(InputError, match="ranges"):
        PoseRange(**ranges)


@pytest.mark.parametrize("changes", [{"shape": (9000, 10)}, {"offset": (float("inf"), 0)}])
def test_a_detector_must_make_sense(changes):
    with pytest.raises(InputError, match="detector"):
        Detector(**({"sid": 1800, "sod": 1500, "shape": (10, 10), "spacing": (1, 1)} | changes))
