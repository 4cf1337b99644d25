"""The registered rules: the committed file, and what judge() makes of invented accuracies."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from sparseconv_lib.study import claims, verdicts
from sparseconv_lib.study.grid import grid_of, task_of
from sparseconv_lib.study.protocol import full_name

FILE = Path(__file__).resolve().parents[1] / "results" / "verdicts.toml"
REGISTER = claims.load(FILE)
IDS = [claim.id for claim in REGISTER.claims]

# The source's Tables 3 and 4, as printed.
TABLES = {
    "mnist-table-3": """
Sparsity	5%	10%	20%	30%	40%	50%	60%	70%	80%	90%
ConvNet	98.88%	98.70%	98.26%	98.26%	98.01%	97.47%	96.80%	95.11%	91.81%	78.58%
SparseConvNet	98.72%	98.77%	98.52%	98.02%	97.94%	97.23%	96.61%	95.65%	91.20%	75.77%""",
    "caltech-table-4": """
Sparsity	5%	10%	20%	30%	40%	50%	60%	70%	80%	90%
ConvNet	63.94%	65.09%	63.13%	63.42%	59.50%	59.27%	58.81%	57.26%	54.84%	51.15%
SparseConvNet	63.42%	65.09%	63.59%	62.85%	60.02%	55.01%	58.47%	56.28%	54.15%	51.67%""",
}

# Five seeds: mean 0, sd 0.0016. Pairs (1, −1, …) keep a difference noisy too.
NOISE = {0: 0.002, 1: -0.002, 2: 0.001, 3: -0.001, 4: 0.0}


def seeds(mean, spread=1.0, n=5):
    return {seed: mean + spread * NOISE[seed] for seed in range(n)}


def cells(claim, change=None, **how):
    """Accuracies that meet the claim's source exactly, or {(network, p): mean} where changed."""
    return {
        (network, p, p): seeds((change or {}).get((network, p), value / 100), **how)
        for network, column in claim.source.accuracy.items()
        for p, value in zip(claim.source.sparsities, column, strict=True)
    }


def pair(claim, differences, spread=0.5, n=5):
    """Two networks: the second at 90 %, the first that much (fractions, one a sparsity) above."""
    first, second = claim.networks
    table = {(second, p, p): dict.fromkeys(range(n), 0.9) for p in claim.rule.sparsities}
    for p, d in zip(claim.rule.sparsities, differences, strict=True):
        table[first, p, p] = seeds(0.9 + d, spread, n)
    return table


# The committed file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claim",
    [
        *("mnist-parity", "mnist-no-gain", "mnist-98-to-91", "mnist-batchnorm"),
        *("mnist-two-epochs", "caltech-ten-epochs", "caltech-13-points", "caltech-no-gain"),
        *("resnet18-75-to-50", "caltech-input-scaling", "layer-double-parameters"),
        *("resnet18-mask-twice", "decisions-easier-than-values"),
    ],
)
def test_the_thirteen_claims_are_there(claim):
    assert REGISTER[claim].quote


def test_beyond_the_thirteen():
    assert {"mnist-table-3", "caltech-table-4", "uhrig-invariance"} <= set(IDS)
    with pytest.raises(KeyError, match="mnist-parity"):
        REGISTER["mnist"]


@pytest.mark.parametrize("claim", TABLES)
def test_source_numbers_are_those_of_the_tables(claim):
    source = REGISTER[claim].source
    header, *rows = (line.split("\t") for line in TABLES[claim].strip().splitlines())
    assert [f"{p:.0%}" for p in source.sparsities] == header[1:]
    names = {"ConvNet": "ConvNet", "SparseConvNet": "SparseConvNet-kept"}
    for name, *column in rows:
        assert [f"{value:.2f}%" for value in source.accuracy[names[name]]] == column
    assert len(rows) == len(source.accuracy)


@pytest.mark.parametrize("claim", ["mnist-no-gain", "caltech-no-gain", "mnist-lower-when-sparse"])
def test_differences_quoted_are_those_of_the_tables(claim):
    claim = REGISTER[claim]
    convnet, sparse = claim.source.accuracy["ConvNet"], claim.source.accuracy["SparseConvNet-kept"]
    differences = {
        p: round(b - a, 2) for p, a, b in zip(claim.source.sparsities, convnet, sparse, strict=True)
    }
    quoted = [float(q.replace("−", "-")) for q in re.findall(r"[−+]\d\.\d\d", claim.numbers)]
    judged = [differences[contrast.minuend.train] for contrast in claim.contrasts()]
    expected = judged if claim.rule.type == "contrast" else [min(judged), max(judged)]
    assert quoted == expected


def test_the_sources_sparse_network_is_the_kept_one():
    for claim in REGISTER.claims:
        if claim.id.startswith(("mnist", "caltech")):
            assert "SparseConvNet" not in claim.networks


@pytest.mark.parametrize("experiment", ["mnist", "caltech"])
def test_the_trainings_of_claims_are_in_the_grid(experiment):
    for claim in REGISTER.claims:
        if claim.experiment != experiment:
            continue
        cells = {cell for c in claim.contrasts() for cell in (c.minuend, c.subtrahend) if cell}
        needed = {(cell.protocol or claim.protocol, cell.network, cell.train) for cell in cells}
        if claim.rule.type == "prediction":
            sparsities = claim.source.sparsities
            needed |= {(claim.protocol, n, p) for n in claim.networks for p in sparsities}
        for protocol, network, sparsity in needed:
            assert full_name(protocol, task_of(experiment)) == protocol
            grid = grid_of(experiment, protocol)
            assert network in grid.networks and sparsity in grid.sparsities
            assert grid.seeds >= claim.rule.minimum_n


# Judging ------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", REGISTER.claims, ids=IDS)
def test_nothing_run_is_undecided(claim):
    for nothing in ({}, lambda network, train, test: None):
        verdict = verdicts.judge(claim, nothing)
        assert verdict.word == "undecided"
        assert re.match("Not yet (run|decided)", verdict.reason)


def test_prediction_reproduced():
    claim = REGISTER["mnist-table-3"]
    verdict = verdicts.judge(claim, cells(claim, spread=0.5))
    assert verdict.word == "reproduced"
    assert verdict.reason.startswith("20 of 20 source values lie in the prediction interval")
    row = verdict.cells[-1]
    assert (row["network"], row["sparsity"], row["n"]) == ("SparseConvNet-kept", 0.9, 5)
    assert row["low"] < row["mean"] < row["high"]
    assert row["mean"] == pytest.approx(row["source"])


def test_prediction_not_reproduced_by_one_value_outside():
    claim = REGISTER["mnist-table-3"]
    verdict = verdicts.judge(claim, cells(claim, {("ConvNet", 0.8): 0.87}))
    assert verdict.word == "not reproduced"
    assert verdict.reason.startswith("19 of 20")
    assert "ConvNet at p = 0.8, source 91.81 %" in verdict.reason
    assert [row["inside"] for row in verdict.cells].count(False) == 1


def test_prediction_too_wide_is_undecided():
    claim = REGISTER["mnist-table-3"]
    verdict = verdicts.judge(claim, cells(claim, spread=10))
    assert verdict.word == "undecided"
    assert "too wide" in verdict.reason
    # The normal's interval passes 1, what is told does not, and the width judged is the normal's.
    assert max(row["high"] for row in verdict.cells) == 1
    assert all(row["half_width"] > claim.rule.widest / 100 for row in verdict.cells)


def test_prediction_allows_for_the_sources_rounding():
    claim = REGISTER["mnist-98-to-91"]
    for mean, word in [(0.984, "reproduced"), (0.99, "not reproduced")]:
        table = cells(claim, {("ConvNet", 0.0): mean}, spread=0.1)
        assert verdicts.judge(claim, table).word == word


def test_equivalence_has_three_verdicts():
    claim = REGISTER["mnist-parity"]
    for difference, spread, word in [
        (0.001, 0.5, "reproduced"),
        (-0.02, 0.5, "not reproduced"),
        (0.02, 0.5, "not reproduced"),
        (0.0, 10, "undecided"),
        (0.005, 0.5, "undecided"),
    ]:
        verdict = verdicts.judge(claim, pair(claim, [difference], spread))
        assert verdict.word == word
        assert verdict.cells[0]["mean"] == pytest.approx(difference)
    assert "n = 5); the rule asks for between −0.5 and +0.5." in verdict.reason


def test_no_gain_has_three_verdicts():
    claim = REGISTER["mnist-no-gain"]
    for differences, word in [
        ([-0.03] * 10, "reproduced"),
        ([0.0] * 10, "reproduced"),
        ([-0.03] * 9 + [0.02], "not reproduced"),
        ([-0.03] * 9 + [0.005], "undecided"),
    ]:
        verdict = verdicts.judge(claim, pair(claim, differences))
        assert verdict.word == word
    assert "in 1 of 10 comparisons" in verdict.reason
    assert "SparseConvNet-kept − ConvNet at p = 0.9 is +0.50 points" in verdict.reason
    assert verdict.cells[7]["source"] == pytest.approx(0.0054)


def test_holm_guards_a_gain_at_any_of_ten():
    claim = REGISTER["mnist-no-gain"]
    gain = [-0.03] * 9 + [0.0074]  # alone p = .015, of ten .15
    verdict = verdicts.judge(claim, pair(claim, gain, spread=1))
    assert verdict.word == "undecided"
    alone = replace(claim, rule=replace(claim.rule, sparsities=(0.9,)))
    assert verdicts.judge(alone, pair(alone, gain[-1:], spread=1)).word == "not reproduced"


def test_contrast_across_protocols():
    claim = REGISTER["mnist-two-epochs"]
    key = ("ConvNet", 0.0, 0.0)
    two = {key: dict.fromkeys(range(5), 0.98)}
    assert verdicts.judge(claim, two).reason == "Not yet run."
    for gain, word in [(0.001, "reproduced"), (0.01, "not reproduced"), (0.005, "undecided")]:
        ten = {key: seeds(0.98 + gain, 0.5)}
        assert verdicts.judge(claim, two, {"as_written, epochs=10": ten}).word == word


def test_contrast_without_subtrahend_bounds_the_accuracy_itself():
    claim = REGISTER["mnist-batchnorm"]
    for mean, word in [(0.1, "reproduced"), (0.95, "not reproduced"), (0.15, "undecided")]:
        verdict = verdicts.judge(claim, lambda *key, mean=mean: seeds(mean))
        assert verdict.word == word
    assert "15.00 %" in verdict.reason and "asks for less than 15 %" in verdict.reason


def test_contrast_between_training_and_test_sparsities():
    claim = REGISTER["uhrig-invariance"]

    def accuracy(network, train, test):
        return seeds(0.95 - 0.1 * abs(train - test), spread=train)

    verdict = verdicts.judge(claim, accuracy)
    assert verdict.word == "not reproduced"
    assert {row["test_sparsity"] for row in verdict.cells} == {0.0, 0.3, 0.7, 0.8, 0.9}


def test_too_few_seeds_are_undecided():
    claim = REGISTER["mnist-parity"]
    verdict = verdicts.judge(claim, pair(claim, [0.0], n=3))
    assert (verdict.word, verdict.reason) == ("undecided", "n = 3, the rule asks for 5.")
    assert verdict.cells[0]["n"] == 3 and verdict.cells[0]["low"] is not None
    verdict = verdicts.judge(claim, pair(claim, [0.0], n=1))
    assert verdict.reason == "n = 1, the rule asks for 5."
    assert verdict.cells[0]["low"] is None


def test_seeds_that_do_not_pair_are_not_counted():
    claim = REGISTER["mnist-parity"]
    table = pair(claim, [0.0])
    table["ConvNet", 0.0, 0.0] = dict.fromkeys((3, 4, 5, 6, 7), 0.9)
    assert verdicts.judge(claim, table).reason == "n = 2, the rule asks for 5."


def test_a_missing_cell_is_undecided_and_named():
    claim = REGISTER["mnist-table-3"]
    table = cells(claim, {("ConvNet", 0.8): 0.5})
    del table["ConvNet", 0.9, 0.9]
    table["ConvNet", 0.05, 0.05] = seeds(0.98, n=1)
    verdict = verdicts.judge(claim, table)
    assert verdict.word == "undecided"
    assert verdict.reason == "Not yet run in 1 of 20 cells, first ConvNet at p = 0.9."
    assert [row["n"] for row in verdict.cells[:2]] == [1, 5]


# Malformed files ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "mnist-parity"', 'id = "mnist-parity', "not valid TOML"),
        ('id = "mnist-no-gain"', 'id = "mnist-parity"', "'mnist-parity' stands there twice"),
        ('where = "Section 3.3"\n', "", "claim 'mnist-parity' lacks where"),
        ('type = "equivalence"', 'type = "equivalent"', "rule.type must be one of"),
        ("sparsities = [0.0]\nmargin", "sparsity = [0.0]\nmargin", "lacks sparsities"),
        ("sparsities = [0.0]\nmargin", "sparsities = [1.0]\nmargin", r"sparsities in \[0, 1\)"),
        ("margin = 0.5", "margin = -0.5", "rule.margin must lie between"),
        ("margin = 0.5", 'margin = "half"', "rule.margin must be a number"),
        ("alpha = 0.05", "alpha = 5", "rule.alpha must lie between"),
        ("minimum_n = 5", "minimum_n = 1", "minimum_n must be a whole number"),
        ('correction = "none"', 'correction = "tukey"', "correction must be one of"),
        ('experiment = "mnist"', 'experiment = "minst"', "experiment must be one of"),
        ('"SparseConvNet-kept", "ConvNet"]', '"ConvNet"]', "exactly two networks"),
        ("[98, 91.81]", "[98]", "ConvNet must hold 2 numbers"),
        ("[98, 91.81]", "[98, 9181]", "from 0 to 100"),
        ('source = "mnist-table-3"', 'source = "table-3"', "source names 'table-3'"),
        ('networks = ["ConvNet"]', 'networks = ["LeNet"]', "a prediction needs source.accuracy"),
        ("train = 0.8 }, high = 0.0", "train = 0.8 }", "needs low or high"),
        ("seen_before = [", "seen = [", "the file lacks seen_before"),
        ('"undecided" = ', '"unclear" = ', "words must explain"),
    ],
)
def test_malformed_files_say_what_is_wrong(tmp_path, old, new, message):
    text = FILE.read_text(encoding="utf-8")
    assert old in text
    bad = tmp_path / "verdicts.toml"
    bad.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(claims.ClaimsError, match=message) as caught:
        claims.load(bad)
    assert str(bad) in str(caught.value)
    assert "\n" not in str(caught.value)


def rule(data):
    """The first rule that has contrasts."""
    return next(claim["rule"] for claim in data["claim"] if "contrasts" in claim["rule"])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.update(claim=[]), "at least one \\[\\[claim"),
        (lambda data: data["claim"][0].update(title=""), "title must be a text"),
        (lambda data: data["claim"][0].update(networks="ConvNet"), "must be a list of texts"),
        (lambda data: data["claim"][0].update(rule="strict"), "must be a table"),
        (lambda data: data["claim"][0]["rule"].update(family=7), "family must be a text"),
        (lambda data: data["claim"][0]["rule"].update(colour=1), "has unknown colour"),
        (lambda data: data["claim"][0]["rule"].update(sparsities=0.5), "a list of sparsities"),
        (lambda data: rule(data).update(contrasts=[]), "at least one contrast"),
        (lambda data: rule(data)["contrasts"][0]["minuend"].update(network="LeNet"), "not among"),
        (lambda data: rule(data)["contrasts"][0]["minuend"].update(network=5), "must be texts"),
    ],
)
def test_malformed_values_say_what_is_wrong(spoil, message):
    data = tomllib.loads(FILE.read_text(encoding="utf-8"))
    spoil(data)
    with pytest.raises(claims._Wrong, match=message):
        claims._register(data)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(claims.ClaimsError, match="cannot be read"):
        claims.load(tmp_path / "none.toml")
