"""What `fair`, the protocol of equal care, rests on: its one learning rate, and when it stops."""

from collections.abc import Sequence

from scipy import stats

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import numbers, records, transfer
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.grid import PATIENT, TUNING
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import devices, signed
from sparseconv_lib.study.report_invariance import FULLER, SPARSER, chosen, leads, records_at
from sparseconv_lib.study.statistics import Summary
from sparseconv_lib.study.traced import Traced, behind
from sparseconv_lib.study.transfer import Cells, measured
from sparseconv_lib.study.wording import HALF, difference, n_of_gaps, points, span


def tuning() -> str:
    """Whether the one learning rate of `fair` is a good one for every network."""
    (rate,), told = preset("fair", "invariance").learning_rates, []
    tuned = records.load(transfer.EXPERIMENT, TUNING)
    for record in tuned:
        scores = {
            each["learning_rate"]: each["held_out_accuracy"]
            for each in record.content["candidates"]
        }
        listed = ", ".join(
            f"{numbers.of_trainings(f'{100 * score:.2f}', [record.key])} ({r:g})"
            for r, score in sorted(scores.items())
        )
        best = [f"{r:g}" for r, score in sorted(scores.items()) if score == max(scores.values())]
        if lost := max(scores.values()) - scores[rate]:
            listed += f" ({rate:g} costs it {100 * lost:.2f} points)"
        else:
            listed += f" ({in_a_row(best)} {'are' if len(best) > 1 else 'is'} the best)"
        told.append(f"{record.key.network} {listed}")
    if not told:
        return "Whether that rate is a good one for every network has not been run yet."
    untried = [name for name in NETWORKS if name not in {r.key.network for r in tuned}]
    lacking = f" Not tried: {in_a_row(untried)}." if untried else ""
    return (
        "Held-out accuracy in per cent by learning rate, each trained until two epochs brought "
        f"nothing better, at p = {tuned[0].key.sparsity:g}, seed 0, n = 1: {'; '.join(told)}. A "
        f"tenth of a point is {tuned[0].protocol.held_out // 1000} of the "
        f"{tuned[0].protocol.held_out:,} held-out images, so that near rates are not told apart."
        f"{lacking} ({devices(tuned)}.)"
    )


def stopping() -> str:
    """How long trainings went on, and whether those that did were better for it."""
    found = records.load(transfer.EXPERIMENT, "fair")
    cells: dict[tuple[str, float], list[Record]] = {}
    for record in found:
        cells.setdefault((record.key.network, record.key.sparsity), []).append(record)
    rs = {key: found_r for key, its in cells.items() if (found_r := _longer_is_better(its))}
    if not rs:
        return "Whether longer trainings are better has not been run by three seeds yet."
    values = [r for r, _ in rs.values()]
    p, q = FULLER
    plain = cells.get(("ConvNet", p), [])
    there = ""
    if moved := _longer_is_better(plain, q):
        far, p_value = moved
        there = (
            f" For ConvNet, trained at p = {p:g} and tested at p = {q:g}, it is {_of_r(far)} "
            f"(two-sided p-value {p_value:.2f}, n = {len(plain)})."
        )
    return (
        f"Trainings ended after {span([chosen(record)[1] for record in found])} epochs. Over the "
        "seeds of a network and sparsity, the correlation of epochs and accuracy where they were "
        f"trained is above 0 in {sum(r > 0 for r in values)} of {len(rs)} cases, which share their "
        f"seeds, from {_of_r(min(values))} to {_of_r(max(values))} (n = "
        f"{span({len(cells[key]) for key in rs})} each; {devices(found)}).{there}"
    )


def _longer_is_better(
    found: Sequence[Record], tested_at: float | None = None
) -> tuple[Traced, float] | None:
    """Pearson's r over seeds of epochs and accuracy, by default where they were trained; its p.

    None for fewer than three seeds, or where one of the two does not vary.
    """
    epochs = [chosen(record)[1] for record in found]
    scores = [
        record.accuracy if tested_at is None else record.accuracy_at(tested_at) for record in found
    ]
    if len(found) < 3 or min(len(set(epochs)), len(set(scores))) == 1:
        return None
    r, p_value = stats.pearsonr(epochs, scores)
    return Traced(float(r), behind(scores)), float(p_value)


def _of_r(r: Traced) -> str:
    return numbers.number(signed(r, 2), r)


def patience() -> str:
    """What training on for longer changes, where it was trained and far from there."""
    asked, usual = (preset(name, transfer.EXPERIMENT).patience for name in (PATIENT, "fair"))
    patient, fair = measured(PATIENT), measured("fair")
    told: list[str] = []
    taken: list[Summary] = []
    longer: list[Record] = []
    beside: list[Record] = []
    for p, q in (FULLER, SPARSER):
        trained = [r for r in records.load(transfer.EXPERIMENT, PATIENT) if r.key.sparsity == p]
        if not trained:
            continue
        its = []
        for at in (p, q):
            gains = _gains(patient, fair, p, at)
            parts = [f"{network} {points(gain)}" for network, gain in gains.items()]
            if parts:
                its.append(f"tested at {at:g}, {', '.join(parts)}")
            taken += gains.values()
        if ahead := leads(patient, p, q):
            over = in_a_row([f"{points(lead)} over {other}" for other, lead in ahead.items()])
            its.append(f"and SparseConvNet then has {over} at {q:g}")
            taken += ahead.values()
        ended = [chosen(record)[1:] for record in trained]
        ran, most = [epochs for epochs, _ in ended], trained[0].protocol.epochs
        # Of those that reached the limit, the ones whose patience had not run out by then.
        cut = sum(epochs >= most and epochs - best < asked for epochs, best in ended)
        limit = f" ({cut} of {len(ran)} cut off by the limit of {most})" if cut else ""
        told.append(f"Trained at p = {p:g}, for {span(ran)} epochs{limit}: {'; '.join(its)}.")
        longer += trained
        beside += records_at("fair", [(p, p)])
    if not told:
        return "Whether more patience would change this has not been run yet."
    return (
        f"What a patience of {asked} epochs gives over one of {usual}, in points. "
        f"{' '.join(told)} ({HALF}, {n_of_gaps(taken)}; {devices(longer)}, beside "
        f"{devices(beside)}.)"
    )


def _gains(changed: Cells, usual: Cells, p: float, q: float) -> dict[str, Summary]:
    """Network -> what it has over itself under the usual protocol, trained at p and tested at q."""
    found = {}
    for network in NETWORKS:
        cell = (network, p, q)
        if gain := difference(changed.get(cell, {}), usual.get(cell, {})):
            found[network] = gain
    return found
