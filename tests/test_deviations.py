"""The page of deviations: no choice of a protocol is left out, and ours is what is run."""

import pytest

from sparseconv_lib.study import deviations
from sparseconv_lib.study.protocol import PRESETS, applicable


@pytest.mark.parametrize("task", deviations.TEXT)
def test_every_field_has_a_row_with_text_code_and_ours(task):
    rows = {row.name: row for row in deviations.rows(task)}
    for knob in applicable(PRESETS[task]["as_written"]):
        row = rows[knob.name]
        assert row.meaning == knob.metadata["meaning"]
        assert row.text
        assert row.code
        assert set(row.ours) == set(PRESETS[task])


@pytest.mark.parametrize("table", ["TEXT", "CODE"])
def test_a_field_without_a_row_stops(table, monkeypatch):
    monkeypatch.delitem(getattr(deviations, table)["mnist"], "momentum")
    with pytest.raises(ValueError, match=f"{table}.*momentum"):
        deviations.rows("mnist")
    assert deviations.rows("caltech101")


def test_a_row_without_a_field_stops(monkeypatch):
    monkeypatch.setitem(deviations.TEXT["mnist"], "colour", "blue")
    with pytest.raises(ValueError, match="colour"):
        deviations.rows("mnist")


def test_ours_is_read_from_the_presets():
    rows = {row.name: row for row in deviations.rows("mnist")}
    assert rows["batch_size"].ours == {
        name: str(preset.batch_size) for name, preset in PRESETS["mnist"].items()
    }
    assert rows["batch_norm"].ours["as_written"] == "yes"
    rows = {row.name: row for row in deviations.rows("caltech101")}
    assert rows["learning_rates"].ours["fair"] == "0.0003, 0.001, 0.003"
    assert rows["compounding"].ours["as_coded"] == rows["compounding"].ours["compounding"] == "yes"
    assert rows["drop_after"].ours["as_written"] == "5"
    assert "train_blocks" not in rows
    rows = {row.name: row for row in deviations.rows("resnet18")}
    assert rows["train_blocks"].ours == {"as_written": "yes", "as_coded": "no", "reduced": "yes"}
    assert "block_order" not in rows


def test_what_an_optimiser_does_not_use_is_not_shown_as_if_it_were():
    rows = {row.name: row for row in deviations.rows("caltech101")}
    assert set(rows["momentum"].ours.values()) == {"not used"}  # Adam has none
    rows = {row.name: row for row in deviations.rows("mnist")}
    assert set(rows["momentum"].ours.values()) == {"0.9"}
