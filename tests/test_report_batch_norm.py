"""Without BatchNorm: the table says what moved, what learned and what diverged."""

import dataclasses

import pytest
from test_records import a_record
from test_report_forensics import rows

from sparseconv_lib.study import records
from sparseconv_lib.study import report_batch_norm as report
from sparseconv_lib.study.grid import WITH_BATCH_NORM, WITHOUT_BATCH_NORM, grid_of
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.training import PARTS_OF_AN_EPOCH

LONG, UNIT = WITHOUT_BATCH_NORM[0], WITHOUT_BATCH_NORM[3]
CLAIM = "as_written, batch_norm=false"
FLAT, FALLS = [2.3] * 40, [2.3] * 10 + [1.0] * 30


def training(protocol, seed, losses, accuracies, network="SparseConvNet-kept", sparsity=0.0):
    """An invented training on whole images."""
    record = a_record(network, sparsity, seed, protocol)
    record.content["curve"] = losses
    record.content["epochs"] = [
        {"loss": 1.0, "train_accuracy": 0.1, "test_accuracy": accuracy, "seconds": 1.0}
        for accuracy in accuracies
    ]
    return record


@pytest.fixture
def recorded(monkeypatch):
    """A function: makes these the records that are read."""

    def install(*found):
        def load(notebook, protocol):
            return [r for r in found if (notebook, r.key.protocol) == ("mnist", protocol)]

        monkeypatch.setattr(records, "load", load)

    return install


def by_protocol(html):
    found = rows(html)
    names = [*report.WITH_SMALL_BATCHES, *WITHOUT_BATCH_NORM, *WITH_BATCH_NORM]
    whole = [row for row in found if row["p"] == "0"]
    assert [row["p"] for row in found[2:4]] == ["0.8"] * 2 and len(found) == len(whole) + 2
    return dict(zip(names, whole, strict=True))


def test_the_settings_that_the_table_compares():
    """BatchNorm on and off, three scales, three rates over two decades; the source's first bias."""
    for names, norm in ((WITHOUT_BATCH_NORM, False), (WITH_BATCH_NORM, True)):
        knobs = [preset(name) for name in names]
        assert {(k.scale, k.learning_rates) for k in knobs} == {
            (scale, (rate,)) for scale in report.SCALE_IN_WORDS for rate in (1e-3, 1e-2, 1e-1)
        }
        assert len(knobs) == 9 and {(k.batch_norm, k.batch_size) for k in knobs} == {(norm, 64)}
        assert {k.sparse_bias for k in knobs} == ({"default"} if norm else {"zero"})
        for name in names:
            grid = grid_of("mnist", name)
            assert "SparseConvNet-kept" in grid.networks and 0.0 in grid.sparsities
    assert (LONG, UNIT) == (
        "as_written, epochs=10, batch_size=64, batch_norm=false, sparse_bias=zero",
        "as_written, batch_size=64, batch_norm=false, scale=partial, sparse_bias=zero",
    )
    changed = dataclasses.replace(preset("as_written"), batch_norm=False)
    assert preset(CLAIM) == changed  # the name that the claim's rule gives it


def test_what_learned_and_when_the_loss_moved(recorded):
    recorded(
        training(LONG, 0, [2.3] * 200, [0.11] * 10),
        training(LONG, 1, [2.3] * 99 + [2.0] * 101, [0.11] * 4 + [0.9] * 6),
        training(UNIT, 0, FALLS, [0.7, 0.92]),
        training(UNIT, 1, [2.3] * 11 + [1.0] * 29, [0.7, 0.94]),
        training(CLAIM, 0, FLAT, [0.1135, 0.1135]),
        training(CLAIM, 0, FALLS, [0.9, 0.9], network="SparseConvNet"),  # not what is asked
        training(CLAIM, 0, FALLS, [0.8, 0.8], sparsity=0.8),
    )
    assert PARTS_OF_AN_EPOCH == 20
    found = by_protocol(report.table())
    assert found[CLAIM] == {
        "p": "0", "BatchNorm": "no", "scale": "1/Σ", "first bias": "default",
        "learning rate": "0.001", "batch": "4", "n": "1", "% after 2 epochs": "11.35",
        "learned": "0 of 1", "loss moved": "not in 2 epochs",
    }  # fmt: skip
    assert rows(report.table())[2]["% after 2 epochs"] == "80.00"
    long = found[LONG]  # read after two epochs, though it went on
    assert (long["% after 2 epochs"], long["learned"]) == ("11.00 ± 0.00", "0 of 2")
    assert long["loss moved"] == "after 5 epochs (1 of 2 seeds)" and long["first bias"] == "0"
    unit = found[UNIT]
    assert (unit["scale"], unit["% after 2 epochs"]) == ("k²/Σ", "93.00 ± 1.41")
    assert (unit["learned"], unit["loss moved"]) == ("2 of 2", "after 0.55 to 0.6 epochs")
    rest = [row for name, row in found.items() if name not in (CLAIM, LONG, UNIT)]
    assert len(rest) == 17
    assert {(row["n"], row["% after 2 epochs"]) for row in rest} == {("0", "not run")}
    assert report.in_words() == (
        "Trainings that learned within 2 epochs at p = 0. Without BatchNorm: 0 of 3 with the scale "
        "1/Σ (rate 0.001); 2 of 2 with the scale k²/Σ (rate 0.001)."
    )


def test_it_is_the_scale_only_if_it_parts_all_trainings_at_the_same_rates(recorded):
    def told(*trainings):
        recorded(*trainings)
        return "it is the scale" in report.in_words()

    names = [name for name in WITHOUT_BATCH_NORM if preset(name).scale in ("mean", "partial")]
    stuck = [training(n, 0, [2.3] * 200, [0.1] * 10) for n in names if preset(n).epochs == 10]
    learned = [training(n, 0, FALLS, [0.7, 0.92]) for n in names if preset(n).epochs == 2]
    assert len(stuck) == len(learned) == 3  # rates
    assert told(*stuck, *learned)
    assert told(*stuck, *learned, training(CLAIM, 0, FALLS, [0.7, 0.8]))  # with batches of 4
    assert not told(*stuck) and not told(*learned)
    assert not told(stuck[0], learned[0])  # one rate
    assert not told(*stuck, *learned[:2])  # not the same rates
    one_more = training(stuck[0].key.protocol, 1, FALLS * 5, [0.7, *[0.8] * 9])
    assert not told(*stuck, *learned, one_more)
    one_less = training(learned[0].key.protocol, 1, FLAT, [0.1, 0.1])
    assert not told(*stuck, *learned, one_less)


def test_a_training_that_diverged_is_not_one_that_stood_still(recorded):
    recorded(
        training(UNIT, 0, [2.3] * 5 + [1.0] + [None] * 34, [0.1, 0.098]),
        training(UNIT, 1, [None] * 40, [0.098, 0.098]),
    )
    row = by_protocol(report.table())[UNIT]
    assert row["loss moved"] == "after 0.3 epochs (1 of 2 seeds); 2 diverged"
    assert row["learned"] == "0 of 2"


def test_the_figure_has_a_line_for_each_first_seed(recorded, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        report.figures,
        "pictures",
        lambda panels, caption: drawn.update(panels=panels, caption=caption),
    )
    recorded(
        training(LONG, 0, [2.3] * 200, [0.11] * 10),
        training(UNIT, 1, FALLS, [0.7, 0.92]),  # not seed 0
        training(WITH_BATCH_NORM[1], 0, FALLS, [0.7, 0.92]),
        training(CLAIM, 0, FLAT, [0.1, 0.1]),  # batches of 4
    )
    report.figure()
    panels = [axis for figure, _ in drawn["panels"] for axis in figure.axes]
    assert [axis.get_title() for axis in panels] == ["learning rate 0.001", "learning rate 0.01"]
    curves = [[len(line.get_xdata()) for line in axis.lines] for axis in panels]
    assert curves == [[40, 2], [40, 2]]  # two epochs, and the line of a guess
    assert drawn["panels"][0][0].legends == []
    (legend,) = drawn["panels"][-1][0].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "1/Σ, no BatchNorm", "1/Σ, BatchNorm"
    ]  # fmt: skip
    assert "rate 0.001; where each line ends: 1/Σ, no BatchNorm 2.30" in drawn["panels"][0][1]
    assert drawn["caption"].startswith(
        "Losses that fall below 2.2 nats within 2 epochs: without BatchNorm 0 of 1, with BatchNorm "
        "1 of 1. Training loss"
    )
    # What moves in the third epoch is not in the figure.
    recorded(training(LONG, 0, [2.3] * 50 + [1.0] * 150, [0.11] * 10))
    report.figure()
    assert "epochs: without BatchNorm 0 of 1. " in drawn["caption"]


def test_before_any_run(recorded):
    recorded()
    assert report.in_words() == "Not run yet."
    assert "Not run yet" in report.figure()
    assert {row["loss moved"] for row in rows(report.table())} == {"–"}


@pytest.mark.parametrize(
    "curve, epoch",
    [
        ([2.3, 2.25, 2.1, 2.0], 1.5),
        ([2.3, 2.21, 2.2, 2.25], None),
        ([None, None], None),
        ([None, 1.0], 1.0),
        ([], None),
    ],
)
def test_when_the_loss_moved(curve, epoch):
    assert report.moved_at(curve, parts=2) == epoch
