"""Several differences at once: Holm's procedure, step by step, beside our account of it."""

import numpy as np
from scipy import stats

from sparseconv_lib.study import comparisons


def test_differing_pairs_are_told_by_holms_procedure_and_without():
    pattern = np.array([-0.4, -0.2, 0.0, 0.2, 0.4])
    shifts = (0.0, 0.45, 3.0, -0.45, -3.0, 0.1, 0.5)
    gaps = {q: list(shift + pattern) for q, shift in enumerate(shifts)}
    single = {q: stats.ttest_1samp(gap, 0.0).pvalue for q, gap in gaps.items()}
    left = set()
    for rank, q in enumerate(sorted(single, key=single.__getitem__)):  # step by step
        if single[q] * (len(gaps) - rank) >= 0.05:
            break
        left.add(q)
    shown = comparisons.shown(gaps)
    assert shown.tested == len(gaps)
    for side, sign in enumerate((1, -1)):
        its = {q for q, gap in gaps.items() if sign * np.mean(gap) > 0 and single[q] < 0.05}
        assert 0 < len(its & left) < len(its)
        corrected = (shown.above, shown.below)[side]
        uncorrected = (shown.above_uncorrected, shown.below_uncorrected)[side]
        assert corrected == tuple(sorted(its & left))
        assert uncorrected == tuple(sorted(its - left))
    assert comparisons.shown({0: gaps[0]}) == comparisons.Shown(1, (), (), (), ())


def test_one_seed_shows_nothing():
    assert comparisons.shown({0: [5.0], 1: [-5.0]}) == comparisons.Shown(2, (), (), (), ())


def test_cells_are_counted_with_where_they_were_trained():
    found = comparisons.Shown(
        28, ((0.3, 0.5), (0.3, 0.7), (0.5, 0.1)), ((0.5, 0.95),), ((0.8, 0.9),), ()
    )
    assert comparisons.how_often(found) == (
        "3 of 28 cells (trained at p = 0.3 and 0.5)",
        "1 (trained at p = 0.5)",
        "4 and 1",
    )
    assert (0.3, 0.5) in found and (0.5, 0.95) in found and (0.8, 0.9) not in found
    assert comparisons.how_often(comparisons.Shown(7, (), (), ((0.8, 0.9),), ())) == (
        "none of 7 cells",
        "none",
        "1 and none",
    )
