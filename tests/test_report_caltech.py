"""The chapter on Caltech-101: its tables and sentences, from invented records."""

import collections
import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
import torch
from scipy.stats import norm, t
from test_captions import caption
from test_records import a_record

from sparseconv_lib.study import (
    caltech,
    figures,
    numbers,
    provenance,
    readme,
    records,
    report,
    report_caltech,
    report_classes,
)
from sparseconv_lib.study.grid import EXPERIMENTS, SOURCE_NETWORKS, grid_of
from sparseconv_lib.study.protocol import preset

PLAIN, KEPT = SOURCE_NETWORKS
ENTRIES = caltech.read_manifest()
LABELS = np.array([entry.label for entry in ENTRIES if entry.part == "test"])
TRAIN = collections.Counter(entry.label for entry in ENTRIES if entry.part == "train")
BOTH = [(network, p) for network in SOURCE_NETWORKS for p in (0.0, 0.8)]


def a_caltech_record(
    network, sparsity, seed=0, protocol="as_written", correct=None, code=None, split=None, **more
):
    """A record as a training on Caltech-101 leaves it; `correct` is bool (1736,).

    code, split: identities; by default one that nobody knows, and the committed split's.
    """
    if correct is None:
        correct = np.arange(1736) % 10 < 6 - 2 * sparsity
    knobs = dataclasses.asdict(preset(protocol, "caltech101"))
    invented = a_record(network, sparsity, seed).content
    committed = f"stratified-{caltech.split_identity(ENTRIES)}"
    identity = {"split": split or committed, "code": code or invented["identity"]["code"]}
    content = invented | {
        "identity": invented["identity"] | identity,
        "experiment": "caltech",
        "protocol": protocol,
        "knobs": {**knobs, "learning_rates": list(knobs["learning_rates"])},
        "accuracy": {f"{sparsity:g}": float(np.mean(correct))},
        "correct": {f"{sparsity:g}": records.pack(torch.from_numpy(np.asarray(correct)))},
        "images": {"train": 6941, "test": 1736},
    }
    return records.validated(content | more, "invented")


@pytest.fixture
def recorded(monkeypatch):
    """A function: these are all the records there are."""

    def install(*found):
        def load(experiment, protocol=None, folder=None):
            return sorted(
                (
                    record
                    for record in found
                    if record.key.experiment == experiment
                    and protocol in (None, record.key.protocol)
                ),
                key=lambda record: record.key,
            )

        monkeypatch.setattr(records, "load", load)

    install()
    return install


def cells(html):
    """The table's rows, each heading -> text."""
    from bs4 import BeautifulSoup

    table = BeautifulSoup(html, "html.parser").find("table")
    heads = [cell.text for cell in table.thead.find_all("th")]
    return [
        dict(zip(heads, (c.text.replace("\u00a0", " ") for c in row.find_all("td")), strict=True))
        for row in table.tbody.find_all("tr")
    ]


def test_with_nothing_run_everything_says_so(recorded):
    told = [
        report_caltech.in_words("as_written"),
        report_classes.errors_in_words("as_written"),
        report_caltech.epochs_figure(),
        report_classes.class_figure("as_written"),
        report_classes.size_table("as_written"),
        report_classes.lost_table("as_written"),
        report_caltech.speed_table(),
        report_caltech.provenance_in_words(),
    ]
    for text in told:
        assert re.search(r"[Nn]ot(hing)? (has )?(been )?(run|trained)|has been run yet", text), text
    assert all(
        row["ours, by training seed"] == "not run"
        for row in cells(report_caltech.noise_table("fair"))
    )
    assert {row["difference"] for row in cells(report_caltech.scaling_table())} == {"–"}


def test_one_of_table_4s_differences_lies_beyond_chance_and_none_after_correction(recorded):
    """facts.md: the limit is ± 3.2 points, and only p = .5 exceeds it."""
    rows = cells(report_caltech.noise_table("as_written"))
    assert [row["p"] for row in rows if row["beyond chance"] == "yes"] == ["0.5"]
    assert [row["p"] for row in rows if row["after Holm"] == "yes"] == []
    (half,) = (row for row in rows if row["p"] == "0.5")
    assert half["the source's difference"] == "−4.26"
    assert {row["± by chance"] for row in rows} <= {"3.2", "3.3"}
    told = report_caltech.noise_in_words()
    assert told.startswith("9 of the 10 differences") and "p = 0.5 (−4.26 points)" in told
    assert told.endswith("for having looked at ten: none.")
    # Of the same images, of which networks agree on most, chance allows less.
    alike = np.arange(1736) % 10 < 6
    other = alike ^ (np.arange(1736) % 20 == 0)
    recorded(
        a_caltech_record(PLAIN, 0.8, correct=alike), a_caltech_record(KEPT, 0.8, correct=other)
    )
    told = report_caltech.noise_in_words()
    half = 100 * norm.ppf(0.975) * (alike.astype(float) - other).std(ddof=1) / 1736**0.5
    assert (
        f"about ± {half:.1f} points, by the answers of our own networks (seed 0, the most of p = "
        "0.8); beyond that: p = 0.5 (also after Holm’s correction over ten)."
    ) in told
    assert half < 1.1
    # Of networks that agree on half of the images alone, it allows more, and ten looks count.
    other = alike ^ (np.arange(1736) % 2 == 0)
    recorded(
        a_caltech_record(PLAIN, 0.8, correct=alike), a_caltech_record(KEPT, 0.8, correct=other)
    )
    half = 100 * norm.ppf(0.975) * (alike.astype(float) - other).std(ddof=1) / 1736**0.5
    assert 10 * 2 * norm.sf(4.26 / (half / norm.ppf(0.975))) > 0.05  # Holm's first step
    assert half < 4.26 and report_caltech.noise_in_words().endswith("beyond that: p = 0.5.")


def test_differences_are_told_by_seed_and_by_image(recorded):
    rng = np.random.default_rng(0)
    plain, kept = rng.random(1736) < 0.6, rng.random(1736) < 0.5
    found = [a_caltech_record(PLAIN, 0.5, 0, correct=plain)]
    found += [a_caltech_record(KEPT, 0.5, 0, correct=kept)]
    recorded(*found)
    (row,) = (r for r in cells(report_caltech.noise_table("as_written")) if r["p"] == "0.5")
    mean = 100 * (kept.mean() - plain.mean())
    assert row["ours, by training seed"] == f"{mean:+.2f}, n = 1 †".replace("-", "−")
    # The interval of a paired difference of proportions, from the two kinds of disagreement.
    b, c, n = (kept & ~plain).sum(), (plain & ~kept).sum(), 1736
    half = 1.96 * 100 * np.sqrt(b + c - (b - c) ** 2 / n) / n
    low, high = re.search(
        r"\((\S+) to (\S+)\)", row["ours, by image, seed 0"].replace("−", "-")
    ).groups()
    assert float(low) == pytest.approx(mean - half, abs=0.06)
    assert float(high) == pytest.approx(mean + half, abs=0.06)

    more = [a_caltech_record(PLAIN, 0.5, 1, correct=plain)]
    more += [a_caltech_record(KEPT, 0.5, 1, correct=np.roll(kept, 3) & plain)]
    recorded(*found, *more)
    (row,) = (r for r in cells(report_caltech.noise_table("as_written")) if r["p"] == "0.5")
    assert " to " in row["ours, by training seed"] and "n = 2" in row["ours, by training seed"]
    assert row["ours, by image, seed 0"].startswith(f"{mean:+.2f} (".replace("-", "−"))


def test_the_answer_names_n_and_the_points_lost(recorded):
    found = [a_caltech_record(n, p) for n in SOURCE_NETWORKS for p in (0.0, 0.8)]
    recorded(*found)
    told = numbers.plain(report_caltech.in_words("as_written"))
    assert "on whole images" in told and "with 80 % of the pixels missing" in told
    assert "n = 1" in told
    assert "with 50 %" not in told
    whole, masked = (np.mean(np.arange(1736) % 10 < 6 - 2 * p) for p in (0.0, 0.8))
    assert f"ConvNet {100 * (whole - masked):.1f} (n = 1)" in told


def test_the_answer_of_several_seeds_tells_what_another_seed_would_give(recorded):
    right = {(KEPT, 0.0): (900, 910, 935), (PLAIN, 0.0): (1000, 1010, 1005),
             (KEPT, 0.8): (800, 780, 820), (PLAIN, 0.8): (850, 860, 880)}  # fmt: skip
    found = [
        a_caltech_record(network, p, seed, correct=np.arange(1736) < count)
        for (network, p), counts in right.items()
        for seed, count in enumerate(counts)
    ]
    for record in found:
        if record.key.seed:
            record.content["provenance"] = {**record.content["provenance"], "device": "another"}
    # A fourth seed that one network lacks counts in no mean.
    recorded(*found, a_caltech_record(PLAIN, 0.8, 3, correct=np.ones(1736, bool)))
    told = numbers.plain(report_caltech.in_words("as_written")).replace("\u00a0", " ")
    share = {cell: 100 * np.array(counts) / 1736 for cell, counts in right.items()}
    mean, sd = share[KEPT, 0.8].mean(), share[KEPT, 0.8].std(ddof=1)
    assert (
        f"with 80 % of the pixels missing SparseConvNet-kept reaches {mean:.2f} ± {sd:.2f}" in told
    )
    gaps = share[KEPT, 0.0] - share[PLAIN, 0.0]
    half = t.ppf(0.975, 2) * gaps.std(ddof=1) / 3**0.5
    between = f"({gaps.mean() - half:+.1f} to {gaps.mean() + half:+.1f}), n = 3"
    assert f"a difference of {gaps.mean():+.1f} {between}".replace("-", "−") in told
    lost = share[PLAIN, 0.0] - share[PLAIN, 0.8]
    of_mean, of_another = (t.ppf(0.975, 2) * lost.std(ddof=1) * k**0.5 for k in (1 / 3, 1 + 1 / 3))
    assert (
        f"ConvNet {lost.mean():.1f} ({lost.mean() - of_mean:.1f} to {lost.mean() + of_mean:.1f}; "
        f"another seed {lost.mean() - of_another:.1f} to {lost.mean() + of_another:.1f}; n = 3)"
    ) in told
    assert told.endswith(
        "loss prediction intervals; an invented processor, 2 cores (seed 0); another (seeds 1 and "
        "2).)"
    )


def test_devices_are_told_by_seed_where_each_seed_had_its_own():
    def made_by(*devices):
        found = [a_caltech_record(n, 0.0, s) for s in range(len(devices)) for n in SOURCE_NETWORKS]
        for record in found:
            where = {"device": devices[record.key.seed]}
            record.content["provenance"] = record.content["provenance"] | where
        return found

    assert report.devices_by_seed([]) == ""
    assert report.devices_by_seed(made_by("a", "a")) == "a"
    assert report.devices_by_seed(made_by("b", "a", "b")) == "b (seeds 0 and 2); a (seed 1)"
    mixed = made_by("b", "a")
    mixed[0].content["provenance"] = {**mixed[0].content["provenance"], "device": "a"}
    assert report.devices_by_seed(mixed) == "a; b"


def test_the_short_answer_tells_what_several_seeds_tell_with_either_split(recorded):
    assert report_caltech.in_short() == (
        "On Caltech-101 no difference of SparseConvNet-kept and ConvNet has several seeds yet."
    )
    found = [
        a_caltech_record(network, p, seed, report_caltech.BY_SEED, np.arange(1736) < right)
        for network, rights in ((PLAIN, (868, 885, 902)), (KEPT, (830, 840, 850)))
        for p in (0.05, 0.8)
        for seed, right in enumerate(rights)
    ]
    recorded(*found, a_caltech_record(KEPT, 0.5), a_caltech_record(PLAIN, 0.5))
    gaps = 100 * (np.array([830, 840, 850]) - [868, 885, 902]) / 1736
    half = t.ppf(0.975, 2) * gaps.std(ddof=1) / 3**0.5
    gap = f"{gaps.mean():+.1f} ± {half:.1f}".replace("-", "−")
    opening = "On Caltech-101, SparseConvNet-kept minus ConvNet is, in points, "
    for_each = "with a split for each seed, by which Table 4 is judged, "
    for_each += f"{gap} at p = 0.05 and {gap} at p = 0.8 (n = 3). (± half of the 95 % interval, not"
    end = " corrected for the number of differences; {}.)"

    def told():
        return numbers.plain(report_caltech.in_short()).replace("\u00a0", " ")

    assert told() == f"{opening}{for_each}{end.format('an invented processor, 2 cores')}"
    table = cells(report.source_table("caltech", report_caltech.BY_SEED, "caltech-table-4"))
    assert {row["p"]: row["n"] for row in table}["0.8"] == "3"
    assert len(table) == 10 and table[0]["ConvNet"].startswith("50.98")
    with_one_split = [
        a_caltech_record(network, p, seed, correct=np.arange(1736) < right)
        for p, network, rights in (
            (0.0, PLAIN, (900, 900)),
            (0.0, KEPT, (917, 918)),  # +1.0 points
            (0.5, PLAIN, (900,)),  # one run is not told
            (0.5, KEPT, (900,)),
            (0.8, PLAIN, (900, 900)),
            (0.8, KEPT, (865, 866)),  # -2.0 points
        )
        for seed, right in enumerate(rights)
    ]
    alone = a_caltech_record(PLAIN, 0.8, 2)  # a seed that the other network lacks
    alone.content["provenance"] = {**alone.content["provenance"], "device": "another"}
    recorded(*found, *with_one_split, alone)
    one_split = (
        "with one split for all seeds +1.0 ± 0.4 at p = 0 and −2.0 ± 0.4 at p = 0.8 (n = 2); "
    )
    assert told() == f"{opening}{one_split}{for_each}{end.format('an invented processor, 2 cores')}"
    assert report_caltech.noise_in_words().startswith(
        report_caltech.noise_in_short().removesuffix(".")
    )


def test_accuracy_by_class_is_counted_on_that_classes_images(recorded):
    ships, rest = LABELS == "schooner", LABELS != "schooner"
    recorded(
        *(a_caltech_record(n, 0.0, s, correct=rest) for n in SOURCE_NETWORKS for s in (0, 1)),
        *(a_caltech_record(n, 0.8, s, correct=ships) for n in SOURCE_NETWORKS for s in (0, 1)),
        a_caltech_record(PLAIN, 0.8, 2),  # not at the other sparsity, so left out
    )
    found = {c.name: c for c in report_classes.by_class("as_written", PLAIN)}
    assert len(found) == 101
    assert found["schooner"].accuracy == {0.0: 0.0, 0.8: 1.0}
    assert found["anchor"].accuracy == {0.0: 1.0, 0.8: 0.0}
    assert (found["schooner"].train, found["schooner"].test) == (50, int(ships.sum()))
    assert sum(c.train for c in found.values()) == 6941
    table = report_classes.lost_table("as_written")
    rows = cells(table)
    assert len(rows) == 10 and "schooner" not in {row["class"] for row in rows}
    assert "both networks together (90 more lose as much as the last of these); " in table
    assert "more lose" not in report_classes.lost_table("as_written", 100)  # the ships gain
    sizes = cells(report_classes.size_table("as_written"))
    assert [
        sum(int(r["classes"]) for r in sizes if r["network"] == n) for n in SOURCE_NETWORKS
    ] == [
        101,
        101,
    ]
    assert sum(int(r["test images"].replace(",", "")) for r in sizes) == 2 * 1736
    told = numbers.plain(report_classes.errors_in_words("as_written"))
    _, counts = np.unique(LABELS, return_counts=True)
    share = np.sort(counts)[-4:].sum() / 1736
    assert told.startswith(
        f"The 4 largest classes hold {100 * share:.2f}\u00a0% of the test images"
    )
    assert f"{100 * 100 / 101:.2f}\u00a0% as a mean over classes, with 1 class of which" in told
    assert "(means over n = 2 seeds; an invented processor, 2 cores, made by other code" in told
    assert "with 1 class of which no test image is recognised by any of 2 trainings" in told


def every_text_of_classes():
    return [
        report_classes.errors_in_words("as_written"),
        report_classes.size_table("as_written"),
        report_classes.lost_table("as_written"),
        report_classes.class_figure("as_written"),
    ]


def test_classes_are_compared_over_the_same_seeds(recorded):
    """Seed 1 lacks one of its four trainings: nothing may be averaged over it, or count it."""
    good, bad = np.ones(1736, bool), np.zeros(1736, bool)
    recorded(
        *(a_caltech_record(n, p, s, correct=good) for n, p in BOTH for s in (0, 2)),
        *(a_caltech_record(n, p, 1, correct=bad) for n, p in BOTH if (n, p) != (KEPT, 0.8)),
    )
    for network in SOURCE_NETWORKS:
        for found in report_classes.by_class("as_written", network):
            assert set(found.accuracy.values()) == {1.0}
    for text in every_text_of_classes():
        assert re.findall(r"n = [\d to]+", text.replace("aria-label", ""))
        assert set(re.findall(r"\bn = (\d+(?: to \d+)?)", text)) == {"2"}


def test_answers_on_another_split_are_left_out(recorded):
    """Their bits belong to other images."""
    bad = np.zeros(1736, bool)
    other = dict(correct=bad, split="stratified-0000000000000000")
    recorded(*(a_caltech_record(n, p, 1, **other) for n, p in BOTH))
    assert all("Not run yet" in text for text in every_text_of_classes())
    assert report_caltech.paired_by_image("as_written", 0.8) is None
    recorded(
        *(a_caltech_record(n, p, 1, **other) for n, p in BOTH),
        *(a_caltech_record(n, p, 0, correct=~bad) for n, p in BOTH),
    )
    assert all("n = 1" in text for text in every_text_of_classes())
    assert {c.accuracy[0.8] for c in report_classes.by_class("as_written", PLAIN)} == {1.0}


def test_classes_of_one_size_stand_in_one_group(recorded):
    recorded(*(a_caltech_record(n, p) for n, p in BOTH))
    groups = report_classes.by_size(report_classes.by_class("as_written", PLAIN))
    sizes = [{c.train for c in group} for group in groups]
    assert [max(s) < min(t) for s, t in itertools.pairwise(sizes)] == [True] * 3
    assert sorted(c.name for group in groups for c in group) == sorted(TRAIN)
    assert len(groups[-1]) == 4 and all(20 < len(group) < 45 for group in groups[:-1])
    (table,) = [cells(report_classes.size_table("as_written"))]
    ranges = [row["training images"] for row in table if row["network"] == KEPT]
    assert ranges == [f"{min(s)} to {max(s)}" for s in sizes]


@pytest.mark.parametrize("shown", [1, 3])
def test_the_table_of_losses_says_how_many_it_shows(recorded, shown):
    recorded(*(a_caltech_record(n, p) for n, p in BOTH))
    table = report_classes.lost_table("as_written", shown)
    assert len(cells(table)) == shown
    assert f"The {shown} class{'es' * (shown > 1)} of 101 with" in table


def test_only_what_other_code_made_is_marked(recorded):
    today = provenance.code_identity()
    tables = {
        "noise": lambda: report_caltech.noise_table("as_written"),
        "scaling": report_caltech.scaling_table,
        "speed": report_caltech.speed_table,
        "compounding": report_caltech.compounding_table,
        "table 4": lambda: report.source_table("caltech", "as_written", "caltech-table-4"),
    }

    def install(code):
        names = ("as_written", "as_written, scaling=imagenet", "compounding")
        recorded(
            *(a_caltech_record(n, p, 0, name, code=code) for n, p in BOTH for name in names),
            *(a_caltech_record(n, 0.5, 0, "compounding", code=code) for n in SOURCE_NETWORKS),
        )

    install(today)
    assert not any("†" in table() for table in tables.values())
    assert not any("other code" in text for text in every_text_of_classes())
    install("0123456789abcdef")
    for name, table in tables.items():
        assert any("†" in cell for row in cells(table()) for cell in row.values()), name
        assert table().count("† made by other code than today&#x27;s.") == 2, name  # and its label
    assert all("made by other code than today" in text for text in every_text_of_classes())
    (scaled,) = [
        row
        for row in cells(report_caltech.scaling_table())
        if (row["network"], row["p"]) == (PLAIN, "0.8")
    ]
    assert all(scaled[column].endswith(" †") for column in ("[0, 1]", "ImageNet's", "difference"))


def test_what_the_sources_sweep_left_stands_beside_what_it_printed(recorded):
    rows = {row["p"]: row for row in cells(report_caltech.compounding_table())}
    # facts.md: stored accuracies of 62.6, 42.1 and 4.4 %, where Table 4 says 55.0 and 51.7 %.
    assert [rows[p]["its notebook"] for p in ("0", "0.5", "0.9")] == [
        "62.62 %",
        "42.11 %",
        "4.38 %",
    ]
    assert [rows[p]["its Table 4"] for p in ("0", "0.5", "0.9")] == ["–", "55.01 %", "51.67 %"]
    assert rows["0"]["pixels left"] == "70 %" and rows["0.5"]["pixels left"] == "2.3 %"
    assert rows["0.9"]["pixels left"] == "0.000032 %"
    assert rows["0.5"]["ours, as_coded"] == rows["0.5"]["ours, compounding"] == "not run"
    # Whole numbers of the 1,736 test images.
    for accuracy in report_caltech.printed().values():
        assert accuracy * 1736 == pytest.approx(round(accuracy * 1736), abs=1e-9)
    recorded(a_caltech_record(KEPT, 0.5, protocol="compounding"))
    rows = {row["p"]: row for row in cells(report_caltech.compounding_table())}
    assert rows["0.5"]["ours, compounding"] == "50.12 %, n = 1 †"  # code that nobody knows


def test_what_compounding_alone_costs_is_told_beside_what_the_source_printed(recorded):
    """A quarter of the images is right, without compounding a half; of seeds that both have."""
    assert report_caltech.compounding_in_words() == ""
    few, more = np.arange(1736) < 434, np.arange(1736) < 868
    others = a_caltech_record(KEPT, 0.5, 1), a_caltech_record(PLAIN, 0.9)
    one = (
        a_caltech_record(KEPT, 0.5, 0, "compounding", few),
        a_caltech_record(KEPT, 0.5, 0, correct=more),
    )
    recorded(*one, *others)
    told = numbers.plain(report_caltech.compounding_in_words()).replace("\u00a0", " ")
    assert told == (
        "Masks that compound, and nothing else, change the accuracy of SparseConvNet-kept, in "
        "points against as_written, by −25.0 at p = 0.5, 2.3 % of the pixels being left (n = "
        "1; an invented processor, 2 cores)."
    )
    whole = [a_caltech_record(KEPT, 0.0, s, "compounding", few) for s in (0, 1)]
    whole += [a_caltech_record(KEPT, 0.0, s, correct=more) for s in (0, 1)]
    recorded(*one, *others, *whole)
    told = numbers.plain(report_caltech.compounding_in_words()).replace("\u00a0", " ")
    assert "by −25.0 ± 0.0 at p = 0, 70 % of the pixels being left; by −25.0 at p = 0.5, " in told
    assert "95 % interval, not corrected for the number of differences, n = 1 to 2" in told
    # facts.md: the notebook's stored accuracies are 62.6 and 42.1 %.
    coded = [a_caltech_record(KEPT, 0.0, s, "as_coded", x) for s, x in ((0, few), (1, more))]
    recorded(*coded, a_caltech_record(KEPT, 0.5, 0, "as_coded", more), *others)
    told = numbers.plain(report_caltech.compounding_in_words()).replace("\u00a0", " ")
    assert told == (
        "With networks trained as the source’s code has it (as_coded) SparseConvNet-kept reaches, "
        "in per cent, 37.50 ± 17.68 at p = 0, where the notebook printed 62.62; 50.00 at p = 0.5, "
        "where the notebook printed 42.11 (± one standard deviation, n = 1 to 2; an invented "
        "processor, 2 cores). That is −25.1 and +7.9 points; two networks of equal worth differ by "
        "up to 3.2 and 3.3 in 19 of 20 cases from the choice of test images alone, and the luck of "
        "a training comes on top."
    )  # 1.96 * sqrt((0.375 * 0.625 + 0.6262 * 0.3738) / 1736), and with 0.5 and 0.4211


def test_where_compounding_leaves_black_images_it_is_told_what_networks_made_of_them(recorded):
    # A leftover mask of 0.3 and seventeen sparsities, 0 to 0.8, leave one pixel of 224 x 224:
    # 0.7 * 20! / 3! / 20 ** 17 * 50,176 = 1.1. With 0.85 and 0.9 it is 0.016.
    recorded(*(a_caltech_record(KEPT, p, 0, "compounding") for p in (0.0, 0.5, 0.8)))
    assert report_caltech.black_in_words() == ""
    record = a_caltech_record(KEPT, 0.9, 0, "as_coded", np.arange(1736) < 868)
    record.content["epochs"][-1].update(train_accuracy=0.75, test_accuracy=0.5)
    recorded(record, a_caltech_record(KEPT, 0.9, 0))
    told = numbers.plain(report_caltech.black_in_words())
    assert told.startswith("At p = 0.9 compounding leaves nearly all photographs black, in ")
    # 800 of the 8,677 photographs are of the class "airplanes".
    assert told.endswith(
        "of the images that it trains on and of the test images, 75.00 and 50.00 under "
        "as_coded. Always to answer the largest class is right for 9.2 % of all photographs."
    )
    alone = [
        a_caltech_record(KEPT, p, 0, name)
        for p in (0.8, 0.9)
        for name in ("compounding", "as_written")
    ]
    recorded(*alone)
    told = numbers.plain(report_caltech.compounding_in_words()).replace("\u00a0", " ")
    assert "at p = 0.8, 0.0022 % of the pixels being left; " in told
    assert "at p = 0.9, 0.016 of the 50,176 pixels of a photograph being left (" in told


def test_the_first_page_tells_what_the_notebook_printed_where_its_masks_compound(recorded):
    """facts.md: about 2.3 % of the pixels remain at 0.5; the accuracies as above.

    Of 0.016 pixels on average, by Poisson, exp(-0.016) of the photographs have none.
    """
    whatever = (
        "The source’s public notebook for photographs masks again, at each sparsity of its sweep, "
        "what smaller ones have left: at its “p = 0.5” 2.3 % of the pixels remain, at its “p = "
        f"0.9” {100 * math.exp(-0.0163):.0f} % of the photographs are all black. For SparseConvNet "
        "it printed accuracies of 42.11 and 4.38 % there, not the 55.01 and 51.67 % of the "
        "source’s Table 4; no code that made the table is public. "
    )
    few, more = np.arange(1736) < 434, np.arange(1736) < 868
    half = a_caltech_record(KEPT, 0.5, 0, "as_coded", few)
    others = (
        a_caltech_record(KEPT, 0.5, 0, "compounding"),
        a_caltech_record(KEPT, 0.9, 0),
        a_caltech_record(KEPT, 0.3, 0, "as_coded"),
        a_caltech_record(PLAIN, 0.9, 0, "as_coded"),
    )

    def told(*found):
        recorded(*found, *others)
        text = numbers.plain(report_caltech.notebook_in_short()).replace("\u00a0", " ")
        assert text.startswith(whatever)
        return text.removeprefix(whatever)

    assert told() == "It has not been trained here yet."
    begins = "With networks trained as the source’s code has it (as_coded), SparseConvNet-kept "
    # 800 of the 8,677 photographs are of the class "airplanes".
    ends = "; always to answer the largest class is right for 9.2 %."
    assert told(half) == f"{begins}recognises 25.00 % at 0.5 (n = 1){ends}"
    dark = a_caltech_record(KEPT, 0.9, 0, "as_coded", few)
    assert told(half, dark) == (
        f"{begins}recognises 25.00 % at 0.5 and 25.00 % at 0.9 (n = 1 each){ends}"
    )
    again = a_caltech_record(KEPT, 0.5, 1, "as_coded", more)
    assert told(half, dark, again) == (
        f"{begins}recognises 37.50 ± 17.68 % at 0.5 and 25.00 % at 0.9 (± one standard deviation, "
        f"n = 1 to 2 each){ends}"
    )


def test_what_forty_more_epochs_change_is_told_within_each_training(recorded):
    def goes_on(seed, device, tests, trains):
        record = a_caltech_record(PLAIN, 0.0, seed, "as_written, epochs=50")
        record.content["provenance"]["device"] = device
        record.content["epochs"] = [
            {"loss": 1.0, "train_accuracy": seen, "test_accuracy": q, "seconds": 1.0}
            for q, seen in zip(tests, trains, strict=True)
        ]
        return record

    def told(*found):
        recorded(*found, a_caltech_record(PLAIN, 0.0, 0), a_caltech_record(KEPT, 0.0, 0))
        return numbers.plain(report_caltech.epochs_in_words()).replace("\u00a0", " ")

    assert told() == ""
    # Before the tenth epoch nothing counts; from it on, 0.6 to 0.5 by way of 0.7.
    first = goes_on(
        0, "this", [*[0.1] * 9, 0.6, 0.7, *[0.65] * 38, 0.5], [*[0.2] * 9, *[0.8] * 40, 0.95]
    )
    begins = "From epoch 10 to epoch 50 of the same training, ConvNet’s accuracy on whole images "
    assert told(first) == (
        f"{begins}changes by −10.0 points on the test images, where it is never below 50.0 nor "
        "above 70.0 %, and by +15.0 points on those it trains on, as it trained (n = 1; this)."
    )
    other = goes_on(
        1, "that", [*[0.9] * 9, 0.6, 0.4, *[0.65] * 38, 0.6], [*[0.2] * 9, *[0.8] * 40, 0.95]
    )
    # Of -10 and 0 points: a standard error of 5, and 12.706 of them.
    assert told(first, other) == (
        f"{begins}changes by −5.0 ± 63.5 points on the test images, where it is never below 40.0 "
        "nor above 70.0 %, and by +15.0 ± 0.0 points on those it trains on, as it trained (± half "
        "of the 95 % interval, n = 2; this (seed 0); that (seed 1))."
    )


def test_the_other_scaling_is_paired_by_seed_and_by_test_image(recorded):
    few, more = np.arange(1736) < 434, np.arange(1736) < 868
    name = "as_written, scaling=imagenet"
    recorded(
        a_caltech_record(PLAIN, 0.8, 0, name, more),
        a_caltech_record(PLAIN, 0.8, 0, correct=few),
        a_caltech_record(KEPT, 0.8, 1, name, few),
        a_caltech_record(KEPT, 0.8, 1, correct=more),
    )
    rows = {(row["network"], row["p"]): row for row in cells(report_caltech.scaling_table())}
    # A quarter of the images differs, by 1: the deviation is sqrt(3) / 4 and the half of the
    # interval 1.96 times that over sqrt(1736), 2.0 points.
    plain, kept = rows[PLAIN, "0.8"], rows[KEPT, "0.8"]
    assert plain["difference"] == "+25.00, n = 1 †"
    assert plain["by image, seed 0"] == "+25.0 (+23.0 to +27.0) †"
    assert (kept["difference"], kept["by image, seed 0"]) == ("−25.00, n = 1 †", "–")


def test_the_table_of_what_is_missing_counts_the_grid(recorded):
    recorded(a_caltech_record(PLAIN, 0.0), a_caltech_record(KEPT, 0.0))
    rows = {row["protocol"]: row for row in cells(report_caltech.coverage_table())}
    assert rows["as_written"]["trained"] == "2 of 220"
    asked = sum(int(row["trained"].split(" of ")[1]) for row in rows.values())
    assert asked == sum(len(page.keys) for page in EXPERIMENTS["caltech"].pages())


def test_images_a_second(recorded):
    record = a_caltech_record(PLAIN, 0.0)
    record.content["provenance"]["seconds"] = 100.0
    record.content["candidates"][0]["epochs"] = 10
    assert report.images_a_second(record) == pytest.approx(694.1)
    recorded(record)
    (row,) = cells(report_caltech.speed_table())
    assert row["images/s"] == "694 †" and row["network"] == PLAIN and row["n"] == "1"


def test_a_protocol_that_is_published_of_one_network_has_a_table_of_it(recorded):
    asked = "mnist", "as_written, batch_norm=false", "mnist-table-3"
    rows = cells(report.source_table(*asked))
    assert rows and all(set(row) == {"p", "n", KEPT, "source", "difference"} for row in rows)
    assert "has no such network" in report.other_networks_table(*asked)


def test_the_data_are_told_as_they_are_counted_and_as_the_protocol_uses_them():
    names = [entry.file.split("/")[0] for entry in ENTRIES]
    sizes = collections.Counter(names).values()
    told = report_caltech.data_in_words(preset("as_written", "caltech101"))
    assert f"has {len(names):,} photographs of {len(sizes)} kinds of objects" in told
    assert f"{min(sizes)} to {max(sizes)} of each" in told
    assert f"A fifth of each class, {len(LABELS):,} images," in told and "same side" in told
    assert "the network sees 0. " in told and "from the untouched images" in told
    told = report_caltech.data_in_words(
        preset("as_coded, scaling=imagenet, fill=0.5", "caltech101")
    )
    assert "fifth of each class" not in told and "same side" not in told
    assert "drawn from the seed whatever their class" in told
    assert "ImageNet's mean and deviation" in told and "the network sees 0.5." in told
    assert "untouched" not in told and "that no mask tells of" in told
    assert len(LABELS) == report_caltech.TEST_IMAGES


def test_the_time_of_a_training_is_that_of_the_records(recorded):
    assert "has not been recorded" in report.time_in_words("caltech", "as_written")
    found = [a_caltech_record(PLAIN, p, 0) for p in (0.0, 0.5, 0.8, 0.9)]
    for record, seconds in zip(found, (600, 1234, 90, 80), strict=True):
        record.content["provenance"]["seconds"] = seconds
    found[2].content["provenance"]["versions"]["cuda"] = "13.0"  # not on a CPU
    found[3].content["provenance"]["together"] = 20  # a share of what several took
    recorded(*found)
    told = report.time_in_words("caltech", "as_written")
    assert told.startswith("10 to 21 minutes (2 trainings of 10 epochs, an invented processor")


def test_the_readme_says_what_the_records_say():
    """Where this fails after new records: `make notebooks`."""
    text = readme.README.read_text("utf-8")
    assert readme.filled(text) == text
    stale = text.replace("minutes (", "hours (")
    assert stale != text and readme.filled(stale) == text
    with pytest.raises(ValueError, match="lost its marks <!-- time"):
        readme.filled(text.replace("<!-- end of time -->", ""))


def test_every_page_of_the_grid_has_its_own_name_and_every_training_one_page():
    pages = list(EXPERIMENTS["caltech"].pages())
    assert len({page.path for page in pages}) == len(pages)
    keys = [key for page in pages for key in page.keys]
    assert len(set(keys)) == len(keys)
    # What a CPU runs first: one seed of two networks at these p, a page each.
    first = [(page.networks, page.sparsity, page.seed) for page in pages[:8]]
    assert first == [((n,), p, 0) for p in (0.0, 0.8, 0.5, 0.9) for n in SOURCE_NETWORKS]
    assert all(page.name.count(page.networks[0]) for page in pages[:8])
    grid = grid_of("caltech", "as_written")
    assert grid.sparsities == (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert len(grid.networks) == 4 and grid.seeds == 5


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were drawn, as matplotlib has them."""
    found, pictures = [], figures.pictures

    def spy(panels, *texts):
        found.extend(figure for figure, _ in panels)
        return pictures(panels, *texts)

    monkeypatch.setattr(figures, "pictures", spy)
    return found


def lines(axis):
    """label -> (x, y) of what an axis shows."""
    return {line.get_label(): line.get_xydata().T for line in axis.get_lines()}


def test_the_figure_of_epochs_shows_the_mean_curves(recorded, drawn):
    def epochs(n, test):
        return [
            {"loss": 1.0, "train_accuracy": 0.5, "test_accuracy": test * i / n, "seconds": 1.0}
            for i in range(n)
        ]

    recorded(
        a_caltech_record(PLAIN, 0.0, 0, epochs=epochs(10, 0.6)),
        a_caltech_record(PLAIN, 0.0, 1, epochs=epochs(10, 0.8)),
        a_caltech_record(PLAIN, 0.0, 0, "as_written, epochs=50", epochs=epochs(50, 0.9)),
        a_caltech_record(KEPT, 0.0, 0, epochs=epochs(10, 0.1)),
        a_caltech_record(PLAIN, 0.8, 0, epochs=epochs(10, 0.1)),
    )
    text = report_caltech.epochs_figure()
    assert caption(text).startswith(
        "After 50 epochs ConvNet recognises 88.2 % of the test images and 50.0 % of those it trains"
        " on, n = 1; after 10 epochs ConvNet recognises 63.0 % of the test images and 50.0 % of "
        "those it trains on, means of n = 2. Accuracy on whole images"
    )
    assert "not been run" not in text
    shown = lines(drawn[0].axes[0])
    assert shown["test, 10 epochs"][0].tolist() == list(range(1, 11))
    assert shown["test, 10 epochs"][1] == pytest.approx([7 * i for i in range(10)])
    assert shown["test, 50 epochs"][1] == pytest.approx([1.8 * i for i in range(50)])
    assert shown["train, 50 epochs"][1] == pytest.approx([50] * 50)


def test_the_figure_of_classes_shows_each_class_at_its_size(recorded, drawn):
    rng = np.random.default_rng(1)
    bits = {cell: rng.random(1736) < 0.3 + 0.2 * i for i, cell in enumerate(BOTH)}
    recorded(*(a_caltech_record(*cell, correct=bits[cell]) for cell in BOTH))
    text = report_classes.class_figure("as_written")
    names = sorted(TRAIN)

    def accuracy(cell, name):
        return 100 * bits[cell][name == LABELS].mean()

    for figure, network in zip(drawn, SOURCE_NETWORKS, strict=True):
        (axis,) = figure.axes
        assert axis.get_title() == network
        for p in (0.0, 0.8):
            x, y = lines(axis)[f"p = {p:g}"]
            assert x.tolist() == [TRAIN[name] for name in names]
            assert y == pytest.approx([accuracy((network, p), name) for name in names])
    few, many = (
        [n for n in names if low <= TRAIN[n] <= high] for low, high in ((25, 38), (348, 640))
    )
    assert (len(few), len(many)) == (32, 4)
    mean = {
        (cell, i): np.mean([accuracy(cell, name) for name in group])
        for cell in BOTH
        for i, group in enumerate((few, many))
    }
    moved = [
        " and ".join(
            f"from {mean[(network, 0.0), i]:.0f} to {mean[(network, 0.8), i]:.0f} % ({network})"
            for network in SOURCE_NETWORKS
        )
        for i in (0, 1)
    ]
    assert caption(text).startswith(
        "As pixels go missing mean accuracies move, in classes of 25 to 38 training images "
        f"{moved[0]}; in classes of 348 to 640 training images {moved[1]}. These are means "
        "over classes, whatever their size. Accuracy of each of the 101 classes"
    )
    for network, p in BOTH:
        largest = [accuracy((network, p), name) for name, _ in TRAIN.most_common(4)]
        told = f"at p = {p:g} classes of 348 to 640 images lie at {min(largest):.0f} to "
        assert f"{told}{max(largest):.0f} %" in text


def test_the_figure_of_compounding_shows_ours_beside_the_sources(drawn, recorded):
    few, more = np.arange(1736) < 434, np.arange(1736) < 868
    recorded(*(a_caltech_record(KEPT, 0.5, s, "as_coded", x) for s, x in ((0, few), (1, more))))
    assert caption(report_caltech.compounding_figure()).endswith(
        "is taken to be 1 − p. Ours, n = 2; an invented processor, 2 cores."
    )
    named, real = (lines(figure.axes[0]) for figure in drawn)
    assert "ours, compounding" not in named
    assert [x.tolist() for x in named["ours, as_coded"]] == [[0.5], [37.5]]
    assert real["ours, as_coded"][0] == pytest.approx(2.3, abs=0.05)  # as the table has it


def test_the_figure_of_compounding_shows_what_is_left(drawn, recorded):
    text = report_caltech.compounding_figure()
    named, real = (lines(figure.axes[0]) for figure in drawn)
    sparsities, printed = named["its notebook"]
    assert sparsities == pytest.approx(np.arange(20) / 20)
    assert printed[[0, 18]] == pytest.approx([62.615, 4.378], abs=1e-3)
    (left, same), (kept, table) = real["its notebook"], real["its Table 4"]
    assert left == pytest.approx(100 * 0.7 * np.cumprod(1 - sparsities))
    assert same.tolist() == printed.tolist()
    assert kept == pytest.approx([95, 90, 80, 70, 60, 50, 40, 30, 20, 10])
    assert table[[0, 5, 9]] == pytest.approx([63.42, 55.01, 51.67])
    assert "<img" in text and "what compounding masks leave" in text
    below = table - printed[[1, *range(2, 19, 2)]]
    assert below.argmax() == 8  # p = 0.8
    assert caption(text).startswith(
        f"At p = 0.8 the source's notebook printed {below[8]:.1f} points less than its Table 4 has,"
        f" with {left[16]:.2g} % of the pixels left instead of 20 %. The source's"
    )


def test_the_matrix_has_networks_that_the_grid_still_lacks(recorded):
    """1,000 and 1,010 of 1,736 images are 57.60 and 58.18 %: 57.89, and 0.41 between them."""
    again = {"experiment": "invariance", "protocol": "caltech101"}

    def trained(right, *key):
        record = a_caltech_record(*key, correct=np.arange(1736) < right)
        return records.validated(record.content | again, "invented")

    recorded(a_caltech_record(PLAIN, 0.5))  # of this chapter's own grid
    assert report_caltech.trained_for_the_matrix() == ""
    recorded(trained(1000, PLAIN, 0.5), trained(1010, PLAIN, 0.5, 1), trained(500, KEPT, 0.8))
    assert (
        "its networks recognise, in per cent, at p = 0.5, ConvNet 57.89 ± 0.41; "
        "at p = 0.8, SparseConvNet-kept 28.80 (± one standard deviation, n = 1 to 2; "
    ) in numbers.plain(report_caltech.trained_for_the_matrix()).replace("\u00a0", " ")


def test_what_was_trained_twice_is_told_from_both(recorded):
    """1,000 and 1,010 of 1,736 images, 57.60 and 58.18 %; and 800 and 700, 46.08 and 40.32 %."""

    def with_(right, *key):
        return a_caltech_record(*key, correct=np.arange(1736) < right)

    again = {"experiment": "invariance", "protocol": "caltech101"}
    first, second = with_(1000, PLAIN, 0.5), with_(1010, PLAIN, 0.5)
    others = with_(500, PLAIN, 0.5, 1), with_(500, PLAIN, 0.8), with_(500, KEPT, 0.5)
    recorded(first, *others)
    assert report_caltech.trained_twice() == ""
    second = records.validated(second.content | again, "invented")
    recorded(first, second, *others)
    told = numbers.plain(report_caltech.trained_twice())
    assert ": 1 training of this chapter was made again" in told
    assert (
        "its accuracy differs by 0.6 points (ConvNet at p = 0.5, seed 0: 57.60 and 58.18 %" in told
    )
    third = with_(800, KEPT, 0.8)
    fourth = records.validated(with_(700, KEPT, 0.8).content | again, "invented")
    recorded(first, second, third, fourth, *others)
    told = numbers.plain(report_caltech.trained_twice())
    assert ": 2 trainings of this chapter were made again" in told
    assert "their accuracies differ by 0.6 to 5.8 points (" in told
    assert "; SparseConvNet-kept at p = 0.8, seed 0: 46.08 and 40.32 %; an" in told
