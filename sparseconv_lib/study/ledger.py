"""The claim ledger: every claim of `results/verdicts.toml` with its rule and its verdict.

`rows(accuracies)` gives one Row a claim, `recorded(experiment, protocol)` the accuracies.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

from sparseconv_lib.study import (
    claims,
    implementations,
    mask_twice,
    numbers,
    records,
    skill,
    statistics,
    tables,
    traced,
    verdicts,
)
from sparseconv_lib.study.claims import NOT_REPRODUCED, Claim, Contrast, Register
from sparseconv_lib.study.grid import grid_of
from sparseconv_lib.study.protocol import BASELINES
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.verdicts import Accuracies, Verdict

NOT_RUN = "not yet run"
NOT_DECIDED = "not yet decided"
# Claims that a count decides: id -> (word, reason).
CALCULATED: dict[str, Callable[[], tuple[str, str]]] = {
    "layer-double-parameters": implementations.verdict,
    "resnet18-mask-twice": mask_twice.verdict,
}
# Claims of which a setting was chosen by what it makes of them; `seen_before` has the whole.
NOT_BLIND = dict.fromkeys(
    ("mnist-98-to-91", "mnist-table-3"),
    "At p = 0.8 it is not judged blind: batches of 4 were chosen since they come near the source’s "
    "value there.",
)


@dataclass(frozen=True)
class Row:
    """A claim, its rule in a sentence, and what has come of it so far."""

    claim: Claim
    rule: str
    word: str  # one of claims.WORDS, NOT_RUN or NOT_DECIDED
    reason: str  # a sentence; empty where word says it all
    verdict: Verdict


def recorded(experiment: str, protocol: str) -> Accuracies:
    """(network, training sparsity, test sparsity) → {seed: accuracy}, from the records."""
    if experiment == "discussion":  # which has no trainings of its own
        return skill.retained()
    return tables.accuracies(records.load(experiment, protocol))


def rows(
    accuracies: Callable[[str, str], Accuracies] = recorded, register: Register | None = None
) -> list[Row]:
    """A Row for every claim, in the file's order.

    accuracies: (experiment, protocol) → accuracies, as `judge` takes them; the protocol is named
    as in the file, with any change after a comma.
    """
    read_once = functools.cache(accuracies)  # several claims ask for the same ones
    return [_row(claim, read_once) for claim in (register or claims.load()).claims]


def row_of(name: str) -> Row:
    """The Row of one claim by its id, from the records; KeyError if there is no such claim."""
    claim = {claim.id: claim for claim in claims.load().claims}[name]
    return _row(claim, functools.cache(recorded))


def _row(claim: Claim, accuracies: Callable[[str, str], Accuracies]) -> Row:
    if claim.rule.type == "arithmetic":
        verdict = verdicts.judge(claim, {})
        word, reason = CALCULATED.get(claim.id, lambda: (NOT_DECIDED, ""))()
        return Row(claim, rule_in_words(claim), word, reason, verdict)
    others = {
        cell.protocol: accuracies(claim.experiment, cell.protocol)
        for contrast in claim.contrasts()
        for cell in (contrast.minuend, contrast.subtrahend)
        if cell is not None and cell.protocol is not None
    }
    verdict = verdicts.judge(claim, accuracies(claim.experiment, claim.protocol), others)
    if not any(cell["n"] for cell in verdict.cells):
        return Row(claim, rule_in_words(claim), NOT_RUN, "", verdict)
    return Row(claim, rule_in_words(claim), verdict.word, _so_far(claim, verdict), verdict)


def _so_far(claim: Claim, verdict: Verdict) -> str:
    """The verdict's reason, marked as not final while the published grid asks for more seeds.

    It asks for the fewest seeds of any protocol that the claim compares: pairs need both.
    """
    protocols = {
        cell.protocol or claim.protocol
        for contrast in claim.contrasts()
        for cell in (contrast.minuend, contrast.subtrahend)
        if cell is not None
    } or {claim.protocol}
    grids = [grid for each in protocols if (grid := grid_of(claim.experiment, each))]
    asked = min((grid.seeds for grid in grids), default=0)
    if min(cell["n"] for cell in verdict.cells) >= asked:
        return verdict.reason
    run = [cell["n"] for cell in verdict.cells if cell["n"]]
    least, most = min(run), max(run)
    n = "all" if least == asked else f"{least}" if least == most else f"{least} to {most}"
    seeds = f"{n} of the grid's {asked} seeds"
    return (
        f"{verdict.reason} {'So far' if len(run) == len(verdict.cells) else 'Where run'}: {seeds}."
    )


def devices(row: Row) -> str:
    """The devices of the trainings behind a verdict; empty where none is known."""
    keys = traced.behind([cell["mean"] for cell in row.verdict.cells if cell["mean"] is not None])
    trained = [key for key in keys if isinstance(key, Key) and key.network not in BASELINES]
    found = [record for key in trained if (record := records.find(key))]
    return "; ".join(sorted({record.content["provenance"]["device"] for record in found}))


def ours(row: Row, named: bool = False) -> str:
    """Our number beside the source's, in the comparison that decides or comes nearest to it.

    Its mean, marked as `numbers` says; in brackets the interval that the rule reads; n. Empty where
    nothing was run. named: tell the level of a difference's interval.
    """
    if row.claim.rule.type == "arithmetic":
        return "" if row.word == NOT_DECIDED else "calculated"
    if row.verdict.decisive is None:
        return ""
    cell = row.verdict.cells[row.verdict.decisive]
    difference = row.claim.rule.type != "prediction" and (
        row.claim.contrasts()[row.verdict.decisive].subtrahend is not None
    )
    spec, unit = ("+.2f", "points") if difference else (".2f", "%")
    mean, low, high = (
        None if cell[name] is None else f"{100 * cell[name]:{spec}}".replace("-", "−")
        for name in ("mean", "low", "high")
    )
    which = f"{level(row.claim)} " if named and difference else ""
    span = f" ({which}{low} to {high})" if low is not None else ""
    told = numbers.number(f"{mean} {unit}", cell["mean"])
    return f"{cell['label']}: {told}{span}, n = {cell['n']}"


def by_the_code(claim: Claim, accuracies: Callable[[str, str], Accuracies] = recorded) -> str:
    """The comparisons of a claim on MNIST, trained as the source's code has it; "" if none was.

    They are not judged, since the source reports its numbers for what its text has. But where the
    two part, a reader should know.
    """
    gaps = _by_the_code(claim, accuracies)
    if not gaps:
        return ""
    told = "; ".join(f"{contrast}: {_span(gap)}" for contrast, gap in gaps)
    return f"With {level(claim)}s, not judged: {told}."


def turned_by_the_code(row: Row, accuracies: Callable[[str, str], Accuracies] = recorded) -> str:
    """What the source's code makes of the comparison that decides, if it shows the opposite."""
    if row.verdict.decisive is None:
        return ""
    mean = row.verdict.cells[row.verdict.decisive]["mean"]
    for contrast, gap in _by_the_code(row.claim, accuracies):
        low, high = contrast.low / 100, contrast.high / 100
        inside, outside = low < gap.low and gap.high < high, gap.low > high or gap.high < low
        if str(contrast) == row.verdict.cells[row.verdict.decisive]["label"] and (
            outside if low < mean < high else inside
        ):
            return (
                "With networks trained as the source’s code has it (as_coded), this comparison is "
                f"{_span(gap)}; not judged."
            )
    return ""


def short_of_its_margin(row: Row) -> str:
    """What a verdict does not say: that all comparisons go the claim's way, only not as far."""
    contrasts, cells = row.claim.contrasts(), row.verdict.cells
    if row.word != NOT_REPRODUCED or not contrasts:
        return ""
    more = all(
        contrast.subtrahend and contrast.low > 0 and math.isinf(contrast.high)
        for contrast in contrasts
    )
    if not more or any(cell["low"] is None or cell["low"] <= 0 for cell in cells):
        return ""
    what = "each comparison is" if len(cells) > 1 else "it is"
    return f"By the rule’s own test {what} above 0, though not by the rule’s margin."


def caveats(row: Row) -> str:
    """What the word alone would hide: a margin that was missed, a choice that was not blind."""
    return " ".join(filter(None, (short_of_its_margin(row), NOT_BLIND.get(row.claim.id))))


def remarks(row: Row) -> str:
    """What a reader should know beside the verdict and our number; "" where there is nothing."""
    return " ".join(filter(None, (turned_by_the_code(row), caveats(row))))


def _by_the_code(
    claim: Claim, accuracies: Callable[[str, str], Accuracies]
) -> list[tuple[Contrast, statistics.Summary]]:
    """Each comparison of two networks that two seeds or more were trained for as coded."""
    if (claim.experiment, claim.protocol) != ("mnist", "as_written"):
        return []
    cells, found = accuracies("mnist", "as_coded"), []
    assert not callable(cells)
    for contrast in claim.contrasts():
        a, b = contrast.minuend, contrast.subtrahend
        if b is None or a.protocol or b.protocol:
            continue
        one, other = (cells.get((cell.network, cell.train, cell.test)) or {} for cell in (a, b))
        if len(one.keys() & other.keys()) > 1:
            gap = statistics.paired_difference(one, other, 1 - 2 * claim.rule.alpha)
            found.append((contrast, gap))
    return found


def _span(gap: statistics.Summary) -> str:
    mean, low, high = (f"{100 * x:+.2f}".replace("-", "−") for x in (gap.mean, gap.low, gap.high))
    return f"{numbers.number(f'{mean} points', gap)} ({low} to {high}), n = {gap.n}"


def level(claim: Claim) -> str:
    """ "90 % interval": the one that a rule on differences reads."""
    return f"{100 * (1 - 2 * claim.rule.alpha):g} % interval"


def rule_in_words(claim: Claim) -> str:
    """What "reproduced" asks for, in one sentence."""
    rule = claim.rule
    if rule.type == "arithmetic":
        return "A count or a calculation decides; no training does."
    seeds = f"; at least {rule.minimum_n} seeds."
    if rule.type == "prediction":
        assert claim.source is not None
        m = len(claim.networks) * len(claim.source.sparsities)
        how_many = {1: "The one value", 2: "Both values"}.get(m, f"All {m} values")
        together = ", corrected for their number" if rule.correction == "bonferroni" else ""
        level = f"{100 * (1 - rule.alpha):g} %"
        return (
            f"{how_many} of the source must lie where one more run of ours would "
            f"({level}{together}){seeds}"
        )
    contrasts = claim.contrasts()
    bounds = list(dict.fromkeys(in_bounds(contrast) for contrast in contrasts))
    if len(contrasts) == 1:
        return f"{contrasts[0]} must be shown to lie {bounds[0]}{seeds}"
    what = "differences" if contrasts[0].subtrahend is not None else "accuracies"
    if rule.type in ("equivalence", "no_gain"):
        a, b = claim.networks
        return (
            f"{a} − {b} must be shown to lie {bounds[0]} at each of {len(contrasts)} "
            f"sparsities{seeds}"
        )
    return f"Each of {len(contrasts)} {what} must be shown to lie {' or '.join(bounds)}{seeds}"


def in_bounds(contrast: Contrast) -> str:
    """ "above −1 points", "below +0.5 points", "between 0 and 15 %": what is claimed of it."""
    sign, unit = ("+", " points") if contrast.subtrahend is not None else ("", " %")
    low, high = (
        (f"{x:{sign}g}" if x else "0").replace("-", "−") for x in (contrast.low, contrast.high)
    )
    if math.isinf(contrast.low):
        return f"below {high}{unit}"
    if math.isinf(contrast.high):
        return f"above {low}{unit}"
    return f"between {low} and {high}{unit}"
