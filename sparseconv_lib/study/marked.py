"""Differences in a sentence, each marked if it is shown, and what the mark means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparseconv_lib.study.comparisons import Shown
from sparseconv_lib.study.statistics import summarise
from sparseconv_lib.study.wording import HALF, points, with_intervals


@dataclass(frozen=True)
class Marked:
    """Differences that a sentence tells; a label -> differences, seed by seed.

    shown: which of them are shown, after a correction over these or over more, of which these are
    a part. Where all are shown, or none is, that is said once, and none is marked.
    """

    gaps: Mapping[Any, Sequence[float]]
    shown: Shown

    @property
    def _among_them(self) -> int:
        return sum(label in self.shown for label in self.gaps)

    def __getitem__(self, label: Any) -> str:
        """ "+1.2 ± 0.4 (shown)", in points."""
        is_marked = label in self.shown and self._among_them < len(self.gaps)
        return f"{points(summarise(self.gaps[label]))}{' (shown)' * is_marked}"

    def conditions(self) -> str:
        """What the mark means, what intervals there are, and of how many seeds."""
        seeds = {len(gap) for gap in self.gaps.values()}
        parts = (self.meaning(), with_intervals(HALF, seeds))
        return "; ".join(filter(None, parts))

    def meaning(self) -> str:
        """ "Shown: after Holm’s correction over these 6, the others are not"; "" for one seed."""
        tested = self.shown.tested
        if not tested:
            return ""
        over = f"these {tested}" if tested == len(self.gaps) else f"all {tested} of the table"
        if tested == 1:
            over = "this one"
        after = f"after Holm’s correction over {over}"
        if not self._among_them:
            return f"None is shown, {after}"
        if self._among_them == len(self.gaps):
            return f"All are shown, {after}"
        return f"Shown: {after}, the others are not"
