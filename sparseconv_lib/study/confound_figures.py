"""What SparseConvNet has over other networks, by cure, fill and kind of masks, as charts.

Panels share one scale, in which 0 is in view.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from sparseconv_lib.study import charts, figures, numbers
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import PAPERS_SPARSITY, TEST_SPARSITIES, TWO_SPARSITIES
from sparseconv_lib.study.report_confounds import (
    FILLED,
    FILLS_TESTED_AT,
    KINDS,
    fill_gaps,
    kind_gaps,
)
from sparseconv_lib.study.report_invariance import (
    MIXED,
    NOT_RUN,
    RESCALED,
    SPARSE,
    n_of_seeds,
)
from sparseconv_lib.study.statistics import paired, summarise
from sparseconv_lib.study.transfer import REESTIMATED, measured
from sparseconv_lib.study.wording import points

# Not those of networks, for each line here is one of their differences.
STYLES = (
    ("#D55E00", "-", "*"),
    ("#56B4E9", "--", "s"),
    ("#000000", ":", "x"),
    ("#999999", "-.", "D"),
)

Panel = tuple[str, float]  # the other network, trained at
Gaps = Mapping[tuple[Panel, str, str], Sequence[float]]  # panel, line, place on the x axis


def cures() -> str:
    """What is left of the layer's lead over a ConvNet with each cheap cure."""
    own = measured("fair")
    cures = {
        "as it is": (own, None),
        "its input divided by 1 − p": (measured(RESCALED), None),
        "re-estimated statistics": (measured("fair", REESTIMATED), None),
        "trained at all sparsities": (measured(MIXED), PAPERS_SPARSITY),
    }
    gaps = {
        (("ConvNet", p), name, f"{q:g}"): gap
        for name, (cells, trained_at) in cures.items()
        for p in TWO_SPARSITIES
        for q in TEST_SPARSITIES
        if (
            gap := paired(
                own.get((SPARSE, p, q), {}),
                cells.get(("ConvNet", p if trained_at is None else trained_at, q), {}),
            )
        )
    }
    return _chart(
        gaps,
        [*cures],
        {f"{q:g}": q for q in TEST_SPARSITIES},
        f"What {SPARSE}, not cured, has over ConvNet with a cheap cure, in points of accuracy",
        line_is="ConvNet,",
        place_is="tested at p =",
        joined=True,
    )


def fills() -> str:
    """Inverted digits, by what the other network is given for a missing pixel."""
    gaps = {
        ((other, p), FILLED[fill], f"{q:g}"): gap
        for (ground, p, other, fill, q), gap in fill_gaps().items()
        if ground == "inverted"
    }
    return _chart(
        gaps,
        [*FILLED.values()],
        {f"{q:g}": q for q in FILLS_TESTED_AT},
        f"What {SPARSE} has on inverted digits over another network, by what that one is given for "
        "a missing pixel, in points of accuracy",
        line_is="given",
        place_is="tested at p =",
        joined=True,
    )


def kinds() -> str:
    """Trained with pixels missing in one way, tested in another, at one sparsity."""
    gaps = {
        ((other, p), KINDS[trained], KINDS[tested]): gap
        for (trained, p, other, tested), gap in kind_gaps().items()
    }
    return _chart(
        gaps,
        [*KINDS.values()],
        {name: float(i) for i, name in enumerate(KINDS.values())},
        f"What {SPARSE} has over another network, by how pixels went missing in training and in "
        "the test, in points of accuracy",
        line_is="trained on",
        place_is="tested on",
        joined=False,
    )


def _chart(
    gaps: Gaps,
    lines: Sequence[str],
    places: Mapping[str, float],
    what: str,
    line_is: str,
    place_is: str,
    joined: bool,
) -> str:
    """A panel for each other network and training sparsity, a line for each of `lines`.

    places: name -> x; what: begins the caption; line_is, place_is: what stands before the name of a
    line and of a place; joined: whether x is a sparsity, so that a line may join places.
    """
    if not gaps:
        return NOT_RUN
    summaries = {label: summarise(gap) for label, gap in gaps.items()}
    series = {
        name: charts.Series(f"{line_is} {name}", color, line if joined else "none", marker)
        for name, (color, line, marker) in zip(lines, STYLES, strict=False)
    }
    ends = [0.0, *(100 * end for s in summaries.values() for end in (s.low, s.high, s.mean))]
    low, high = np.nanmin(ends) - 1, np.nanmax(ends) + 1
    first, last = min(places.values()), max(places.values())
    step = 0.012 if joined else 0.1  # between lines, so that bars do not hide each other
    told_of = {f"{q:g}" for q in FILLS_TESTED_AT}  # names of all would run into each other
    ticks = [place for place in places if place in told_of or not joined]
    panels = []
    for other, trained_at in dict.fromkeys(panel for panel, _, _ in gaps):
        figure, axis = figures.new_figure(2.9, 2.7)
        axis.axhline(0, color="#444444", linewidth=1)
        if joined:
            axis.axvline(trained_at, color="#444444", linewidth=1, linestyle=":")
        told = []
        for i, name in enumerate(lines):
            own = {
                place: s
                for place in places
                if (s := summaries.get(((other, trained_at), name, place)))
            }
            if not own:
                continue
            texts = [
                f"{line_is} {name}, {place_is} {place}: {points(s)} points, n = {s.n}"
                for place, s in own.items()
            ]
            series[name].draw(
                axis,
                [places[place] + step * (i - 1) for place in own],
                [100 * s.mean for s in own.values()],
                [f"p = {trained_at:g}, over {other}, {text}" for text in texts],
                np.nan_to_num([100 * (s.high - s.mean) for s in own.values()]),
            )
            told.append(", ".join(numbers.plain(text) for text in texts))
        axis.set_title(f"over {other}, trained at p = {trained_at:g}", fontsize=8.5)
        axis.set(
            xlabel=place_is.removesuffix(" ="),
            ylabel="points",
            xlim=(first - 4 * step, last + 4 * step),
            ylim=(low, high),
            xticks=[places[place] for place in ticks],
        )
        axis.set_xticklabels([place.replace(" ", "\n") for place in ticks])
        panels.append((figure, f"Over {other}, trained at p = {trained_at:g}: {'; '.join(told)}."))
    drawn = [one for name, one in series.items() if any(line == name for _, line, _ in gaps)]
    trained = in_a_row([f"{p:g}" for p in dict.fromkeys(p for (_, p), _, _ in gaps)])
    dotted = " The dotted line is the sparsity of training." * joined
    several = any(len(gap) > 1 for gap in gaps.values())
    bars = "Bars are 95 % intervals, not corrected for their number; " * several
    return charts.as_html(
        panels,
        drawn,
        f"{what}; trained at p = {trained}. Above 0 {SPARSE} is better.{dotted} "
        f"{bars}{n_of_seeds(gaps.values())}.",
    )
