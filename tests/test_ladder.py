"""The ladder: what it trains, and what it makes of accuracies that add up, or do not."""

import dataclasses
import itertools
import math

import pytest
from test_captions import caption
from test_records import a_record
from test_report_caltech import cells

from sparseconv_lib.study import ladder, numbers, records, report_ladder
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.ladder import CODE, DENSE, FAULTS
from sparseconv_lib.study.protocol import ParameterError, full_name, preset

# Of invented networks: what each fault costs, in points, whatever else is there ...
COST = {
    "untrained": 20, "training_mode": 1, "no_second_norm": 5, "no_drop": 3, "pooled_skip": -2,
    "layer": 4,
}  # fmt: skip
TOGETHER = 7  # ... and what is cost once by the first of these two, not by both
PAIR = {"untrained", "no_second_norm"}


def accuracy(rung, seed):
    lost = sum(COST[name] for name in rung) - TOGETHER * (rung >= PAIR)
    return 0.7 - lost / 100 + seed / 1000 + (0.002 * seed if "layer" in rung else 0)


def recorded(base, seeds, rungs=None):
    """The records of trainings that give these accuracies, tested both ways."""
    asked = {*ladder.down(), *ladder.up()}
    for name in FAULTS:
        asked |= {*ladder.mended_alone(name), *ladder.left_alone(name)}
    found = {}
    for rung in asked if rungs is None else rungs:
        protocol = ladder.trained_as(base, rung)
        clean = rung - {"training_mode"}
        for seed in range(seeds):
            knobs = dataclasses.asdict(preset(protocol, "resnet18"))
            found[protocol, seed] = records.validated(
                a_record(ladder.NETWORK, 0.0, seed).content
                | {
                    "experiment": "resnet18",
                    "protocol": protocol,
                    "knobs": {**knobs, "learning_rates": list(knobs["learning_rates"])},
                    "accuracy": {"0": accuracy(clean, seed)},
                    "other_statistics": {
                        "blocks": {"0": accuracy(clean | {"training_mode"}, seed)}
                    },
                },
                "invented",
            )
    return list(found.values())


@pytest.fixture
def install(monkeypatch):
    def these(found):
        monkeypatch.setattr(
            records,
            "load",
            lambda experiment, protocol=None, folder=None: [
                r for r in found if protocol in (None, r.key.protocol)
            ],
        )

    these([])
    return these


# What is trained


def test_the_code_without_any_fault_is_the_dense_networks_protocol():
    for base in ladder.BASES:
        dense = preset(ladder.protocol_of(base, DENSE), "resnet18")
        assert dense.scale == "none"
        usual = dataclasses.replace(preset(base, "resnet18"), skip="strided", scale="none")
        assert dense == usual


def test_the_code_with_all_faults_is_the_source_s_but_for_the_split():
    coded = dataclasses.replace(preset("as_coded", "resnet18"), split="standard")
    assert preset(ladder.protocol_of("as_written", CODE), "resnet18") == coded


@pytest.mark.parametrize("base", ladder.BASES)
def test_each_rung_has_a_protocol_of_its_own(base):
    every = [frozenset(n) for size in range(7) for n in itertools.combinations(FAULTS, size)]
    names = {ladder.protocol_of(base, rung) for rung in every}
    assert len(names) == 2 ** len(FAULTS)
    assert all(full_name(name, "resnet18") == name for name in names)
    trained = {ladder.trained_as(base, rung) for rung in every}
    assert len(trained) == 2 ** (len(FAULTS) - 1)
    assert {preset(name, "resnet18").evaluation for name in trained} == {"running"}


def test_both_orders_mend_every_fault_once():
    for way in (ladder.down(), ladder.up()):
        assert way[0] == CODE and way[-1] == DENSE
        mended = [before - after for before, after in itertools.pairwise(way)]
        assert frozenset.union(*mended) == CODE and all(len(each) == 1 for each in mended)
    assert ladder.up()[1:-1] == [CODE - rung for rung in reversed(ladder.down()[1:-1])]


def test_the_grid_trains_all_that_the_tables_ask_for():
    for base, experiment in zip(ladder.BASES, ("resnet18", "resnet18_reduced"), strict=True):
        keys = {
            (key.protocol, key.network, key.sparsity)
            for page in EXPERIMENTS[experiment].pages()
            for key in page.keys
        }
        rungs = {*ladder.down(), *ladder.up()}
        for name in FAULTS:
            rungs |= {*ladder.mended_alone(name), *ladder.left_alone(name)}
        for rung in rungs:
            assert (ladder.trained_as(base, rung), ladder.NETWORK, 0.0) in keys
        assert len(ladder.protocols(base)) == 16


@pytest.mark.parametrize(
    ("variant", "rung"),
    [
        ("text", None),
        ("code", CODE),
        ("dense", DENSE),
        ("layer", {"layer"}),
        ("untrained + no_drop", {"untrained", "no_drop"}),
    ],
)
def test_a_variant_names_a_rung(variant, rung):
    assert ladder.parse(variant) == rung


@pytest.mark.parametrize("variant", ["", "all", "layer+layer", "layer+", 3, None, "dense+layer"])
def test_what_is_no_variant_is_told_with_the_faults_that_are(variant):
    with pytest.raises(ParameterError, match="choose text, code, dense, or faults.*pooled_skip"):
        ladder.parse(variant)


def test_a_variant_changes_a_protocol_of_the_ladder():
    assert ladder.with_variant("reduced", "text") == "reduced"
    assert ladder.with_variant("reduced", "dense") == "reduced, skip=strided, scale=none"
    assert ladder.with_variant("as_coded", "text") == "as_coded"
    for protocol in ("as_coded", "reduced, epochs=2", 3):
        with pytest.raises(ParameterError, match="as_written, reduced"):
            ladder.with_variant(protocol, "code")


# What is made of it


def test_one_training_gives_both_rungs(install):
    install(recorded("reduced", 2))
    for rung in (CODE, CODE - {"training_mode"}, DENSE, frozenset({"training_mode"})):
        got = ladder.accuracies("reduced", rung)
        assert got == pytest.approx({seed: accuracy(rung, seed) for seed in range(2)}, abs=1e-6)
    assert ladder.accuracies("as_written", CODE) == {}


def test_gains_are_those_of_the_definition(install):
    install(recorded("reduced", 3))
    for way, rungs in (("in order", ladder.down()), ("in reverse order", ladder.up())):
        for step, (before, after) in zip(
            report_ladder.steps("reduced", rungs), itertools.pairwise(rungs), strict=True
        ):
            want = sum(accuracy(after, s) - accuracy(before, s) for s in range(3)) / 3
            assert step.gain.mean == pytest.approx(want, abs=1e-6)
            assert step.gain.n == 3
        total = report_ladder._sum("reduced", way).mean
        want = sum(accuracy(DENSE, s) - accuracy(CODE, s) for s in range(3)) / 3
        assert total == pytest.approx(want, abs=1e-6)
        assert report_ladder._rest("reduced", way).mean == pytest.approx(0, abs=1e-6)


def test_what_faults_do_to_each_other_is_left_over(install):
    """Two faults that cost 7 points only once: alone first both mends gain 7 points too little."""
    install(recorded("reduced", 3))
    assert report_ladder._rest("reduced", "alone, first").mean == pytest.approx(0.07, abs=1e-6)
    assert report_ladder._rest("reduced", "alone, last").mean == pytest.approx(-0.07, abs=1e-6)
    table = cells(report_ladder.alone_table("reduced"))
    assert [row["fault"] for row in table[:-3]] == [fault.cause for fault in FAULTS.values()]
    rest = table[-2]
    assert rest["fault"] == "what they do to each other"
    assert rest["in order"].startswith("+0.0") or rest["in order"].startswith("−0.0")
    assert rest["alone, first"].startswith("+7.0")
    assert rest["alone, last"].startswith("−7.0")
    first = {row["fault"]: row["alone, first"] for row in table}
    assert first[FAULTS["untrained"].cause].startswith("+13.0")
    last = {row["fault"]: row["alone, last"] for row in table}
    assert last[FAULTS["untrained"].cause].startswith("+20.0")


def test_a_way_is_a_table_with_every_rung(install):
    install(recorded("reduced", 1))
    html = report_ladder.way_table("reduced", ladder.down(), "in the order chosen")
    table = cells(html)
    assert len(table) == len(FAULTS) + 1
    assert table[0]["test accuracy"].startswith(f"{100 * accuracy(CODE, 0):.2f} %, n = 1")
    assert table[-1]["test accuracy"].startswith(f"{100 * accuracy(DENSE, 0):.2f} %, n = 1")
    assert "Reduced protocol: 4 epochs instead of 50" in html
    assert "64 × 64 pixels instead of 224" in html
    assert "†" in html  # the invented code is not today's


def test_a_seed_that_one_rung_lacks_counts_nowhere(install):
    """Else gains would not add up, and a waterfall would not end where the dense network is."""
    found = recorded("reduced", 2)
    code = ladder.trained_as("reduced", CODE)
    install([r for r in found if not (r.key.protocol == code and r.key.seed == 1)])
    for rungs in (ladder.down(), ladder.up()):
        for step in report_ladder.steps("reduced", rungs):
            assert step.gain.n == 1 and math.isnan(step.gain.low)
    assert report_ladder._rest("reduced", "in order").mean == pytest.approx(0, abs=1e-6)
    assert "n = 1 in each" in report_ladder.in_words("reduced")
    # A rung that has not been run at all takes no seed away from the others.
    install([r for r in found if r.key.protocol != code])
    assert report_ladder.steps("reduced", ladder.down())[2].gain.n == 2


def test_the_waterfall_tells_its_numbers(install):
    install(recorded("reduced", 3))
    html = report_ladder.waterfall("reduced")
    assert "n = 3" in html
    assert f"from {100 * (accuracy(CODE, 1)):.1f} %" in html
    assert "train the blocks +13.0" in html  # in order, the other fault of the pair is there
    assert "train the blocks +20.0" in html  # in reverse, it is not
    assert caption(html).startswith(
        "The step that gains most, in points: mended in order “train the blocks”, +13.0 (the same "
        "in each of 3 seeds); mended in reverse order “train the blocks”, +20.0 (the same in each "
        "of 3 seeds). What each"
    )
    install(recorded("reduced", 1, ladder.down()))
    assert caption(report_ladder.waterfall("reduced")).startswith(
        "The step that gains most, in points: mended in order “train the blocks”, +13.0. What each"
    )


def test_in_words(install):
    install(recorded("reduced", 3))
    told = numbers.plain(report_ladder.in_words("reduced")).replace("\u00a0", " ")
    gap = sum(accuracy(DENSE, s) - accuracy(CODE, s) for s in range(3)) / 3
    assert f"a gap of +{100 * gap:.1f} (" in told
    assert "16 of the ladder's 16 networks have been trained" in told and "n = 3" in told
    assert "the residual blocks are not trained: +13.0 (" in told
    short = numbers.plain(report_ladder.in_short("reduced")).replace("\u00a0", " ")
    assert f"ahead of the source's sparse one by +{100 * gap:.1f} (" in short
    assert "the residual blocks are not trained: +13.0 (" in short and "n = 3" in short
    alone = numbers.plain(report_ladder.untrained_in_short("reduced")).replace("\u00a0", " ")
    assert alone.startswith("Training them, and mending nothing else, gains +13.0 ± 0.0 of the ")
    assert f" of the +{100 * gap:.1f} ± " in alone and "interval, n = 3; " in alone
    assert report_ladder.has_run("reduced") and not report_ladder.has_run("as_written")


def test_what_has_not_been_run_says_so(install):
    assert report_ladder.in_short("reduced") == ""  # and the page that quotes it says nothing
    assert report_ladder.untrained_in_short("reduced") == ""
    assert "0 of the ladder's 16 networks" in report_ladder.in_words("reduced")
    for told in (
        report_ladder.alone_table("reduced"),
        report_ladder.way_table("reduced", ladder.down(), "in order"),
        report_ladder.waterfall("reduced"),
    ):
        assert "run yet under reduced" in told
    only = [CODE, DENSE]
    install(recorded("reduced", 1, only))
    assert "Not every rung has been run" in report_ladder.waterfall("reduced")
    install(recorded("reduced", 1, ladder.down()))
    html = report_ladder.waterfall("reduced")
    assert "Mended in reverse order: not run yet" in html and "in order: from" in html
    install(recorded("reduced", 1, only))
    table = cells(report_ladder.way_table("reduced", ladder.down(), "in order"))
    assert [row["test accuracy"] == "not run" for row in table] == [
        ladder.trained_as("reduced", rung)
        not in {ladder.trained_as("reduced", each) for each in only}
        for rung in ladder.down()
    ]
    assert table[2]["gain in points"] == "not run"
