"""The short answer against the records' files, read and tested by other code."""

import json
import math
import statistics
import tomllib
from types import SimpleNamespace

from scipy.stats import t, ttest_1samp

from sparseconv_lib.study import (
    answer,
    claims,
    depth_in_words,
    ledger,
    numbers,
    records,
    report,
    report_caltech,
    whole_matrix,
)
from sparseconv_lib.study.paths import RESULTS

SPARSITIES = (0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


def by_seed(folder, network, p):
    """Seed -> accuracy, trained and tested at p."""
    files = (RESULTS / folder).glob(f"{network}-p{p:.2f}-seed*.json")
    read = (json.loads(path.read_text("utf-8")) for path in files)
    return {record["seed"]: record["accuracy"][f"{p:g}"] for record in read}


def gaps_of(folder, own, other, sparsities):
    """p -> own minus other, of the seeds that both have; of two seeds or more."""
    found = {}
    for p in sparsities:
        a, b = by_seed(folder, own, p), by_seed(folder, other, p)
        if len(a.keys() & b.keys()) > 1:
            found[p] = [a[seed] - b[seed] for seed in sorted(a.keys() & b.keys())]
    return found


def shown(gaps):
    """Labels above 0, and below, by t tests and Holm's steps: the least p-value first."""
    p_values = {label: ttest_1samp(gap, 0).pvalue for label, gap in gaps.items()}
    found = set()
    for step, label in enumerate(sorted(p_values, key=p_values.get)):
        if p_values[label] * (len(p_values) - step) >= 0.05:
            break
        found.add(label)
    return tuple(
        {label for label in found if side * statistics.mean(gaps[label]) > 0} for side in (1, -1)
    )


def told(gaps, where):
    if not where:
        return "nowhere"
    sizes = sorted(abs(100 * statistics.mean(gaps[p])) for p in where)
    ends = [f"{size:.1f}" for size in (sizes[0], sizes[-1])][: len(where)]
    *first, last = (f"{p:g}" for p in sorted(where))
    listed = f"{', '.join(first)} and {last}" if first else last
    return f"by {' to '.join(ends)} points at p = {listed}"


def test_what_is_shown_on_digits_is_shown_by_their_files():
    text = numbers.plain(answer.at_one_sparsity())
    for own in ("SparseConvNet", "SparseConvNet-kept"):
        expected = []
        for other in ("ConvNet", "ConvNet+mask"):
            gaps = gaps_of("invariance/fair", own, other, SPARSITIES)
            above, below = shown(gaps)
            expected.append(
                f"to beat {other} {told(gaps, above)} and to lose to it {told(gaps, below)}"
                if above or below
                else f"to differ from {other} nowhere"
            )
        assert f"{own} is shown {'; '.join(expected)}" in text
    assert (
        "after Holm’s correction for each pair; compared at p = 0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9 "
        "and 0.95, n = 5" in text
    )


def test_a_clear_lead_and_a_clear_loss_and_noise(monkeypatch):
    plain = {0.0: [0.0, 0.01, -0.01], 0.5: [0.02, 0.021, 0.019], 0.8: [-0.04, -0.041, -0.039]}
    monkeypatch.setattr(
        answer,
        "diagonal",
        lambda: {
            ("SparseConvNet", "ConvNet"): plain,
            ("SparseConvNet", "ConvNet+mask"): {0.0: [0.5]},  # of one seed, which shows nothing
            ("ConvNet+mask", "ConvNet"): {0.0: [0.5, 0.51, 0.52]},
            ("SparseConvNet-kept", "ConvNet"): {0.0: [0.01, -0.01, 0.0]},
            ("SparseConvNet", "SparseConvNet-kept"): {0.9: [0.5, 0.51, 0.52]},
        },
    )
    assert numbers.plain(answer.at_one_sparsity()) == (
        "On digits with equal care, each network tested at the sparsity of its training, "
        "SparseConvNet is shown to beat ConvNet by 2.0 points at p = 0.5 and to lose to it by 4.0 "
        "points at p = 0.8. SparseConvNet-kept is shown to differ from ConvNet nowhere (after "
        "Holm’s correction for each pair; compared at p = 0, 0.5 and 0.8, n = 3)."
    )
    monkeypatch.setattr(answer, "diagonal", dict)
    assert "not been trained" in answer.at_one_sparsity()


def test_errors_with_more_pixels_are_multiples_seed_by_seed(monkeypatch):
    """1 and 2 with the few of training become 2 and 2, and 3 and 8: twice and once; 3 and 4."""
    few = {0: 1.0, 1: 2.0}
    cells = {
        ("SparseConvNet", 0.95): few,
        ("SparseConvNet", 0.3): {0: 2.0, 1: 2.0},
        ("ConvNet", 0.95): few,
        ("ConvNet", 0.3): {0: 3.0, 1: 8.0},
    }
    monkeypatch.setattr(depth_in_words, "measured", lambda protocol: cells)
    half = 0.5 / math.sqrt(2) * math.sqrt(2) * t.ppf(0.975, 1)  # both have a half on either side
    assert numbers.plain(depth_in_words.kept_in_short()) == (
        "On synthetic frames of depth along one camera path, networks were trained to give every "
        "pixel from 5 % of the pixels. Tested with 70 % instead, SparseConvNet errs 1.50 ± "
        f"{half:.2f} times as much, ConvNet 3.50 ± {half:.2f}. "
        "(± half of the 95 % interval, n = 2.)"
    )
    monkeypatch.setattr(depth_in_words, "measured", lambda protocol: {})
    assert "not been run" in depth_in_words.kept_in_short()


def at(where):
    if not where:
        return "nowhere"
    *first, last = (f"{p:g}" for p in sorted(where))
    return f"at p = {', '.join(first)} and {last}" if first else f"at p = {last}"


def test_what_the_notebook_measured_on_photographs_is_in_the_files():
    text = numbers.plain(answer.IN_NUMBERS["answer_notebook"]())
    with (RESULTS / "source.toml").open("rb") as file:
        curve = tomllib.load(file)["caltech_sparseconv"]
    printed = dict(zip(curve["sparsities"], curve["SparseConvNet-kept"], strict=True))
    assert f"{100 * printed[0.5]:.2f} and {100 * printed[0.9]:.2f}\u00a0%" in text
    for p in (0.5, 0.9):
        ours = by_seed("caltech/as_coded", "SparseConvNet-kept", p).values()
        assert f" {100 * statistics.mean(ours):.2f}" in text and f"% at {p:g}" in text


def test_the_plain_words_say_what_the_files_show():
    text = numbers.plain(answer.in_plain_words())
    for other, known in (
        ("ConvNet", "which is not told which pixels are missing"),
        ("ConvNet+mask", "which reads the mask as one more channel"),
    ):
        above, below = shown(gaps_of("invariance/fair", "SparseConvNet", other, SPARSITIES))
        assert f"to win {at(above)} and to lose {at(below)} against {other}, {known}" in text
    gaps = photographs([0, 0.05, *(i / 10 for i in range(1, 10))])
    above, below = (len(found) or "none" for found in shown(gaps))
    planned = " (of 21 planned)" if len(gaps) < 21 else ""
    assert f"in {above} of {len(gaps)} comparisons{planned} and to lose in {below}." in text
    for name in ("mnist-no-gain", "caltech-no-gain", "uhrig-invariance", "uhrig-transfers-better"):
        assert f" is {ledger.row_of(name).word}" in text


def test_the_plain_words_of_what_is_run_in_part(monkeypatch):
    row = SimpleNamespace(claim=claims.load()["uhrig-invariance"])
    cells = [{"n": 0}] * len(row.claim.contrasts())

    def row_of(name):
        return SimpleNamespace(**vars(row), word=name, verdict=SimpleNamespace(cells=cells))

    monkeypatch.setattr(ledger, "row_of", row_of)
    monkeypatch.setattr(answer, "diagonal", dict)
    monkeypatch.setattr(report_caltech, "gaps", dict)
    monkeypatch.setattr(whole_matrix, "parts", dict)
    verdicts = (
        " The source’s claim that its layer gains nothing is mnist-no-gain on digits and "
        "caltech-no-gain on photographs. Of the original paper’s claims, asked of digits, that its "
        "layer does as well at other sparsities as if it were trained there is uhrig-invariance; "
        "that it beats plain networks there, even those that are given the mask, is "
        "uhrig-transfers-better."
    )
    assert answer.in_plain_words() == (
        "Digits have not been run by two seeds yet. Photographs have not been run by two seeds "
        f"yet.{verdicts}"
    )
    clear = [0.02, 0.021, 0.019]
    monkeypatch.setattr(
        answer,
        "diagonal",
        lambda: {
            ("SparseConvNet", "ConvNet"): {0.5: [0.5]},  # of one seed
            ("SparseConvNet", "ConvNet+mask"): {0.5: clear, 0.8: [0.5], 0.9: [-x for x in clear]},
        },
    )
    every = {("as_written", p / 100): clear for p in range(20)}
    every["as_written", 0.2] = [-x for x in clear]
    monkeypatch.setattr(report_caltech, "gaps", lambda: every)
    digits = (
        "On digits with equal care, trained and tested at one sparsity, the original paper’s layer "
        "is shown to win at p = 0.5 and to lose at p = 0.9 against ConvNet+mask, which reads the "
        "mask as one more channel."
    )
    photographs = (
        " On photographs, trained as the source’s text has it, the source’s layer is shown to win "
        "against ConvNet in"
    )
    assert answer.in_plain_words() == (
        f"{digits}{photographs} 20 of 21 comparisons and to lose in 1.{verdicts}"
    )
    monkeypatch.setattr(report_caltech, "gaps", lambda: {("as_written", 0.2): clear})
    monkeypatch.setattr(
        whole_matrix,
        "leads",
        lambda parts: {
            ("with as many", "ConvNet"): clear,
            ("with as many", "ConvNet+mask"): [-x for x in clear],
            ("with fewer", "ConvNet"): [-x for x in clear],  # elsewhere than trained
        },
    )
    averaged = (
        " On average over the sparsities of training, a summary chosen with the records in view, "
        "it is shown to be ahead of ConvNet and behind ConvNet+mask."
    )
    assert answer.in_plain_words() == (
        f"{digits}{averaged}{photographs} 1 of 1 comparison (of 21 planned) and to "
        f"lose in none.{verdicts}"
    )
    monkeypatch.setattr(
        whole_matrix, "leads", lambda parts: {("with as many", "ConvNet"): [0.01, -0.01, 0.0]}
    )
    assert "On average" not in answer.in_plain_words()


def test_a_verdict_that_the_code_turns_is_told_with_its_sparsity(monkeypatch):
    claim = claims.load()["mnist-no-gain"]

    def row_of(name):
        word = "not reproduced" if name == "mnist-no-gain" else "undecided"
        verdict = SimpleNamespace(decisive=8, cells=cells)
        return SimpleNamespace(word=word, claim=claim, verdict=verdict)

    cells = [{"outside": i == 8} for i in range(10)]
    monkeypatch.setattr(ledger, "row_of", row_of)
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "The code turns it.")
    begin = "The source’s claim that its layer gains nothing is not reproduced on digits"
    p = claim.contrasts()[8].minuend.train
    assert answer._of_the_sources_verdicts() == (
        f"{begin} (by one of 10 sparsities: at p = {p:g} it gains if trained as the source’s text "
        "has it, and does not if trained as its code has it) and undecided on photographs."
    )
    cells[2] = {"outside": True}  # of which the code may turn none
    assert answer._of_the_sources_verdicts() == f"{begin} and undecided on photographs."
    cells[2] = {"outside": None}
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "")
    assert answer._of_the_sources_verdicts() == f"{begin} and undecided on photographs."


def test_a_chapter_opens_with_its_verdict(monkeypatch):
    claim = claims.load()["mnist-no-gain"]
    row = SimpleNamespace(word="undecided", reason="Too few.", claim=claim)
    monkeypatch.setattr(ledger, "row_of", lambda name: row)
    monkeypatch.setattr(ledger, "remarks", lambda row: "")
    told = f"The source’s claim that {claim.title} is undecided. Too few."
    assert report.verdict_in_words("mnist-no-gain") == told
    monkeypatch.setattr(ledger, "remarks", lambda row: "Not blind.")
    assert report.verdict_in_words("mnist-no-gain") == f"{told} Not blind."


def photographs(sparsities):
    return {
        (split, p): gap
        for split in ("as_written", "as_written-split_by_seed")
        for p, gap in gaps_of(
            f"caltech/{split}", "SparseConvNet-kept", "ConvNet", sparsities
        ).items()
    }


def test_photographs_are_counted_from_their_files():
    gaps = photographs([0, 0.05, *(i / 10 for i in range(1, 10))])
    above, below = shown(gaps)
    means = sorted(100 * statistics.mean(gap) for gap in gaps.values())
    low, high = (f"{mean:+.1f}".replace("-", "−") for mean in (means[0], means[-1]))
    text = numbers.plain(answer.on_photographs())
    assert f", {len(gaps)} differences" in text and f"go from {low} to {high} points: " in text
    assert f"{len(above) or 'none'} shown to be a gain, {len(below) or 'none'} a loss" in text
    # As many as there are sparsities of Table 4, twice, and the whole images.
    assert ("of 21 planned" in text) == (len(gaps) < 21)


def test_a_gain_on_photographs_and_none_at_all(monkeypatch):
    several = {("as_written", 0.5): [0.02, 0.021, 0.019], ("as_written", 0.8): [0.5]}
    monkeypatch.setattr(report_caltech, "gaps", lambda: several)
    assert numbers.plain(answer.on_photographs()) == (
        "On photographs, trained as the source’s text has it, 1 difference (of 21 planned) between "
        "SparseConvNet-kept and ConvNet is +2.0 points: 1 shown to be a gain, none a loss (after "
        "Holm’s correction, n = 3). Not counted, one run each: +50.0 at p = 0.8."
    )
    monkeypatch.setattr(report_caltech, "gaps", dict)
    assert answer.on_photographs() == "Photographs have not been run by two seeds yet."


def test_the_claims_have_the_words_of_their_own_rules(monkeypatch):
    words = {"mnist-no-gain": "one", "caltech-no-gain": "two"}
    monkeypatch.setattr(ledger, "row_of", lambda name: SimpleNamespace(word=words[name]))
    assert answer.of_the_sources_claim().endswith("is one on digits and two on photographs.")


def test_the_papers_claims_go_on_from_whose_they_are(monkeypatch):
    begin = "Of the original paper’s claims, asked of digits with equal care: "
    assert numbers.plain(answer.of_the_papers_claims()).startswith(f"{begin}that SparseConvNet is")
    monkeypatch.setattr(records, "load", lambda *_: [])
    assert answer.of_the_papers_claims().startswith(f"{begin}whether ")


def test_a_claim_that_falls_with_one_comparison_is_told_with_it_and_its_rule(monkeypatch):
    claim = claims.load()["mnist-no-gain"]
    row = SimpleNamespace(word="not reproduced", claim=claim, verdict=SimpleNamespace(decisive=0))
    monkeypatch.setattr(ledger, "row_of", lambda name: row)
    monkeypatch.setattr(ledger, "ours", lambda row, named: f"ours, {named}")
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "The code turns it.")
    end = "is ours, True; the rule asks for below +0.5 points."
    assert answer.of_the_sources_claim().endswith(f"{end} The code turns it.")
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "")
    assert answer.of_the_sources_claim().endswith(end)
