"""The metrics, one function each, with definition and source.

P is the prediction, R the reference. Distances are in mm, one a surface sample, and come in two directions:
`to_reference` from samples of P to R, `to_prediction` from samples of R to P. Samples are uniform by area.
"""

from __future__ import annotations

import numpy as np

#: Distance at which a sample counts as found, in units of the longest edge of the reference's bounding box.
F_SCORE_THRESHOLD = 0.02


def iou(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Volumetric intersection over union, |P and R| / |P or R|; NaN where both are empty.

    Jaccard index of two boolean voxel arrays of one shape. Mescheder et al., Occupancy Networks, CVPR 2019, section 4.
    """
    union = np.count_nonzero(prediction | reference)
    return np.count_nonzero(prediction & reference) / union if union else np.nan


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice similarity coefficient, 2 |P and R| / (|P| + |R|) of voxels; NaN where both are empty.

    Dice, Ecology 26:297, 1945; Maier-Hein et al., Metrics reloaded, Nature Methods 21:195, 2024.
    """
    total = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(prediction & reference) / total if total else np.nan


def chamfer_l1(to_reference: np.ndarray, to_prediction: np.ndarray) -> float:
    """Chamfer-L1: the mean of accuracy and completeness, 0.5 (mean over P of d(p, R) + mean over R of d(r, P)).

    d is the Euclidean distance, not squared; "L1" means just that. Mescheder et al., Occupancy Networks, CVPR 2019,
    section 4. They give it in units of a tenth of the longest edge of the bounding box: ten times our
    `chamfer_l1_unit`.
    """
    return 0.5 * (to_reference.mean() + to_prediction.mean())


def f_score(to_reference: np.ndarray, to_prediction: np.ndarray, threshold: float) -> float:
    """F-score: the harmonic mean of precision and recall at a distance.

    Precision is the share of samples of P within `threshold` of R, recall the share of samples of R within it of P;
    0 where both are 0. Tatarchenko et al., What do single-view 3D reconstruction networks learn?, CVPR 2019,
    section 6, who give the threshold as a fraction of the side of the reconstructed volume and use 1 %. Ours is
    `F_SCORE_THRESHOLD` = 2 % of the longest edge of the reference's bounding box.
    """
    precision, recall = np.mean(to_reference <= threshold), np.mean(to_prediction <= threshold)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def normal_consistency(
    prediction_normals: np.ndarray,
    normals_on_reference: np.ndarray,
    reference_normals: np.ndarray,
    normals_on_prediction: np.ndarray,
) -> float:
    """Normal consistency: mean |cos| of the angle between the normals of a sample and of its nearest neighbour.

    Averaged over both directions; all arguments are unit vectors, shape (N, 3). Mescheder et al., Occupancy Networks,
    CVPR 2019, section 4. The sign is dropped as in their code, so unrelated normals score 0.5, not 0.
    """
    accuracy = np.abs(np.einsum("nd,nd->n", prediction_normals, normals_on_reference)).mean()
    completeness = np.abs(np.einsum("nd,nd->n", reference_normals, normals_on_prediction)).mean()
    return 0.5 * (accuracy + completeness)


def hd95(to_reference: np.ndarray, to_prediction: np.ndarray) -> float:
    """95 % Hausdorff distance: the larger of the two directed 95th percentiles.

    Huttenlocher et al., IEEE TPAMI 15:850, 1993; the larger of the two directions as in Maier-Hein et al., Metrics
    reloaded, Nature Methods 21:195, 2024 (some tools pool both directions before the percentile and come out lower).
    """
    return max(np.percentile(to_reference, 95), np.percentile(to_prediction, 95))


def average_surface_distance(
    to_reference: np.ndarray, to_prediction: np.ndarray, prediction_area: float, reference_area: float
) -> float:
    """Average symmetric surface distance: d integrated over both surfaces, divided by both areas together.

    Heimann et al., Comparison and evaluation of methods for liver segmentation, IEEE TMI 28:1251, 2009. Where the
    areas are equal it is Chamfer-L1; otherwise the larger surface weighs more.
    """
    total = prediction_area * to_reference.mean() + reference_area * to_prediction.mean()
    return total / (prediction_area + reference_area)


def axis_errors(prediction_residuals: np.ndarray, reference_residuals: np.ndarray) -> np.ndarray:
    """maxe, maye, maze: the mean absolute error along R (x), A (y) and S (z) in mm, shape (3,).

    Guven et al., X2BR, arXiv:2504.08675, 2025, report these after alignment by ICP (2.82, 2.52, 2.59 mm for X2B) and do
    not write the definition out. Ours: P is aligned to R by rigid point-to-point ICP from where it lies (rotation and
    translation, no scale, no reflection); then |x|, |y|, |z| of the vectors between nearest neighbours are averaged
    over the samples of P and, equally, over those of R, so that a prediction that leaves bones out gains nothing.
    """
    return 0.5 * (np.abs(prediction_residuals).mean(axis=0) + np.abs(reference_residuals).mean(axis=0))
