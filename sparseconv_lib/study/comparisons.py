"""Several paired differences at once: which of them are shown, after Holm's correction."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.statistics import holm, p_above, p_below
from sparseconv_lib.study.wording import span


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


def where(found: Mapping[str, Shown]) -> str:
    """ "better than ConvNet at 0.9 (0 and 0.7) and worse nowhere, better than ...".

    found: the other network -> at which sparsities the difference from it is shown.
    """
    return ", ".join(
        f"better than {other} {_places(each.above, each.above_uncorrected)} and worse "
        f"{_places(each.below, each.below_uncorrected)}"
        for other, each in found.items()
    )


def tested(found: Mapping[str, Shown]) -> str:
    """ "7", or "5 to 7": how many differences there were."""
    return span({each.tested for each in found.values()})


def _places(corrected: Sequence[float], uncorrected: Sequence[float]) -> str:
    at = f"at {in_a_row([f'{q:g}' for q in corrected])}" if corrected else "nowhere"
    return f"{at} ({in_a_row([f'{q:g}' for q in uncorrected])})" if uncorrected else at
