"""Tables and figures on what SparseConvNet learns without BatchNorm, as HTML.

All trainings are of SparseConvNet-kept, most on whole images, where the source says that it learns
nothing. Learned is what answers more than 15 % of the test images: the bound of the claim's rule.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas

from sparseconv_lib.study import figures, numbers, records
from sparseconv_lib.study.grid import EXPERIMENTS, WITH_BATCH_NORM, WITHOUT_BATCH_NORM
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import NO_BREAK, as_html
from sparseconv_lib.study.statistics import summarise
from sparseconv_lib.study.traced import Traced
from sparseconv_lib.study.training import PARTS_OF_AN_EPOCH

MOVED = 2.2  # nats; guessing by the classes' shares costs ln 10 = 2.30
LEARNED = 0.15
WITH_SMALL_BATCHES = EXPERIMENTS["batch_norm"].grids[0].protocols
EPOCHS = 2  # the source's
SCALE_IN_WORDS = {"mean": "1/Σ", "partial": "k²/Σ", "none": "none"}


def trained(sparsity: float = 0.0) -> Iterator[tuple[Protocol, list[Record]]]:
    """Each protocol with its records at `sparsity`, by seed: those with batches of 4 first."""
    for name in (*WITH_SMALL_BATCHES, *WITHOUT_BATCH_NORM, *WITH_BATCH_NORM):
        yield (
            preset(name),
            [
                record
                for record in records.load("mnist", name)
                if (record.key.network, record.key.sparsity) == ("SparseConvNet-kept", sparsity)
            ],
        )


def moved_at(curve: Iterable[float | None], parts: int) -> float | None:
    """Epochs until a part's mean training loss was below `MOVED`; None if none was.

    curve: the loss of each part, None where it was not finite; parts: parts of an epoch.
    """
    for i, loss in enumerate(curve, 1):
        if loss is not None and loss < MOVED:
            return i / parts
    return None


def accuracy_after(record: Record, epochs: int = EPOCHS) -> float:
    """Test accuracy after so many epochs of a training that may have gone on."""
    return Traced(record.content["epochs"][epochs - 1]["test_accuracy"], (record.key,))


def table() -> str:
    """Accuracy after two epochs, and when the loss moved, for every scale, rate and batch size."""
    rows = [_row(protocol, 0.0, found) for protocol, found in trained()]
    sparse = list(trained(0.8))[: len(WITH_SMALL_BATCHES)]
    rows[len(sparse) : len(sparse)] = [_row(protocol, 0.8, found) for protocol, found in sparse]
    return as_html(
        pandas.DataFrame(rows),
        "SparseConvNet-kept; 1/Σ is the scale of Eq. 1. Mean ± standard deviation over n seeds. "
        f"Learned: seeds with more than {LEARNED:.0%} after {EPOCHS} epochs. Loss moved: when the "
        f"training loss, the mean over each {PARTS_OF_AN_EPOCH}th part of an epoch, first fell "
        f"below {MOVED:g} nats; guessing costs ln 10 = {math.log(10):.2f}. At p = 0 the scale "
        "“none” is a plain convolution. First bias: of the sparse convolutions.",
    )


def _row(protocol: Protocol, sparsity: float, found: Sequence[Record]) -> dict[str, str]:
    row = {
        "p": f"{sparsity:g}",
        "BatchNorm": "yes" if protocol.batch_norm else "no",
        "scale": SCALE_IN_WORDS[protocol.scale],
        "first bias": "0" if protocol.sparse_bias == "zero" else "default",
        "learning rate": f"{protocol.learning_rates[0]:g}",
        "batch": str(protocol.batch_size),
        "n": str(len(found)),
        f"% after {EPOCHS} epochs": "not run",
        "learned": "–",
        "loss moved": "–",
    }
    if not found:
        return row
    accuracies = [accuracy_after(record) for record in found]
    summary = summarise(accuracies)
    spread = "" if summary.n == 1 else f" ± {100 * summary.sd:.2f}"
    told = f"{100 * summary.mean:.2f}{spread}".replace(" ", NO_BREAK)
    return row | {
        f"% after {EPOCHS} epochs": numbers.number(told, summary, f"{100 * summary.sd:.2f} points"),
        "learned": f"{sum(a > LEARNED for a in accuracies)} of {len(found)}",
        "loss moved": _when(found, protocol.epochs),
    }


def _when(found: Sequence[Record], epochs: int) -> str:
    """ "after 0.55 to 0.6 epochs", "not in 10 epochs", and how many seeds diverged."""
    curves = [record.content["curve"] for record in found]
    moved = [moved_at(curve, PARTS_OF_AN_EPOCH) for curve in curves]
    when = sorted({each for each in moved if each is not None})
    if not when:
        told = f"not in {epochs} epochs"
    else:
        told = "after " + " to ".join(f"{each:g}" for each in dict.fromkeys((when[0], when[-1])))
        told += " epochs"
        if None in moved:
            told += f" ({sum(each is not None for each in moved)} of {len(moved)} seeds)"
    if diverged := sum(None in curve for curve in curves):
        told += f"; {diverged} diverged"
    return told


def in_words() -> str:
    """Whether a larger rate, or another scale, is a cure within the source's two epochs."""
    rows = [(protocol, found) for protocol, found in trained() if found]
    if not rows:
        return "Not run yet."
    sentences = []
    for norm in (False, True):
        parts = []
        for scale, name in SCALE_IN_WORDS.items():
            some = [row for row in rows if (row[0].batch_norm, row[0].scale) == (norm, scale)]
            if some:
                rates = [protocol.learning_rates[0] for protocol, _ in some]
                learned = [
                    accuracy_after(record) > LEARNED for _, found in some for record in found
                ]
                span = " to ".join(f"{r:g}" for r in dict.fromkeys((min(rates), max(rates))))
                parts.append(
                    f"{sum(learned)} of {len(learned)} with the scale {name} (rate {span})"
                )
        if parts:
            sentences.append(f"{'With' if norm else 'Without'} BatchNorm: {'; '.join(parts)}.")
    return (
        f"Trainings that learned within {EPOCHS} epochs at p = 0. {' '.join(sentences)}"
        f"{_of_the_scale(rows)}"
    )


def _of_the_scale(rows: Iterable[tuple[Protocol, Sequence[Record]]]) -> str:
    """Whether the scale alone tells what learns without BatchNorm, at the same several rates."""
    alike = [preset(name) for name in WITHOUT_BATCH_NORM]  # but for scale, rate and epochs
    rates: dict[str, set[float]] = {}
    learned: dict[str, list[bool]] = {}
    for protocol, found in rows:
        if protocol in alike:
            rates.setdefault(protocol.scale, set()).add(protocol.learning_rates[0])
            its = learned.setdefault(protocol.scale, [])
            its += [accuracy_after(record) > LEARNED for record in found]
    divided = learned.pop("mean", [])
    same = len(rates) > 1 and all(its == rates.get("mean") for its in rates.values())
    if not same or len(rates["mean"]) < 2 or any(divided) or not all(map(all, learned.values())):
        return ""
    return (
        f" Without BatchNorm it is the scale 1/Σ that keeps the network from learning within "
        f"{EPOCHS} epochs: at the same rates it learns with every other scale."
    )


def figure() -> str:
    """Training loss of every scale, rate and BatchNorm with batches of 64, seed 0, two epochs."""
    rows = [
        (protocol, record)
        for protocol, found in trained()
        for record in found
        if record.key.seed == 0 and protocol.batch_size == 64
    ]
    if not rows:
        return "<p>Not run yet.</p>"
    rates = sorted({protocol.learning_rates[0] for protocol, _ in rows})
    panels = {rate: figures.new_figure(3.4, 3.1 if rate < rates[-1] else 4.2) for rate in rates}
    colors = dict(
        zip(SCALE_IN_WORDS, (style[0] for style in figures.STYLES.values()), strict=False)
    )
    handles = {}
    ends: dict[float, list[str]] = {rate: [] for rate in rates}
    moved: dict[bool, list[bool]] = {False: [], True: []}  # with BatchNorm -> of each line
    for protocol, record in rows:
        rate = protocol.learning_rates[0]
        curve = [
            np.nan if loss is None else loss
            for loss in record.content["curve"][: EPOCHS * PARTS_OF_AN_EPOCH]
        ]
        parts = record.content["curve"][: len(curve)]
        moved[protocol.batch_norm].append(moved_at(parts, PARTS_OF_AN_EPOCH) is not None)
        label = f"{SCALE_IN_WORDS[protocol.scale]}, {'' if protocol.batch_norm else 'no '}BatchNorm"
        (handles[label],) = panels[rate][1].plot(
            (np.arange(len(curve)) + 0.5) / PARTS_OF_AN_EPOCH,
            curve,
            color=colors[protocol.scale],
            linestyle="--" if protocol.batch_norm else "-",
            linewidth=1.3,
        )
        ends[rate].append(f"{label} {curve[-1]:.2f}")
    for rate, (_, axis) in panels.items():
        axis.axhline(math.log(10), color="#444444", linewidth=0.8, linestyle=":")
        axis.set(title=f"learning rate {rate:g}", xlabel="epoch", ylim=(0, 2.6))
        axis.set_ylabel("training loss (nats)")
    last, _ = panels[rates[-1]]
    last.legend(handles.values(), handles.keys(), loc="outside lower center", fontsize=8)
    return figures.pictures(
        [
            (figure, f"Training loss at rate {rate:g}; where each line ends: "
                     f"{'; '.join(ends[rate])}.")
            for rate, (figure, _) in panels.items()
        ],
        f"{_how_many_moved(moved)}Training loss on whole images, batches of 64, seed 0: three "
        "scales, with BatchNorm (dashed) and without (solid). The dotted line is ln 10, the loss "
        "of a guess.",
    )  # fmt: skip


def _how_many_moved(moved: Mapping[bool, Sequence[bool]]) -> str:
    """ "Losses that fall below 2.2 nats within 2 epochs: without BatchNorm 6 of 9, ..."."""
    told = [
        f"{name} BatchNorm {sum(lines)} of {len(lines)}"
        for norm, name in ((False, "without"), (True, "with"))
        if (lines := moved[norm])
    ]
    return f"Losses that fall below {MOVED:g} nats within {EPOCHS} epochs: {', '.join(told)}. "
