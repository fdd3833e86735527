"""Projected labels: the image's own rays, depths and boxes that agree with plain geometry."""

import numpy as np
import pytest

from Testing.siddon import crossed_voxels
from X2BRLogic import anatomy
from X2BRLogic.drr import RayTracer, isocentre, project_labels, ray_cosines
from X2BRLogic.drr.project import BETWEEN_RAYS, NOT_LABELLED, OUTSIDE
from X2BRLogic.errors import InputError
from X2BRLogic.geometry import VIEWS, XRayGeometry
from X2BRLogic.volume import Volume
from X2BRLogic.volume_io import read_labels


def all_pixels(geometry):
    """(column, row) of every pixel, row after row."""
    return np.stack(np.meshgrid(*(np.arange(n) for n in geometry.shape[::-1])), axis=-1).reshape(-1, 2)


def ray_directions(geometry):
    """Unit vectors from the source to every pixel, and the distance."""
    way = geometry.pixel_positions(all_pixels(geometry)) - geometry.source
    distance = np.linalg.norm(way, axis=1, keepdims=True)
    return way / distance, distance[:, 0]


def textbook(volume, source, target):
    """By label: first entry, last exit, length in mm, as the textbook says."""
    values, start, stop = crossed_voxels(volume, source, target)
    return {
        int(v): (start[values == v][0], stop[values == v][-1], (stop - start)[values == v].sum())
        for v in np.unique(values)
    }


def oblique(spacing, size, centre=(0.0, 0.0, 0.0)):
    """ijk_to_ras of a grid of `size` (i, j, k) turned about all three axes, centred on `centre`."""
    m = np.eye(4)
    m[:3, :3] = XRayGeometry.from_view("AP", angle=25, tilt=15, roll=10).cube_axes * np.asarray(spacing)
    m[:3, 3] = centre - m[:3, :3] @ (np.array(size) - 1) / 2
    return m


@pytest.fixture(scope="module")
def crumbs():
    """An anisotropic, oblique, flipped grid in which six bones lie about as crumbs, most of it empty."""
    rng = np.random.default_rng(1)
    values = rng.choice([0, 1, 5, 25, 34, 57, 99], (20, 31, 44), p=[0.88, *[0.02] * 6]).astype(np.uint8)
    values[:2], values[:, :, -3:] = 0, 0
    return Volume(values, oblique((-2.0, 3.1, 5.3), (44, 31, 20), (3, -2, 5)))


def near(view, **settings):
    """A strongly diverging beam with few pixels."""
    return XRayGeometry.from_view(
        view, **{"angle": 7, "sid": 700, "sod": 500, "shape": (33, 37), "spacing": (5.0, 4.5), **settings}
    )


def one_bone(labels, label):
    return Volume((labels.array == label).astype(np.uint8), labels.ijk_to_ras)


# --- the image's own rays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_a_bone_is_where_its_voxels_darken_the_image(crumbs, view):
    geometry = near(view, shape=(120, 130), spacing=(1.3, 1.4))
    projection = project_labels(crumbs, geometry)
    assert sorted(projection.bones) == [1, 5, 25, 34, 57]  # 99 is no bone of the table
    for label in projection.bones:
        image = RayTracer(one_bone(crumbs, label)).integrate(geometry)
        assert np.array_equal(projection.mask(label), image > 0)
        assert np.allclose(projection.path_length(label), image, rtol=1e-4, atol=1e-4)
    assert projection.mask(1).any() and not projection.mask(1).all()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_every_ray_agrees_with_the_textbook(crumbs, view, dtype):
    geometry = near(view)
    labels = Volume(crumbs.array.astype(dtype), crumbs.ijk_to_ras)
    projection = project_labels(labels, geometry, (99, 1, 34))
    assert list(projection.bones) == [99, 1, 34]
    truth = [textbook(labels, geometry.source, p) for p in geometry.pixel_positions(all_pixels(geometry))]
    for label in projection.bones:
        missed = (np.nan, np.nan, 0.0)
        front, back, length = np.array([ray.get(label, missed) for ray in truth]).T.reshape(3, *geometry.shape)
        assert np.array_equal(projection.mask(label), length > 0)
        assert np.allclose(projection.front(label), front, rtol=0, atol=1e-3, equal_nan=True)
        assert np.allclose(projection.back(label), back, rtol=0, atol=1e-3, equal_nan=True)
        assert np.allclose(projection.path_length(label), length, rtol=1e-4, atol=1e-4)


def test_rays_on_the_planes_of_the_grid_and_along_it():
    """An even grid seen straight on: the central ray runs between voxels, others through edges and corners."""
    values = np.zeros((8, 8, 8), np.uint8)
    values[2:6, 2:6, 2:6] = 1
    values[0, 0, 0] = 2
    labels = Volume(values, np.array([[1, 0, 0, -3.5], [0, 1, 0, -3.5], [0, 0, 1, -3.5], [0, 0, 0, 1.0]]))
    for view in VIEWS:
        geometry = XRayGeometry.from_view(view, sid=100, sod=50, shape=(21, 21), spacing=(1.0, 1.0))
        projection = project_labels(labels, geometry)
        for label in (1, 2):
            image = RayTracer(one_bone(labels, label)).integrate(geometry)
            assert np.array_equal(projection.mask(label), image > 0), (view, label)
        assert projection.front(1)[10, 10] == 48 and projection.back(1)[10, 10] == 52
        assert projection.path_length(1)[10, 10] == 4


@pytest.mark.parametrize("view", VIEWS)
def test_the_same_patient_stored_otherwise(crumbs, view):
    """Axes permuted, flipped, empty slices cut off, or patient and X-ray machine turned together."""
    values, matrix = crumbs.array, crumbs.ijk_to_ras
    flip = np.diag([-1.0, 1, -1, 1])
    flip[:3, 3] = (43, 0, 19)
    to_old = np.zeros((4, 4))  # transpose(1, 2, 0) makes new (k, j, i) = old (j, i, k)
    to_old[0, 1] = to_old[1, 2] = to_old[2, 0] = to_old[3, 3] = 1
    crop = np.eye(4)
    crop[2, 3] = 2
    geometry = near(view)
    turn = XRayGeometry.from_view("LAT", angle=31, tilt=-20).cube_axes
    turned = XRayGeometry(
        sid=geometry.sid, sod=geometry.sod, shape=geometry.shape, spacing=geometry.spacing,
        to_source=turn @ geometry.to_source, columns=turn @ geometry.columns, rows=turn @ geometry.rows,
    )  # fmt: skip
    whole_turn = np.eye(4)
    whole_turn[:3, :3] = turn
    twins = {
        "flipped": (Volume(values[::-1, :, ::-1], matrix @ flip), geometry),
        "permuted": (Volume(values.transpose(1, 2, 0), matrix @ to_old), geometry),
        "cropped": (Volume(values[2:, :, :-3], matrix @ crop), geometry),
        "turned": (Volume(values, whole_turn @ matrix), turned),
    }
    expected = project_labels(crumbs, geometry)
    for name, (twin, seen_by) in twins.items():
        projection = project_labels(twin, seen_by)
        assert list(projection.bones) == list(expected.bones)
        for label, bone in expected.bones.items():
            other = projection.bones[label]
            assert (other.rows, other.columns) == (bone.rows, bone.columns), name
            for image in ("path_length", "front", "back"):
                a, b = getattr(other, image), getattr(bone, image)
                assert np.allclose(a, b, rtol=0, atol=1e-3, equal_nan=True), (name, image)


# --- depth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
def test_front_and_back_of_an_oblique_box(view):
    values = np.zeros((24, 30, 36), np.uint16)
    values[4:20, 6:22, 9:33] = 300
    labels = Volume(values, oblique((-1.5, 2.0, 3.0), (36, 30, 24)))
    geometry = XRayGeometry.from_view(view, angle=-12, tilt=9, roll=4, shape=(90, 80), spacing=(1.5, 1.5))
    projection = project_labels(labels, geometry, [300])
    direction, distance = ray_directions(geometry)
    source, d = labels.to_ijk(geometry.source[None])[0], direction @ labels.ras_to_ijk[:3, :3].T
    one, other = (np.array([8.5, 5.5, 3.5]) - source) / d, (np.array([32.5, 21.5, 19.5]) - source) / d
    enter, leave = np.minimum(one, other).max(1), np.maximum(one, other).min(1)
    assert leave.max() < distance.min()
    hit = (enter < leave).reshape(geometry.shape)
    assert np.array_equal(projection.mask(300), hit) and 500 < hit.sum() < hit.size
    assert np.abs(projection.front(300)[hit] - enter.reshape(hit.shape)[hit]).max() < 1e-3
    assert np.abs(projection.back(300)[hit] - leave.reshape(hit.shape)[hit]).max() < 1e-3
    assert np.isnan(projection.front(300)[~hit]).all() and np.isnan(projection.back(300)[~hit]).all()
    assert np.allclose(projection.path_length(300)[hit], (leave - enter).reshape(hit.shape)[hit], rtol=1e-4, atol=1e-3)


def test_front_and_back_of_a_sphere_are_within_a_voxel_of_the_smooth_one():
    grid = np.indices((100, 100, 100)).transpose(1, 2, 3, 0) - 49.5
    values = (np.linalg.norm(grid, axis=-1) < 40).astype(np.uint8)
    labels = Volume(values, oblique((1, 1, 1), (100, 100, 100), (4, -3, 2)))
    geometry = XRayGeometry(shape=(61, 61), spacing=(1.7, 1.7))
    projection = project_labels(labels, geometry, [1])
    direction, _ = ray_directions(geometry)
    to_centre = np.array([4, -3, 2]) - geometry.source
    along = direction @ to_centre
    missed = np.linalg.norm(np.cross(direction, to_centre), axis=1)
    half = np.sqrt(np.maximum(40.0**2 - missed**2, 0))
    # The voxels' boundary keeps within half a diagonal (0.87 mm) of the sphere; seen askew up to 1/0.6 of that.
    steep = missed < 0.8 * 40
    front, back = projection.front(1).ravel(), projection.back(1).ravel()
    for found, true in ((front, along - half), (back, along + half)):
        difference = (found - true)[steep]
        assert np.abs(difference).max() < 0.87 / 0.6 and abs(difference.mean()) < 0.2
    assert projection.mask(1).ravel()[missed < 39].all() and not projection.mask(1).ravel()[missed > 41].any()


@pytest.mark.parametrize("view", ["AP", "RLAT"])
def test_back_projected_depths_lie_on_the_bone(crumbs, view):
    """Points of front and back lie on faces of the bone's voxels; nearer and farther the ray meets no such voxel."""
    geometry = near(view)
    projection = project_labels(crumbs, geometry)
    padded = np.pad(crumbs.array, 1)
    rng = np.random.default_rng(0)

    def label_at(points):
        i, j, k = np.clip(np.floor(crumbs.to_ijk(points) + 1.5).astype(int), 0, np.array(padded.shape)[::-1] - 1).T
        return padded[k, j, i]

    corners = np.array(np.meshgrid(*[(-1e-3, 1e-3)] * 3)).reshape(3, -1).T
    for label in projection.bones:
        mask = projection.mask(label)
        pixels = all_pixels(geometry)[mask.ravel()]
        cosine = ray_cosines(geometry)[mask]
        for distance, beyond in ((projection.front(label)[mask], -1), (projection.back(label)[mask], 1)):
            distance = distance.astype(np.float64)
            points = geometry.back_project(pixels, distance * cosine)
            assert np.allclose(np.linalg.norm(points - geometry.source, axis=1), distance, atol=1e-6)
            assert np.abs(geometry.project(points) - pixels).max() < 1e-6
            around = np.stack([label_at(points + corner) for corner in corners])
            assert (around == label).any(0).all() and (around != label).any(0).all()
            for _ in range(20):
                elsewhere = distance + beyond * (2e-3 + 200 * rng.random(distance.size))
                assert (label_at(geometry.back_project(pixels, elsewhere * cosine)) != label).all()


def test_from_inside_a_bone_its_front_is_the_source():
    labels = Volume(np.ones((20, 20, 20), np.uint8), oblique((5, 5, 5), (20, 20, 20), (0, 80, 0)))
    geometry = XRayGeometry(sid=100, sod=80, shape=(9, 9), spacing=(2.0, 2.0))
    projection = project_labels(labels, geometry, [1])
    assert projection.mask(1).all() and (projection.front(1) == 0).all()
    assert np.allclose(projection.back(1), RayTracer(labels).integrate(geometry), atol=1e-3)


def test_rays_end_at_the_detector():
    labels = Volume(np.ones((20, 20, 20), np.uint8), oblique((5, 5, 5), (20, 20, 20)))
    geometry = XRayGeometry(sid=400, sod=400, shape=(9, 9), spacing=(2.0, 2.0))  # the detector cuts the bone in two
    bone = project_labels(labels, geometry, [1]).bones[1]
    _, distance = ray_directions(geometry)
    assert np.allclose(bone.back.ravel(), distance, atol=1e-3)


# --- boxes and what is seen -----------------------------------------------------------------------------------------


def test_boxes_are_tight(crumbs):
    geometry = near("AP")
    projection = project_labels(crumbs, geometry)
    for label, bone in projection.bones.items():
        rows, columns = np.nonzero(projection.mask(label))
        assert bone.box == (columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5)
        mask = bone.mask
        assert mask.shape == bone.front.shape == bone.back.shape == bone.path_length.shape
        assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()
        assert mask.sum() == projection.mask(label).sum()
        assert np.array_equal(np.isfinite(bone.front), mask) and np.array_equal(np.isfinite(bone.back), mask)


def block(centre, label=1):
    """12 x 12 x 12 voxels of 2 mm, straight, about `centre`."""
    m = np.diag([2.0, 2.0, 2.0, 1.0])
    m[:3, 3] = np.asarray(centre) - 11
    return Volume(np.full((12, 12, 12), label, np.uint8), m)


def test_half_of_a_bone_over_the_edge():
    """The detector's left edge lies on the central axis, which halves the bone."""
    geometry = XRayGeometry(sid=600, sod=500, shape=(100, 100), principal_point=(-0.5, 49.5))
    bone = project_labels(block((0, 0, 0)), geometry).bones[1]
    assert bone.visible_fraction == 0.5 and bone.columns.start == 0 and bone.box[0] == -0.5
    corner = XRayGeometry(sid=600, sod=500, shape=(100, 100), principal_point=(-0.5, -0.5))
    assert project_labels(block((0, 0, 0)), corner).bones[1].visible_fraction == 0.25
    whole = XRayGeometry(sid=600, sod=500, shape=(100, 100))
    assert project_labels(block((0, 0, 0)), whole).bones[1].visible_fraction == 1.0


def test_a_part_in_view_is_counted_by_voxels(crumbs):
    geometry = near("LAT", shape=(20, 14), principal_point=(11.0, 3.5))
    projection = project_labels(crumbs, geometry)
    for label, bone in projection.bones.items():
        k, j, i = np.nonzero(crumbs.array == label)
        column, row = geometry.project(crumbs.to_ras(np.stack([i, j, k], axis=1))).T
        seen = (column >= -0.5) & (column <= 13.5) & (row >= -0.5) & (row <= 19.5)
        assert 0.05 < seen.mean() < 0.95
        assert bone.visible_fraction == pytest.approx(seen.mean())


@pytest.mark.parametrize("centre", [(300, 0, 0), (0, 0, -400), (0, 560, 0), (0, -130, 0)])
def test_a_bone_beside_behind_or_beyond_is_reported_as_outside(centre):
    geometry = XRayGeometry(sid=600, sod=500, shape=(100, 100))
    projection = project_labels(block(centre), geometry, [1, 2])
    assert projection.bones == {} and projection.missing == {1: OUTSIDE, 2: NOT_LABELLED}
    with pytest.raises(KeyError):
        projection.mask(1)


def test_a_crumb_between_the_rays():
    values = np.zeros((5, 5, 5), np.uint8)
    values[2, 2, 2] = 3
    labels = Volume(values, np.eye(4))
    geometry = XRayGeometry(shape=(10, 10), spacing=(40.0, 40.0), isocentre=np.array([2.0, 2.0, 2.0]))
    projection = project_labels(labels, geometry)
    assert projection.bones == {} and projection.missing == {3: BETWEEN_RAYS}


# --- a real scan ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(subjects):
    labels = read_labels(subjects[-1] / "bones.nii.gz")
    return labels, isocentre(labels, labels)


@pytest.mark.parametrize("view", VIEWS)
def test_bones_of_a_real_scan(real, view):
    labels, centre = real
    geometry = XRayGeometry.from_view(view, isocentre=centre)
    projection = project_labels(labels, geometry)
    present = np.unique(labels.array)
    assert sorted(projection.bones) == [v for v in present if v in anatomy.BY_LABEL] and not projection.missing
    assert sum(3 * bone.front.nbytes for bone in projection.bones.values()) < 16e6
    voxel = labels.spacing.max() * 1.3 / geometry.spacing[0]  # magnified by less than 1.3
    for label, bone in projection.bones.items():
        k, j, i = np.nonzero(labels.array == label)
        pixels = geometry.project(labels.to_ras(np.stack([i, j, k], axis=1)))
        edge = np.array(geometry.shape[::-1]) - 0.5
        low, high = np.clip(pixels.min(0), -0.5, edge), np.clip(pixels.max(0), -0.5, edge)
        box = np.array(bone.box)
        assert np.abs(box[:2] - low).max() < voxel + 1 and np.abs(box[2:] - high).max() < voxel + 1
        mask = bone.mask
        thickness = (bone.back - bone.front)[mask]
        assert (thickness >= 0).all() and (bone.path_length[mask] <= thickness + 1e-3).all()
    any_bone = np.isin(labels.array, list(projection.bones)).astype(np.uint8)
    together = RayTracer(Volume(any_bone, labels.ijk_to_ras)).integrate(geometry)
    total = sum(projection.path_length(label) for label in projection.bones)
    assert np.allclose(total, together, rtol=1e-4, atol=1e-3)
    if view in ("AP", "PA"):
        axis = np.mean([np.mean(projection.bones[v].box[::2]) for v in anatomy.THORACIC_VERTEBRAE if v in present])
        for label in anatomy.RIBS:
            if label in projection.bones:
                on_right = np.nonzero(projection.mask(label))[1].mean() > axis
                assert on_right == (anatomy.BY_LABEL[label].side == anatomy.LEFT), anatomy.BY_LABEL[label].name


# --- bad input ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_projected(crumbs):
    geometry = near("AP")
    with pytest.raises(InputError, match="at least one label"):
        project_labels(crumbs, geometry, [])
    for wrong in (0, -1, 70000, 1.5, "rib"):
        with pytest.raises(InputError, match="no label of a bone"):
            project_labels(crumbs, geometry, [1, wrong])
    with pytest.raises(InputError, match="none of the bones"):
        project_labels(crumbs, geometry, [2, 3])
    with pytest.raises(InputError, match="none of the bones"):
        project_labels(Volume(np.zeros((4, 4, 4), np.uint8), np.eye(4)), geometry)
    with pytest.raises(InputError, match="whole numbers"):
        project_labels(Volume(crumbs.array.astype(np.float32), crumbs.ijk_to_ras), geometry)
    for value in (-1, 70000):
        with pytest.raises(InputError, match="between 0 and 65535"):
            project_labels(Volume(np.full((4, 4, 4), value, np.int32), np.eye(4)), geometry)
