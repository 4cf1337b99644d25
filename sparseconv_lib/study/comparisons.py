"""Several paired differences at once: which of them are shown, after Holm's correction."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.statistics import holm, p_above, p_below


@dataclass(frozen=True)
class Shown:
    """The labels of those differences that are shown to be above 0, and of those below.

    tested: how many there were. What is shown by its own test alone, and not after the correction,
    is uncorrected.
    """

    tested: int
    above: tuple[Any, ...]
    below: tuple[Any, ...]
    above_uncorrected: tuple[Any, ...]
    below_uncorrected: tuple[Any, ...]

    def __contains__(self, label: Any) -> bool:
        """Whether that difference is shown, after the correction, to be above 0 or below."""
        return label in self.above or label in self.below


def shown(gaps: Mapping[Any, Sequence[float]], level: float = 0.05) -> Shown:
    """Student's two-sided test of each mean, and Holm's correction over all of them.

    gaps: a label, such as a test sparsity -> differences, paired by seed. One seed shows nothing.
    """
    above = [p_above(gap, 0.0) for gap in gaps.values()]
    two_sided = [
        min(1.0, 2 * min(p, p_below(gap, 0.0))) for p, gap in zip(above, gaps.values(), strict=True)
    ]
    adjusted = holm(two_sided)
    found: dict[tuple[bool, bool], list[Hashable]] = {}
    for label, p, single, corrected in zip(gaps, above, two_sided, adjusted, strict=True):
        if single < level:
            found.setdefault((p < 0.5, corrected < level), []).append(label)
    return Shown(
        len(gaps),
        *(
            tuple(found.get((is_above, is_corrected), ()))
            for is_corrected in (True, False)
            for is_above in (True, False)
        ),
    )


def how_often(found: Shown) -> tuple[str, str, str]:
    """ "8 of 28 cells (trained at p = 0.8 and 0.95)", "none", and "14 and 2" by single tests.

    In how many a difference is shown to be above 0, and below; found: of cells (trained at,
    tested at).
    """
    told, single = [], []
    for its, more in (
        (found.above, found.above_uncorrected),
        (found.below, found.below_uncorrected),
    ):
        trained = in_a_row([f"{p:g}" for p in sorted({p for p, _ in its})]) if its else ""
        told.append((len(its) or "none", f" (trained at p = {trained})" * bool(its)))
        single.append(str(len(its) + len(more) or "none"))
    (better, where_better), (worse, where_worse) = told
    return (
        f"{better} of {found.tested} cells{where_better}",
        f"{worse}{where_worse}",
        " and ".join(single),
    )
