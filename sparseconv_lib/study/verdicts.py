"""What the rules of `claims` make of the recorded accuracies: judge(claim, accuracies) → Verdict.

Accuracies, and every number in a Verdict, are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparseconv_lib.study import statistics
from sparseconv_lib.study.claims import (
    NOT_REPRODUCED,
    REPRODUCED,
    UNDECIDED,
    Cell,
    Claim,
    Contrast,
    Source,
)
from sparseconv_lib.study.numbers import number

Seeds = Mapping[Any, float]  # seed → accuracy
Key = tuple[str, float, float]  # network, training sparsity, test sparsity
Accuracies = Mapping[Key, Seeds] | Callable[[str, float, float], Seeds | None]


@dataclass(frozen=True)
class Verdict:
    """One of the three words, why in a sentence, and the numbers it was read from.

    Each of `cells` holds label, network, sparsity (of training), test_sparsity, source, mean,
    low, high, n and inside, in fractions. For a prediction, low to high is the prediction
    interval, corrected, and cut at 0 and 1; `half_width` is that of the interval before the cut,
    and `inside_alone` is read from the uncorrected one. For a difference it
    is the 1 − 2·alpha interval of the mean, which lies within the bounds just where the test
    shows it; `inside` and `outside` say what was shown. What is not known is None. decisive: which
    of `cells` the reason tells of, or where seeds are too few the one with the most; None if none
    was run. Numbers in the reason are marked, as `numbers` says.
    """

    claim: str
    word: str
    reason: str
    cells: list[dict[str, Any]] = field(default_factory=list)
    decisive: int | None = None


def judge(
    claim: Claim, accuracies: Accuracies, others: Mapping[str, Accuracies] | None = None
) -> Verdict:
    """The verdict on a claim, from accuracies of its experiment and protocol.

    accuracies: (network, training sparsity, test sparsity) → {seed: accuracy}, as a mapping or a
    function; a cell that is absent, None or empty has not been run. others: the same for other
    protocols, by the name that the claim's contrasts give them.
    """

    def seeds(cell: Cell) -> Seeds:
        table = accuracies if cell.protocol is None else (others or {}).get(cell.protocol, {})
        key = (cell.network, cell.train, cell.test)
        return (table(*key) if callable(table) else table.get(key)) or {}

    if claim.rule.type == "arithmetic":
        reason = "Not yet decided: it rests on a calculation, which is not made here."
        return Verdict(claim.id, UNDECIDED, reason)
    if claim.rule.type == "prediction":
        return _judge_prediction(claim, seeds)
    return _judge_contrasts(claim, seeds)


def _judge_prediction(claim: Claim, seeds: Callable[[Cell], Seeds]) -> Verdict:
    rule, source = claim.rule, claim.source
    assert source is not None  # load() saw to it
    columns = [(n, p, i) for n in claim.networks for i, p in enumerate(source.sparsities)]
    m = len(columns) if rule.correction == "bonferroni" else 1
    rows = []
    for network, p, i in columns:
        values = list(seeds(Cell(network, p, p)).values())
        value, slack = source.accuracy[network][i] / 100, source.rounding[i] / 100
        row = _row(Cell(network, p, p), len(values)) | {"source": value, "inside_alone": None}
        if values:
            row["mean"] = statistics.summarise(values).mean
        if len(values) > 1:
            low, high = statistics.prediction_interval(values, 1 - rule.alpha, m)
            alone = statistics.prediction_interval(values, 1 - rule.alpha)
            row |= {"inside": _touches(value, slack, low, high), "half_width": (high - low) / 2}
            # A normal's interval may pass 0 or 1, which no accuracy does: nothing is lost there.
            row |= {"low": max(low, 0.0), "high": min(high, 1.0)}
            row["inside_alone"] = _touches(value, slack, *alone)
        rows.append(row)
    if reason := _too_few(rows, rule.minimum_n):
        return Verdict(claim.id, UNDECIDED, reason, rows, _most_run(rows))

    inside = sum(row["inside"] for row in rows)
    alone = sum(row["inside_alone"] for row in rows)
    count = (
        f"{inside} of {m} source values lie in the prediction interval"
        + (f" ({alone} in the uncorrected one)" if m > 1 else "")
        + f", {_n(rows)}"
    )
    if inside < len(rows):
        worst = max(rows, key=lambda r: max(r["low"] - r["source"], r["source"] - r["high"]))
        reason = f"{count}; {_told(worst, 'farthest out')}."
        return Verdict(claim.id, NOT_REPRODUCED, reason, rows, rows.index(worst))
    widest = max(rows, key=lambda r: r["half_width"])
    told = _told(widest, "the widest")
    if widest["half_width"] > rule.widest / 100:
        reason = f"{count}, but the interval is too wide to tell: {told}."
        return Verdict(claim.id, UNDECIDED, reason, rows, rows.index(widest))
    return Verdict(claim.id, REPRODUCED, f"{count}; {told}.", rows, rows.index(widest))


def _judge_contrasts(claim: Claim, seeds: Callable[[Cell], Seeds]) -> Verdict:
    rule, contrasts = claim.rule, claim.contrasts()
    rows, p_in, p_out = [], [], []
    for contrast in contrasts:
        a, b = contrast.minuend, contrast.subtrahend
        values = list(seeds(a).values()) if b is None else statistics.paired(seeds(a), seeds(b))
        row = _row(a, len(values)) | {"label": str(contrast), "outside": None}
        row["source"] = _source_difference(claim.source, a, b)
        if b is not None and b.network != a.network:
            row["network"] = f"{a.network} − {b.network}"
        if values:
            low, high = contrast.low / 100, contrast.high / 100
            below, above = statistics.p_below(values, low), statistics.p_above(values, high)
            inside = statistics.p_inside(values, low, high)
            # Both sides could have been the one, so two looks; with one bound there is one.
            two_sided = math.isfinite(low) and math.isfinite(high)
            p_in.append(inside)
            p_out.append(min(1.0, 2 * min(below, above)) if two_sided else min(below, above))
            summary = statistics.summarise(values, 1 - 2 * rule.alpha)
            row["mean"] = summary.mean
            if len(values) > 1:
                row |= {"low": summary.low, "high": summary.high, "inside": inside < rule.alpha}
        rows.append(row)
    if reason := _too_few(rows, rule.minimum_n):
        return Verdict(claim.id, UNDECIDED, reason, rows, _most_run(rows))

    adjusted = statistics.holm(p_out)
    for row, p in zip(rows, adjusted, strict=True):
        row["outside"] = p < rule.alpha

    def told(i: int) -> str:
        contrast, row, sign = contrasts[i], rows[i], contrasts[i].subtrahend is not None
        return (
            f"{row['label']} is {number(_points(row['mean'], sign), row['mean'])} "
            f"({100 * (1 - 2 * rule.alpha):g} % interval {_range(row, sign)}, n = {row['n']}); "
            f"the rule asks for {_bounds(contrast, sign)}"
        )

    def where(k: int) -> str:
        return f" in {k} of {len(rows)} comparisons" if len(rows) > 1 else ""

    if any(row["outside"] for row in rows):
        i = min(range(len(rows)), key=adjusted.__getitem__)
        outside = sum(row["outside"] for row in rows)
        reason = f"Outside the bounds{where(outside)}: {told(i)}."
        return Verdict(claim.id, NOT_REPRODUCED, reason, rows, i)
    i = max(range(len(rows)), key=p_in.__getitem__)
    if all(row["inside"] for row in rows):
        nearest = "; the least certain: " if len(rows) > 1 else ": "
        reason = f"Inside the bounds{where(len(rows))}{nearest}{told(i)}."
        return Verdict(claim.id, REPRODUCED, reason, rows, i)
    unsure = sum(not row["inside"] for row in rows)
    corrected = f", corrected for {len(rows)} comparisons" if len(rows) > 1 else ""
    reason = (
        f"Not shown to lie inside the bounds{where(unsure)}, nor anywhere outside them{corrected}: "
        f"{told(i)}."
    )
    return Verdict(claim.id, UNDECIDED, reason, rows, i)


def _most_run(rows: list[dict[str, Any]]) -> int | None:
    """The row with the most seeds, of several the first; None if none was run."""
    most = max(range(len(rows)), key=lambda i: rows[i]["n"])
    return most if rows[most]["n"] else None


def _row(cell: Cell, n: int) -> dict[str, Any]:
    unknown = dict.fromkeys(("source", "mean", "low", "high", "inside"))
    return {
        "label": str(cell),
        "network": cell.network,
        "sparsity": cell.train,
        "test_sparsity": cell.test,
        **unknown,
        "n": n,
    }


def _too_few(rows: list[dict[str, Any]], minimum: int) -> str | None:
    """Why the rows cannot be judged yet, or None if they can."""
    absent = [row["label"] for row in rows if row["n"] == 0]
    if len(absent) == len(rows):
        return "Not yet run."
    if absent:
        return f"Not yet run in {len(absent)} of {len(rows)} cells, first {absent[0]}."
    least = min(rows, key=lambda row: row["n"])
    if least["n"] < minimum:
        where = f" ({least['label']})" if len(rows) > 1 else ""
        return f"n = {least['n']}, the rule asks for {minimum}{where}."
    return None


def _source_difference(source: Source | None, a: Cell, b: Cell | None) -> float | None:
    if source is None or b is None or a.train != a.test or b.train != b.test:
        return None
    x, y = source.value(a.network, a.train), source.value(b.network, b.train)
    return None if x is None or y is None else (x - y) / 100


def _touches(value: float, slack: float, low: float, high: float) -> bool:
    """Whether a printed number could, before it was rounded, have lain in the interval."""
    return low - 1e-12 <= value + slack and value - slack <= high + 1e-12


def _points(x: float, sign: bool) -> str:
    return f"{100 * x:+.2f} points".replace("-", "−") if sign else f"{100 * x:.2f} %"


def _range(row: Mapping[str, Any], sign: bool = False) -> str:
    spec = "+.2f" if sign else ".2f"
    return f"{100 * row['low']:{spec}} to {100 * row['high']:{spec}}".replace("-", "−")


def _bounds(contrast: Contrast, sign: bool) -> str:
    low, high = (f"{x:+g}" if sign and x else f"{x:g}" for x in (contrast.low, contrast.high))
    if math.isinf(contrast.low):
        text = f"less than {high}"
    elif math.isinf(contrast.high):
        text = f"more than {low}"
    else:
        text = f"between {low} and {high}"
    return text.replace("-", "−") + ("" if sign else " %")


def _told(row: Mapping[str, Any], which: str) -> str:
    ours = number(_range(row), row["mean"])
    return f"{which} is {row['label']}, source {_points(row['source'], False)}, ours {ours}"


def _n(rows: list[dict[str, Any]]) -> str:
    least, most = min(row["n"] for row in rows), max(row["n"] for row in rows)
    return f"n = {least}" if least == most else f"n = {least} to {most}"
