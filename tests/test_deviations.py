"""The page of deviations: no choice of a protocol is left out, and ours is what is run."""

from dataclasses import fields

import pytest

from sparseconv_lib.study import deviations
from sparseconv_lib.study.protocol import PRESETS, Protocol


def test_every_field_has_a_row_with_text_code_and_ours():
    rows = {row.name: row for row in deviations.rows()}
    for knob in fields(Protocol):
        row = rows[knob.name]
        assert row.meaning == knob.metadata["meaning"]
        assert row.text
        assert row.code
        assert set(row.ours) == set(PRESETS)


@pytest.mark.parametrize("table", ["TEXT", "CODE"])
def test_a_field_without_a_row_stops(table, monkeypatch):
    said = dict(getattr(deviations, table))
    del said["momentum"]
    monkeypatch.setattr(deviations, table, said)
    with pytest.raises(ValueError, match=f"{table}.*momentum"):
        deviations.rows()


def test_a_row_without_a_field_stops(monkeypatch):
    monkeypatch.setattr(deviations, "TEXT", {**deviations.TEXT, "colour": "blue"})
    with pytest.raises(ValueError, match="colour"):
        deviations.rows()


def test_ours_is_read_from_the_presets():
    rows = {row.name: row for row in deviations.rows()}
    assert rows["batch_size"].ours == {
        name: str(preset.batch_size) for name, preset in PRESETS.items()
    }
    assert rows["batch_norm"].ours["as_written"] == "yes"
    assert rows["learning_rates"].ours["fair"] == "0.001, 0.003, 0.01, 0.03, 0.1"
