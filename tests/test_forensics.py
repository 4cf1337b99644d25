"""Which settings made the source's numbers: the rule, the settings, the costs."""

import dataclasses
import itertools
import math

import pytest
from scipy import stats
from test_records import a_record

from sparseconv_lib.study import forensics, records
from sparseconv_lib.study.forensics import AS_CODED, AS_WRITTEN, SETTINGS, Setting
from sparseconv_lib.study.grid import EXPERIMENTS, FORENSIC_SPARSITIES, SOURCE_NETWORKS
from sparseconv_lib.study.protocol import PRESETS, preset
from sparseconv_lib.study.statistics import summarise

CELLS = list(itertools.product(SOURCE_NETWORKS, FORENSIC_SPARSITIES))
SOURCE = dict.fromkeys(CELLS, 0.9)


def seeds(mean, spread=0.01, n=3):
    """n accuracies with that mean, and a standard deviation of about `spread`."""
    return {i: mean + spread * (i - (n - 1) / 2) for i in range(n)}


def everything(mean=0.9, spread=0.01, n=3):
    return {setting: {cell: seeds(mean, spread, n) for cell in CELLS} for setting in SETTINGS}


def words(measured, source=SOURCE):
    return {judged.setting: judged.word for judged in forensics.judge(source, measured)}


def test_there_are_eight_settings_and_two_of_them_are_presets():
    assert len(set(SETTINGS)) == 8
    assert AS_WRITTEN.protocol == PRESETS["mnist"]["as_written"]
    assert AS_CODED.protocol == PRESETS["mnist"]["as_coded"]
    assert {AS_WRITTEN, AS_CODED} <= set(SETTINGS)


def test_the_sources_own_numbers_are_those_of_its_table_and_its_notebook():
    table, curve = forensics.table_3(), forensics.printed_curve()
    assert table["ConvNet", 0.8] == 0.9181
    assert table["SparseConvNet-kept", 0.9] == pytest.approx(0.7577)
    assert curve["ConvNet", 0.0] == 0.9769 and curve["SparseConvNet-kept", 0.95] == 0.1876
    assert len(table) == 20 and len(curve) == 40
    assert all(cell in table and cell in curve for cell in CELLS)


def test_the_interval_is_students_with_the_spread_of_both_networks_and_orders():
    measured = everything()
    setting, cell = SETTINGS[0], CELLS[0]
    measured[setting][cell] = {0: 0.90, 1: 0.91, 2: 0.95, 3: 0.92}
    # Neither another batch size, nor the other evaluation, nor another sparsity counts.
    measured[dataclasses.replace(setting, batch_size=64)][cell] = seeds(0.9, 0.1)
    measured[dataclasses.replace(setting, evaluation="batch")][cell] = seeds(0.9, 0.1)
    measured[setting][cell[0], 0.9] = seeds(0.9, 0.1)
    (judged, *_) = forensics.judge(SOURCE, measured)
    found = judged.cells[0]
    values = [0.90, 0.91, 0.95, 0.92]
    mean = sum(values) / 4
    squares = sum((v - mean) ** 2 for v in values) + 3 * (2 * 0.01**2)  # three other cells of three
    sd = math.sqrt(squares / (3 + 3 * 2))
    half = stats.t.ppf(1 - 0.05 / 8 / 2, 9) * sd * math.sqrt(1 + 1 / 4)
    assert (found.low, found.high) == pytest.approx((mean - half, mean + half))
    assert (found.n, found.mean) == (4, pytest.approx(mean))


def test_cautiously_the_seeds_are_counted_and_not_the_cells():
    measured = everything()  # three seeds, four cells: 8 degrees of freedom, cautiously 2
    measured[SETTINGS[0]][CELLS[0]] = seeds(0.945)
    sd = 0.01
    for freedom, word in ((8, "ruled out"), (2, "possible")):
        half = stats.t.ppf(1 - 0.05 / 8 / 2, freedom) * sd * math.sqrt(1 + 1 / 3)
        assert (0.945 - half > 0.9) == (word == "ruled out")
    judged = forensics.judge(SOURCE, measured)[0]
    assert (judged.word, judged.cautiously) == ("ruled out", "possible")
    measured[SETTINGS[0]][CELLS[0]] = seeds(0.99, 0.001)
    assert forensics.judge(SOURCE, measured)[0].cautiously == "possible"  # the others' spread
    far = {setting: {cell: seeds(0.5) for cell in CELLS} for setting in SETTINGS}
    assert forensics.judge(SOURCE, far)[0].cautiously == "ruled out"


def test_one_value_outside_rules_a_setting_out_and_no_other():
    measured = everything()
    assert set(words(measured).values()) == {"possible"}
    for setting, cell in itertools.product((SETTINGS[0], SETTINGS[7]), (CELLS[0], CELLS[7])):
        changed = everything()
        changed[setting][cell] = seeds(0.99)
        found = words(changed)
        assert found.pop(setting) == "ruled out"
        assert set(found.values()) == {"possible"}
    low = forensics.judge(SOURCE, everything(0.8))[0]
    assert low.word == "ruled out" and low.farthest.high < 0.9
    # The source's rounding is given the benefit of the doubt.
    exact = {setting: {cell: seeds(0.90004, 0.0) for cell in CELLS} for setting in SETTINGS}
    assert set(words(exact).values()) == {"possible"}
    exact = {setting: {cell: seeds(0.90006, 0.0) for cell in CELLS} for setting in SETTINGS}
    assert set(words(exact).values()) == {"ruled out"}


def test_too_few_seeds_are_not_judged():
    measured = everything()
    measured[SETTINGS[2]][CELLS[3]] = seeds(0.5, n=2)
    del measured[SETTINGS[3]][CELLS[0]]
    del measured[SETTINGS[4]]
    found = words(measured)
    assert [found[setting] for setting in SETTINGS[2:5]] == ["not judged"] * 3
    assert {found[setting] for setting in SETTINGS[:2] + SETTINGS[5:]} == {"possible"}


def test_farthest_and_widest():
    measured = everything()
    measured[SETTINGS[0]][CELLS[5]] = seeds(0.97)
    measured[SETTINGS[0]][CELLS[2]] = seeds(0.91, 0.2)
    judged = forensics.judge(SOURCE, measured)[0]
    named = [(cell.network, cell.sparsity) for cell in (judged.farthest, judged.widest)]
    assert named[0] == CELLS[5] and named[1][1] == CELLS[2][1]


# From records


@pytest.fixture
def recorded(monkeypatch):
    """A function: makes these (protocol, network, seed, accuracy, other) the records."""

    def install(*rows):
        found = [
            a_record(network, 0.8, seed, protocol=protocol, accuracy={"0.8": accuracy}, **other)
            for protocol, network, seed, accuracy, other in rows
        ]
        monkeypatch.setattr(
            records, "load",
            lambda notebook, protocol: [r for r in found if r.key.protocol == protocol],
        )  # fmt: skip

    return install


def both(**other):
    return {"other_statistics": {kind: {"0.8": accuracy} for kind, accuracy in other.items()}}


def test_a_training_counts_for_both_kinds_of_statistics(recorded):
    recorded(
        ("as_coded", "ConvNet", 0, 0.75, both(running=0.5)),
        ("as_coded", "ConvNet", 1, 0.7, {}),
        ("as_written", "ConvNet", 0, 0.9, {}),
        ("as_written, evaluation=batch", "ConvNet", 0, 0.7, both(running=0.6)),
        ("as_written, evaluation=batch", "ConvNet", 1, 0.8, both(running=0.85)),
        ("as_written, batch_size=64, batch_norm=false", "ConvNet", 2, 0.1, {}),
    )
    cell = ("ConvNet", 0.8)
    assert forensics.accuracies(AS_CODED) == {cell: {0: 0.75, 1: 0.7}}
    assert forensics.accuracies(Setting(64, "code", "running")) == {cell: {0: 0.5}}
    # Seed 0 was trained twice: the preset's own record counts.
    assert forensics.accuracies(AS_WRITTEN) == {cell: {0: 0.9, 1: 0.85}}
    assert forensics.accuracies(Setting(4, "text", "batch")) == {cell: {0: 0.7, 1: 0.8}}
    assert forensics.accuracies(Setting(64, "text", "batch")) == {}


def test_the_grid_fills_every_setting():
    """What `sparseconv sweep mnist forensics` trains is what the rule asks for."""
    trained = {
        (protocol, network, p): grid.seeds
        for name in ("mnist", "forensics")
        for grid in EXPERIMENTS[name].grids
        for protocol, network, p in itertools.product(
            grid.protocols, grid.networks, grid.sparsities
        )
    }
    for setting, (network, p) in itertools.product(SETTINGS, CELLS):
        n = max(
            seeds
            for (protocol, *cell), seeds in trained.items()
            if cell == [network, p]
            and (
                preset(protocol) == setting.protocol
                # made since every training is tested with both kinds
                or (
                    protocol != "as_written"
                    and dataclasses.replace(preset(protocol), evaluation=setting.evaluation)
                    == setting.protocol
                )
            )
        )
        assert n >= forensics.MINIMUM_N


def test_costs_are_paired_differences_code_minus_text():
    measured = everything()
    for setting in SETTINGS:
        for network, p in CELLS:
            lost = 0.1 * (setting.batch_size == 64) + 0.01 * (setting.block_order == "code")
            lost += 0.001 * (setting.evaluation == "batch")
            # The seeds' own spread is large, and the same everywhere: pairing takes it out.
            measured[setting][network, p] = {s: v - lost for s, v in seeds(0.8, 0.2).items()}
            measured[setting]["SparseConvNet", p] = {
                s: v - lost + 0.05 for s, v in seeds(0.8, 0.2).items() if s != 1
            }
    found = forensics.costs(measured)
    lines = {}
    for cost in found:
        for side in (cost.first, cost.last):
            assert side.sd < 1e-9
        lines.setdefault(cost.line, set()).add(
            (round(cost.first.mean, 9), round(cost.last.mean, 9))
        )
    assert lines["batches of 64 instead of 4"] == {(-0.1, -0.1)}
    assert lines["BatchNorm after the pooling"] == {(-0.01, -0.01)}
    assert lines["no eval(): the test batch's own statistics"] == {(-0.001, -0.001)}
    assert [c.network for c in found if c.line == "the mask is not dilated"] == (
        ["SparseConvNet-kept"] * 4
    )
    assert lines["the mask is not dilated"] == {(-0.05, -0.05)}
    assert len(found) == 4 * (3 + 4)


def test_costs_start_from_the_text_or_end_at_the_code():
    """With an interaction, changed first and changed last differ."""
    measured = {
        setting: {cell: seeds(0.9 if setting == AS_CODED else 0.5) for cell in CELLS}
        for setting in SETTINGS
    }
    for cost in forensics.costs(measured):
        if cost.line != "the mask is not dilated":
            assert (cost.first.mean, cost.last.mean) == pytest.approx((0, 0.4), abs=1e-12)
    del measured[Setting(64, "code", "running")]
    one = next(c for c in forensics.costs(measured) if c.line.startswith("no eval"))
    assert one.last is None and one.first == summarise([0.0] * 3)
