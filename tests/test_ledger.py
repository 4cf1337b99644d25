"""The claim ledger: every claim has a row, and what was not run says so."""

import pytest
from invented import the_matrix

from sparseconv_lib.study import claims, ledger, numbers, records, report

REGISTER = claims.load()


def nothing(experiment, protocol):
    return {}


def test_every_claim_has_a_row_in_order():
    rows = ledger.rows(nothing)
    assert [row.claim.id for row in rows] == [claim.id for claim in REGISTER.claims]
    assert all(row.rule.endswith(".") for row in rows)


def test_what_was_not_run_says_so():
    for row in ledger.rows(nothing):
        if row.claim.id in ledger.CALCULATED:
            assert row.word in claims.WORDS and row.reason
            continue
        arithmetic = row.claim.rule.type == "arithmetic"
        assert row.word == (ledger.NOT_DECIDED if arithmetic else ledger.NOT_RUN)
        assert row.reason == ""


def test_claims_that_are_calculated_are_those_of_an_arithmetic_rule():
    for claim_id in ledger.CALCULATED:
        assert REGISTER[claim_id].rule.type == "arithmetic"


def test_accuracies_are_asked_for_by_experiment_and_protocol():
    asked = set()

    def accuracies(experiment, protocol):
        asked.add((experiment, protocol))
        if (experiment, protocol) != ("mnist", "as_written"):
            return {}
        noise = (0.001, -0.001, 0.0005, -0.0005, 0.0)
        seeds = {seed: 0.98 + noise[seed] for seed in range(5)}
        return {(n, 0.0, 0.0): seeds for n in ("ConvNet", "SparseConvNet-kept")}

    rows = {row.claim.id: row for row in ledger.rows(accuracies)}
    assert rows["mnist-parity"].word == claims.REPRODUCED
    assert "n = 5" in rows["mnist-parity"].reason
    assert rows["mnist-table-3"].word == ledger.NOT_RUN
    assert ("mnist", "as_written, epochs=10") in asked  # what a contrast names beside its own


def test_what_was_run_in_part_is_counted_and_shown_where_it_was_run_most():
    def told(seeds):
        """seeds: p -> how many both networks have there."""
        table = {
            (network, p, p): dict.fromkeys(range(n), accuracy)
            for p, n in seeds.items()
            for network, accuracy in (("ConvNet", 0.6), ("SparseConvNet-kept", 0.59))
        }
        rows = ledger.rows(lambda e, p: table if (e, p) == ("caltech", "as_written") else {})
        return {row.claim.id: row for row in rows}

    part = told({0.0: 3, 0.5: 1, 0.8: 3})
    assert part["caltech-no-gain"].reason.endswith(
        "Not yet run in 8 of 10 cells, first SparseConvNet-kept − ConvNet at p = 0.05. Where run: "
        "1 to 3 of the grid's 5 seeds."
    )
    assert "at p = 0.8" in numbers.plain(ledger.ours(part["caltech-no-gain"]))
    assert ledger.ours(part["caltech-no-gain"]).endswith("n = 3")
    assert part["caltech-13-points"].reason.endswith(" So far: 3 of the grid's 5 seeds.")
    complete = told({0.5: 5})["caltech-no-gain"].reason
    assert complete.endswith(" at p = 0.05. Where run: all of the grid's 5 seeds.")
    whole = told({0.0: 5, 0.8: 5})["caltech-13-points"]
    assert "So far" not in whole.reason


def test_two_protocols_are_asked_for_no_more_seeds_than_both_have():
    """as_written has 10 seeds in the grid, and ten epochs have 5."""

    def told(long, short):
        seeds = {"as_written, epochs=10": long, "as_written": short}
        rows = ledger.rows(
            lambda e, p: {("ConvNet", 0.0, 0.0): dict.fromkeys(range(seeds.get(p, 0)), 0.98)}
        )
        return {row.claim.id: row for row in rows}["mnist-two-epochs"].reason

    assert "So far" not in told(5, 10) and "n = 5" in told(5, 10)
    assert told(4, 10).endswith(" So far: 4 of the grid's 5 seeds.")


def test_recorded_reads_records_by_sparsity_and_seed(monkeypatch):
    def record(seed):
        key = records.Key("mnist", "as_written", "ConvNet", 0.8, seed)
        content = {**vars(key), "accuracy": {"0.8": 0.9 + seed / 100, "0": 0.5}}
        return records.Record(content)

    monkeypatch.setattr(records, "load", lambda *asked: [record(0), record(1)])
    assert ledger.recorded("mnist", "as_written") == {
        ("ConvNet", 0.8, 0.8): {0: 0.9, 1: 0.91},
        ("ConvNet", 0.8, 0.0): {0: 0.5, 1: 0.5},
    }


def test_rules_in_words():
    words = {claim.id: ledger.rule_in_words(claim) for claim in REGISTER.claims}
    assert words["mnist-parity"] == (
        "SparseConvNet-kept − ConvNet at p = 0 must be shown to lie between −0.5 and +0.5 points; "
        "at least 5 seeds."
    )
    assert "below +0.5 points at each of 10 sparsities" in words["mnist-no-gain"]
    assert "All 20 values of the source" in words["mnist-table-3"]
    assert "calculation" in words["layer-double-parameters"]


def test_our_number_stands_beside_the_sources():
    """Two networks of MNIST at two sparsities, by hand; t with 4 degrees is 2.132 at 90 %."""
    noise = (0.002, -0.002, 0.001, -0.001, 0.0)

    def accuracies(experiment, protocol):
        if (experiment, protocol) != ("mnist", "as_written"):
            return {}
        seeds = {
            ("ConvNet", 0.0): dict.fromkeys(range(5), 0.98),
            ("SparseConvNet-kept", 0.0): {seed: 0.981 + noise[seed] for seed in range(5)},
            ("ConvNet", 0.8): {0: 0.9},
        }
        return {(network, p, p): values for (network, p), values in seeds.items()}

    rows = {row.claim.id: ledger.ours(row) for row in ledger.rows(accuracies)}
    half = 2.132 * (10 / 4) ** 0.5 / 5**0.5  # in tenths of a point
    assert rows["mnist-parity"] == (
        "SparseConvNet-kept − ConvNet at p = 0: +0.10 points "
        f"({0.1 - half / 10:+.2f} to {0.1 + half / 10:+.2f}), n = 5".replace("(-", "(−")
    )
    # Too few seeds to judge, and still a number; of several cells the first that was run.
    assert rows["mnist-98-to-91"].startswith("ConvNet at p = 0: 98.00 % (")
    assert rows["caltech-table-4"] == rows["decisions-easier-than-values"] == ""
    assert rows["resnet18-mask-twice"] == "calculated"


LOWER = REGISTER["mnist-lower-when-sparse"]  # kept − ConvNet below 0, at p = 0.8 and 0.9


def pairs(gaps):
    """p -> kept − ConvNet in points, seed by seed; ConvNet has one seed more."""
    cells = {}
    for p, points in gaps.items():
        cells["ConvNet", p, p] = dict.fromkeys((*range(len(points)), 99), 0.9)
        kept = {seed: 0.9 + point / 100 for seed, point in enumerate(points)}
        cells["SparseConvNet-kept", p, p] = kept
    return cells


def test_a_claim_on_the_text_tells_what_the_code_gives():
    """Paired by seed, in points; a comparison of fewer than two seeds is left out."""
    cells = pairs({0.8: (-3, -2, -1), 0.9: (-5,)})
    asked = []
    told = numbers.plain(ledger.by_the_code(LOWER, lambda *which: asked.append(which) or cells))
    assert asked == [("mnist", "as_coded")]
    half = 2.919986 / 3**0.5  # t(2, 95 %) · sd 1 / √3
    low, high = (f"{x:+.2f}".replace("-", "−") for x in (-2 - half, -2 + half))
    assert told == (
        "With 90 % intervals, not judged: SparseConvNet-kept − ConvNet at p = 0.8: −2.00 points "
        f"({low} to {high}), n = 3."
    )
    assert ledger.by_the_code(LOWER, lambda *_: {}) == ""
    # Nothing is asked for a claim of another experiment, of other trainings, or of one network.
    for claim in ("caltech-no-gain", "uhrig-invariance", "mnist-batchnorm"):
        assert ledger.by_the_code(REGISTER[claim], lambda *_: cells) == ""


def test_a_verdict_that_the_code_turns_says_so():
    def row(written, coded):
        both = {"as_written": pairs(written), "as_coded": pairs(coded)}
        rows = ledger.rows(lambda _, protocol: both.get(protocol, {}))
        (row,) = (row for row in rows if row.claim is not None and row.claim.id == LOWER.id)
        return row.word, numbers.plain(
            ledger.turned_by_the_code(row, lambda *which: both[which[1]])
        )

    above, below = (1.0, 1.1, 0.9, 1.2, 0.8), (-1.0, -1.1, -0.9, -1.2, -0.8)
    word, told = row({0.8: below, 0.9: above}, {0.8: below, 0.9: below})
    assert word == claims.NOT_REPRODUCED
    assert told.startswith(
        "With networks trained as the source’s code has it (as_coded), this comparison is −1.00 "
        "points (−1.15 to −0.85)"
    )
    assert row({0.8: below, 0.9: above}, {0.8: below, 0.9: above})[1] == ""
    # A reproduced claim that the code shows to fail is told, too; one that it leaves open is not.
    word, told = row({0.8: below, 0.9: below}, {0.8: above, 0.9: above})
    assert word == claims.REPRODUCED and "+1.00 points" in told
    assert row({0.8: below, 0.9: below}, {0.8: (9, -9), 0.9: (9, -9)})[1] == ""
    assert row({}, {0.8: below})[1] == ""


def test_a_claim_that_misses_its_margin_alone_says_so():
    """Of two leads of which 10 points are asked, each above 0."""
    easier = REGISTER["decisions-easier-than-values"]

    def told(**leads):
        cells = {}
        for p, points in zip((0.5, 0.8), leads.values(), strict=True):
            cells["ConvNet:values", p, p] = dict.fromkeys(range(5), 0.5)
            cells["ConvNet:decision", p, p] = {s: 0.5 + x / 100 for s, x in enumerate(points)}
        rows = ledger.rows(lambda experiment, _: cells if experiment == "discussion" else {})
        (row,) = (row for row in rows if row.claim.id == easier.id)
        return row.word, ledger.caveats(row)

    seven, twenty, none = (7, 7.1, 6.9, 7, 7.2), (20, 21, 22, 20, 21), (-1, 1, 2, -2, 0)
    word, caveat = told(at_05=seven, at_08=twenty)
    assert word == claims.NOT_REPRODUCED
    assert caveat == (
        "By the rule’s own test each comparison is above 0, though not by the rule’s margin."
    )
    assert told(at_05=none, at_08=twenty) == (claims.NOT_REPRODUCED, "")
    assert told(at_05=twenty, at_08=twenty) == (claims.REPRODUCED, "")


def test_remarks_are_all_that_is_known_beside_a_number(monkeypatch):
    rows = {row.claim.id: row for row in ledger.rows(nothing)}
    told = ledger.remarks(rows["mnist-98-to-91"])
    assert told == ledger.NOT_BLIND["mnist-table-3"] and "not judged blind" in told
    assert "4 was chosen because it comes near its Table 3" in " ".join(REGISTER.seen_before)
    monkeypatch.setattr(ledger, "turned_by_the_code", lambda row: "The code turns it.")
    assert ledger.remarks(rows["mnist-98-to-91"]) == f"The code turns it. {told}"
    assert ledger.remarks(rows["mnist-parity"]) == "The code turns it."
    assert set(ledger.NOT_BLIND) <= set(rows)


def test_one_row_is_that_of_all_and_reads_no_more(recorded, monkeypatch):
    recorded(*the_matrix(seeds=2))
    rows = ledger.rows()
    assert any(row.word != ledger.NOT_RUN and row.verdict.cells for row in rows)
    assert [ledger.row_of(row.claim.id) for row in rows] == rows
    with pytest.raises(KeyError, match="no-such-claim"):
        ledger.row_of("no-such-claim")
    asked = []
    monkeypatch.setattr(ledger, "recorded", lambda *names: asked.append(names) or {})
    assert ledger.row_of("mnist-parity").word == ledger.NOT_RUN
    assert asked == [("mnist", "as_written")]


def test_a_verdict_tells_the_devices_of_its_trainings(recorded):
    assert ledger.devices(ledger.row_of("uhrig-invariance")) == ""
    found = the_matrix(seeds=2)
    for record in found:
        if (record.key.network, record.key.seed) == ("SparseConvNet", 1):
            source = record.content["provenance"]
            record.content["provenance"] = {**source, "device": "another"}
    recorded(*found)
    usual = found[0].content["provenance"]["device"]
    assert ledger.devices(ledger.row_of("uhrig-invariance")) == f"{usual}; another"
    assert f"{usual}; another" in report.verdict_table("invariance")
    # No training stands behind what is counted.
    assert ledger.devices(ledger.row_of("layer-double-parameters")) == ""


def test_all_rows_read_each_protocol_once():
    asked = []
    ledger.rows(lambda *names: asked.append(names) or {})
    assert asked and len(set(asked)) == len(asked)
