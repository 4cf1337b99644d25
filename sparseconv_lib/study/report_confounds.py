"""Tables on what else could make the difference: what stands for a missing pixel, and how it goes.

Fills are compared on digits as they are, whose ground is 0, and on inverted ones, where 0 is a bad
guess; kinds of masks by training on one and testing on another at one sparsity.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas

from sparseconv_lib.study import records, transfer
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    FILLS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.protocol import full_name
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import as_html, devices, mark, note, without_what_lacks
from sparseconv_lib.study.report_invariance import (
    NOT_RUN,
    SHOWN_IN_WORDS,
    SPARSE,
    n_of_seeds,
    shown_among,
    starred,
)
from sparseconv_lib.study.statistics import paired
from sparseconv_lib.study.traced import Traced
from sparseconv_lib.study.transfer import Cells, averaged
from sparseconv_lib.study.wording import HALF, percents

GROUNDS = ("as they are", "inverted")
FILLED = {"value": "0", "mean": "mean of observed pixels", "nearest": "nearest observed pixel"}
FILLS_TESTED_AT = (0.0, *TWO_SPARSITIES, PAPERS_SPARSITY)
SINGLE = "bernoulli"
KINDS = {SINGLE: "single pixels", "block": "blocks", "scan_line": "scan lines"}


def fill_protocol(ground: str, fill: str) -> str:
    changes = ["invert=true"] * (ground == "inverted") + [f"fill_from={fill}"] * (fill != "value")
    return full_name(", ".join(["fair", *changes]))


def kind_protocol(kind: str) -> str:
    """The protocol that trains on that kind of masks."""
    return "fair" if kind == SINGLE else full_name(f"fair, mask_kind={kind}")


def _trained(
    protocol: str, sparsities: Collection[float], networks: Collection[str]
) -> list[Record]:
    return [
        record
        for record in records.load(transfer.EXPERIMENT, protocol)
        if record.key.network in networks and record.key.sparsity in sparsities
    ]


def fills_table() -> str:
    """Digits as they are and inverted, by what stands where a pixel is missing."""
    rows, found = [], []
    for ground in GROUNDS:
        for p in TWO_SPARSITIES:
            for network in PAPERS_NETWORKS:
                for fill in FILLS if network in DENSE_NETWORKS else FILLS[:1]:
                    some = _trained(fill_protocol(ground, fill), [p], [network])
                    found += some
                    cells = transfer.cells_of(some)
                    row = {
                        "digits": ground,
                        "trained at": f"{p:g}",
                        "network": network,
                        "missing pixels": FILLED[fill],
                        "n": f"{len(some)}{mark(some)}",
                    }
                    if network == SPARSE:
                        row["missing pixels"] = "not looked at"
                    for q in FILLS_TESTED_AT:
                        row[f"tested at {q:g}"] = percents(cells.get((network, p, q), {}))
                    rows.append(row)
    if not found:
        return NOT_RUN
    rows, lacks = without_what_lacks(rows, ["digits", "missing pixels"])
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent, mean ± standard deviation over n seeds. 0 is the ground of a "
        "digit as it is, and the ink of an inverted one; mean and nearest are of the same image. "
        f"{devices(found)}.{lacks}{note(found)}",
    )


def by_fill() -> dict[tuple[str, str], Cells]:
    """(Digits, fill) -> the matrix of its protocol."""
    return {
        (ground, fill): transfer.measured(fill_protocol(ground, fill))
        for ground in GROUNDS
        for fill in FILLS
    }


def over_fill(
    cells: Mapping[tuple[str, str], Cells],
    ground: str,
    other: str,
    fill: str,
    where: Sequence[tuple[float, float]],
) -> list[float]:
    """What SparseConvNet has over another network given a fill, seed by seed.

    Averaged over pairs (trained at, tested at), of the seeds that both have in all of them; cells:
    those of `by_fill`.
    """
    return paired(
        averaged(cells[ground, "value"], SPARSE, where),
        averaged(cells[ground, fill], other, where),
    )


def fill_gaps() -> dict[tuple[str, float, str, str, float], list[float]]:
    """(Digits, trained at, other network, its fill, tested at) -> what SparseConvNet has over it.

    Seed by seed; only what has been run, and not what the train x test matrix holds already.
    """
    cells = by_fill()
    return {
        (ground, p, other, fill, q): gap
        for ground in GROUNDS
        for p in TWO_SPARSITIES
        for other in DENSE_NETWORKS
        for fill in FILLS
        for q in FILLS_TESTED_AT
        if fill_protocol(ground, fill) != "fair"
        and (gap := over_fill(cells, ground, other, fill, [(p, q)]))
    }


def fills_behind(some: Iterable[tuple[str, str]]) -> list[Record]:
    """The records of those (digits, fill), and SparseConvNet's, which none is given."""
    return [
        record
        for ground, fill in dict.fromkeys(
            each for ground, fill in some for each in ((ground, "value"), (ground, fill))
        )
        for record in _trained(fill_protocol(ground, fill), TWO_SPARSITIES, PAPERS_NETWORKS)
    ]


def fill_differences_table() -> str:
    """What SparseConvNet has over networks given each fill, by training and test sparsity."""
    gaps = fill_gaps()
    if not gaps:
        return NOT_RUN
    shown = shown_among(gaps)
    rows = [
        {"digits": ground, "trained at": f"{p:g}", "other": other, "given": FILLED[fill]}
        | {
            f"tested at {q:g}": starred(gaps.get((*label, q), []), (*label, q) in shown)
            for q in FILLS_TESTED_AT
        }
        for label in dict.fromkeys(label[:-1] for label in gaps)
        for ground, p, other, fill in [label]
    ]
    found = fills_behind((ground, fill) for ground, _, _, fill, _ in gaps)
    return as_html(
        pandas.DataFrame(rows),
        f"{SPARSE} minus the other network, which is given that for a missing pixel, in points of "
        f"accuracy, paired by seed, {HALF}. {SHOWN_IN_WORDS} the {shown.tested} differences. "
        f"{n_of_seeds(gaps.values())}; equal care; {_not_all_on_one(found)}.{note(found)}",
    )


def _not_all_on_one(found: Sequence[Record]) -> str:
    """On which devices these ran; if several, that networks are compared across them."""
    ran = devices(found)
    several = len({devices([record]) for record in found}) > 1
    return f"{ran}, and networks are compared across these" if several else ran


def kinds_table() -> str:
    """Trained with pixels missing in one way, tested in another, at the same sparsity."""
    rows, found, scores = [], [], by_kind()
    for kind, told in KINDS.items():
        for p in TWO_SPARSITIES:
            for network in PAPERS_NETWORKS:
                some = _trained(kind_protocol(kind), [p], [network])
                found += some
                row = {"trained on": told, "p": f"{p:g}", "network": network}
                row["n"] = f"{len(some)}{mark(some)}"
                for tested, name in KINDS.items():
                    row[f"tested on {name}"] = percents(scores.get((kind, p, network, tested), {}))
                rows.append(row)
    if not found:
        return NOT_RUN
    rows, lacks = without_what_lacks(rows, ["trained on", "p"])
    return as_html(
        pandas.DataFrame(rows),
        "Test accuracy in per cent, mean ± standard deviation over n seeds, by how pixels go "
        "missing: one by one, in squares of 4 × 4, or in whole rows as a laser scanner leaves "
        f"them. {devices(found)}.{lacks}{note(found)}",
    )


def by_kind() -> Mapping[tuple[str, float, str, str], Mapping[int, float]]:
    """(Trained on, sparsity, network, tested on) -> accuracy by seed, where there is any."""
    scores: dict[tuple[str, float, str, str], dict[int, float]] = {}
    for trained in KINDS:
        for record in _trained(kind_protocol(trained), TWO_SPARSITIES, PAPERS_NETWORKS):
            key = record.key
            for tested in KINDS:
                if (score := on_masks(record, tested)) is not None:
                    label = (trained, key.sparsity, key.network, tested)
                    scores.setdefault(label, {})[key.seed] = score
    return scores


def on_masks(record: Record, kind: str) -> float | None:
    """A record's accuracy at its sparsity with masks of that kind; None if not tested."""
    if kind == record.protocol.mask_kind:
        return record.accuracy
    found = record.content.get("other_masks", {}).get(kind)
    return None if found is None else Traced(found, (record.key,))


def kind_gaps() -> dict[tuple[str, float, str, str], list[float]]:
    """(Trained on, sparsity, other network, tested on) -> what SparseConvNet has over it.

    Seed by seed; only what has been run, and not what the train x test matrix holds already.
    """
    scores = by_kind()
    return {
        (trained, p, other, tested): gap
        for trained in KINDS
        for p in TWO_SPARSITIES
        for other in DENSE_NETWORKS
        for tested in KINDS
        if (trained, tested) != (SINGLE, SINGLE)
        and (
            gap := paired(*(
                scores.get((trained, p, network, tested), {}) for network in (SPARSE, other)
            ))
        )
    }  # fmt: skip


def kinds_behind(some: Iterable[tuple[str, float]]) -> list[Record]:
    """The records of those (kind trained on, sparsity)."""
    return [
        record
        for kind, p in dict.fromkeys(some)
        for record in _trained(kind_protocol(kind), [p], PAPERS_NETWORKS)
    ]


def kind_differences_table() -> str:
    """What SparseConvNet has over the others, by the kind of masks trained and tested on."""
    gaps = kind_gaps()
    if not gaps:
        return NOT_RUN
    shown = shown_among(gaps)
    rows = [
        {"trained on": KINDS[trained], "p": f"{p:g}", "other": other}
        | {
            f"tested on {name}": (
                "as above"
                if label[0] == tested == SINGLE
                else starred(gaps.get((*label, tested), []), (*label, tested) in shown)
            )
            for tested, name in KINDS.items()
        }
        for label in dict.fromkeys(label[:-1] for label in gaps)
        for trained, p, other in [label]
    ]
    found = kinds_behind((trained, p) for trained, p, _, _ in gaps)
    return as_html(
        pandas.DataFrame(rows),
        f"{SPARSE} minus the other network in points of accuracy, paired by seed, {HALF}, trained "
        f"and tested at p; those of single pixels are in the matrix. {SHOWN_IN_WORDS} the "
        f"{shown.tested} differences. "
        f"{n_of_seeds(gaps.values())}; equal care; {_not_all_on_one(found)}.{note(found)}",
    )
