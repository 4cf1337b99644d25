"""What a user would try first: the missing pixels interpolated from the observed ones, with SciPy.

All take values (N, H, W) and a mask (N, H, W), True where observed, and return whole images
(N, H, W): observed pixels as they were, and nan in an image of which nothing is observed. What
missing pixels hold has no effect.
"""

from collections.abc import Iterable

import numpy as np

INTERPOLATORS = ("nearest", "linear", "gaussian")
WIDTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)  # of a Gaussian, in pixels


def nearest(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Each missing pixel takes the value of the observed pixel nearest to it (Euclidean).

    Among equally near ones SciPy's distance transform decides.
    """
    from scipy import ndimage

    _check(values, mask)
    # One transform over the stack is much faster than one for each image. Images lie so far apart
    # that no pixel's nearest is in another one, unless its own holds none.
    apart = 2.0 * sum(values.shape[1:])
    index = ndimage.distance_transform_edt(
        ~mask, sampling=(apart, 1, 1), return_distances=False, return_indices=True
    )
    filled = values[tuple(index)]
    filled[~mask.any((1, 2))] = np.nan
    return filled


def linear(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Linear within the triangles of a Delaunay triangulation of the observed pixels.

    Outside their hull, and where fewer than three are observed or all lie on one line, the nearest.
    """
    from scipy.interpolate import LinearNDInterpolator
    from scipy.spatial import QhullError

    filled = nearest(values, mask)
    for value, seen, whole in zip(values, mask, filled, strict=True):
        if seen.sum() < 3:
            continue
        try:
            inside = LinearNDInterpolator(np.argwhere(seen), value[seen])(np.argwhere(~seen))
        except QhullError:  # all on one line
            continue
        whole[~seen] = np.where(np.isnan(inside), whole[~seen], inside)
    return filled


def gaussian(values: np.ndarray, mask: np.ndarray, sigma: float) -> np.ndarray:
    """The observed pixels' average, weighted by a Gaussian of width `sigma` pixels.

    Normalised convolution (Knutsson & Westin 1993): the blurred image over the blurred mask. Where
    no observed pixel is within four widths, the nearest.
    """
    from scipy.ndimage import gaussian_filter

    _check(values, mask)
    shown = np.where(mask, values, 0.0).astype(np.float64)
    width = (0, sigma, sigma)
    weight = gaussian_filter(mask.astype(np.float64), width, mode="constant")
    total = gaussian_filter(shown, width, mode="constant")
    some = weight > 1e-12  # else nothing but rounding
    average = total / np.where(some, weight, 1.0)
    filled = np.where(some, average, nearest(values, mask))
    filled[mask] = values[mask]
    filled[~mask.any((1, 2))] = np.nan
    return filled.astype(values.dtype)


def best_sigma(
    values: np.ndarray,
    mask: np.ndarray,
    known: np.ndarray,
    candidates: Iterable[float] = WIDTHS,
) -> float:
    """The width whose `gaussian` has the least mean absolute error over the known, missing pixels.

    known: (N, H, W), True where `values` tells the truth. The first of equals.
    """
    asked = known & ~mask & mask.any((1, 2), keepdims=True)
    truth = values[asked]

    def error(sigma: float) -> float:
        return (
            float(np.abs(gaussian(values, mask, sigma)[asked] - truth).mean())
            if asked.any()
            else 0.0
        )

    return min(candidates, key=error)


def _check(values: np.ndarray, mask: np.ndarray) -> None:
    if values.ndim != 3 or values.shape != mask.shape or mask.dtype != bool:
        raise ValueError(
            f"values {values.shape} and mask {mask.shape} of {mask.dtype}: both must be (N, H, W), "
            "and the mask bool, True where observed"
        )
