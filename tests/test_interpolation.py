"""Interpolation against its definitions in loops, and against what must be reproduced exactly."""

import numpy as np
import pytest

from sparseconv_lib.study.interpolation import (
    INTERPOLATORS,
    best_sigma,
    gaussian,
    linear,
    nearest,
)

RANDOM = np.random.default_rng(0)


def methods():
    return {
        "nearest": nearest,
        "linear": linear,
        "gaussian": lambda values, mask: gaussian(values, mask, 1.5),
    }


METHODS = pytest.mark.parametrize("name", INTERPOLATORS)


def some(n=6, side=9, observed=0.2):
    return RANDOM.normal(size=(n, side, side)), RANDOM.random((n, side, side)) < observed


@METHODS
def test_observed_pixels_stay_and_missing_ones_have_no_effect(name):
    values, mask = some()
    mask[:, 0, 0] = True
    filled = methods()[name](values, mask)
    assert np.array_equal(filled[mask], values[mask])
    spoilt = np.where(mask, values, np.nan)
    assert np.array_equal(methods()[name](spoilt, mask), filled)
    spoilt = np.where(mask, values, 1e9)
    assert np.array_equal(methods()[name](spoilt, mask), filled)
    assert np.isfinite(filled).all()


@METHODS
def test_an_image_of_which_nothing_is_observed_takes_nothing_from_its_neighbours(name):
    values, mask = some()
    mask[:, 4, 4] = True
    mask[2] = False
    filled = methods()[name](values, mask)
    assert np.isnan(filled[2]).all()
    alone = methods()[name](values[3:4], mask[3:4])
    assert np.allclose(filled[3:4], alone)
    assert np.isfinite(np.delete(filled, 2, 0)).all()


@METHODS
def test_a_constant_is_reproduced(name):
    _, mask = some()
    mask[:, 4, 4] = True
    filled = methods()[name](np.full(mask.shape, 3.25), mask)
    assert np.allclose(filled, 3.25, atol=1e-12)


def test_nearest_takes_a_value_at_the_least_distance_of_its_own_image():
    values, mask = some()
    values = np.arange(values.size, dtype=float).reshape(values.shape)  # a value tells its pixel
    mask[:, 4, 4] = True
    filled = nearest(values, mask)
    for n, (image, seen) in enumerate(zip(filled, mask, strict=True)):
        for row, column in np.ndindex(image.shape):
            where = int(image[row, column])
            from_image, pixel = divmod(where, image.size)
            assert from_image == n
            i, j = divmod(pixel, image.shape[1])
            assert seen[i, j]
            least = min((row - a) ** 2 + (column - b) ** 2 for a, b in np.argwhere(seen))
            assert (row - i) ** 2 + (column - j) ** 2 == least


def test_linear_reproduces_a_plane_within_the_hull_and_the_nearest_beyond():
    rows, columns = np.mgrid[:9, :9].astype(float)
    plane = (2 * rows - 3 * columns + 1)[None]
    mask = np.zeros((1, 9, 9), bool)
    mask[0, [1, 1, 7, 7, 4], [1, 7, 1, 7, 3]] = True
    filled = linear(plane, mask)
    assert np.allclose(filled[:, 1:8, 1:8], plane[:, 1:8, 1:8])
    assert filled[0, 0, 0] == plane[0, 1, 1]  # outside: the corner that was observed


@pytest.mark.parametrize("pixels", [[(2, 2)], [(2, 2), (5, 5)], [(1, 1), (3, 3), (6, 6)]])
def test_linear_without_a_triangle_is_the_nearest(pixels):
    values, _ = some(1)
    mask = np.zeros(values.shape, bool)
    for row, column in pixels:
        mask[0, row, column] = True
    assert np.array_equal(linear(values, mask), nearest(values, mask))


def test_gaussian_is_the_weighted_average_of_the_observed_pixels():
    sigma = 1.5
    values, mask = some(2, side=11, observed=0.4)
    filled = gaussian(values, mask, sigma)
    for image, seen, got in zip(values, mask, filled, strict=True):
        for row, column in np.ndindex(image.shape):
            if seen[row, column]:
                continue
            weights, total = 0.0, 0.0
            for i, j in np.argwhere(seen):
                if max(abs(row - i), abs(column - j)) <= int(4 * sigma + 0.5):
                    weight = np.exp(-((row - i) ** 2 + (column - j) ** 2) / (2 * sigma**2))
                    weights, total = weights + weight, total + weight * image[i, j]
            assert got[row, column] == pytest.approx(total / weights, rel=1e-9)


def test_far_from_all_that_is_observed_the_gaussian_is_the_nearest():
    values, mask = some(1, side=30, observed=0)
    mask[0, 0, 0] = True
    assert np.allclose(gaussian(values, mask, 0.5), nearest(values, mask), atol=1e-12)


def test_the_best_width_is_the_one_with_the_least_error():
    rows = np.sin(np.arange(32) / 3)
    values = np.broadcast_to(rows[:, None], (1, 32, 32)).copy()
    mask = RANDOM.random(values.shape) < 0.3
    known = np.ones_like(mask)
    known[0, :4] = False
    widths = (0.5, 1.0, 2.0, 4.0)
    errors = {}
    for width in widths:
        errors[width] = np.abs(gaussian(values, mask, width) - values)[known & ~mask].mean()
    assert best_sigma(values, mask, known, widths) == min(errors, key=errors.get)
    values[~known] = np.nan  # what is not known is not asked for
    assert best_sigma(values, mask & known, known, widths) == min(errors, key=errors.get)


@pytest.mark.parametrize(
    "values, mask",
    [
        (np.zeros((3, 4)), np.ones((3, 4), bool)),
        (np.zeros((1, 3, 4)), np.ones((1, 4, 3), bool)),
        (np.zeros((1, 3, 4)), np.ones((1, 3, 4))),
    ],
)
def test_other_shapes_and_types_are_refused(values, mask):
    with pytest.raises(ValueError, match="must be"):
        nearest(values, mask)
