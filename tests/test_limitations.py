"""The page of limitations: its numbers are counted, and none is typed."""

import re

from sparseconv_lib.study import claims, records, sweep
from sparseconv_lib.study import report_limitations as limitations
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.paths import ROOT

TEXT = (ROOT / "book" / "limitations.md").read_text("utf-8")


def test_no_number_is_typed():
    names = r"Eq\. 1|Tables? \d( and \d)?|Caltech-101|[Rr]es[Nn]et18|TF32|float32"
    assert re.findall(r"\d+", re.sub(names, "", TEXT)) == []


def test_every_directive_of_the_page_exists():
    named = re.findall(r"```\{limitation\} (\S+)", TEXT)
    assert sorted(named) == sorted(["coverage", *limitations.SENTENCES])


def test_coverage_is_what_the_sweep_would_say():
    rows = limitations.coverage().set_index("experiment")
    assert list(rows.index) == list(EXPERIMENTS)
    for name in EXPERIMENTS:
        done, asked = map(int, rows.loc[name, "recorded"].split(" of "))
        assert asked - done == sum(
            len(sweep.missing_keys(page)) for page in sweep.missing_pages([name])
        )


def test_sentences_hold_what_is_recorded():
    found = limitations.devices()
    recorded = [r for n in ("mnist", "caltech", "resnet18", "invariance", "depth")
                for r in records.load(n)]  # fmt: skip
    trained = [record for record in recorded if record.content["epochs"]]
    assert 0 < len(trained) < len(recorded)
    assert f"Of {len(trained)} trainings" in found
    assert f"({len(recorded) - len(trained)} more records are of interpolations" in found
    for record in recorded:
        assert record.content["provenance"]["device"] in found
    assert "10,000 digits" in limitations.choice_of_test_images()


def test_without_records_nothing_is_said(monkeypatch):
    monkeypatch.setattr(records, "load", lambda *_, **__: [])
    for name in ("devices", "test-images", "two-epochs"):
        sentence = limitations.SENTENCES[name]()
        assert "yet" in sentence and not re.search(r"\d", sentence)


def test_judged_pairs_of_two_devices_are_counted(monkeypatch):
    """Of each claim's own contrasts: moving one of its two networks to another device moves all."""
    monkeypatch.setattr(
        limitations, "_device_by_seed", lambda claim, cell: {0: "a", 1: "a", 2: str(cell)}
    )
    contrasts = [
        contrast
        for claim in claims.load().claims
        for contrast in claim.contrasts()
        if claim.experiment in EXPERIMENTS and contrast.subtrahend
    ]
    told = limitations._judged_across_devices()
    n = len(contrasts)
    assert told.startswith(f"Of the {3 * n} pairs by which claims are judged, {n} are of two dev")
    monkeypatch.setattr(limitations, "_device_by_seed", lambda *_: {0: "a", 1: "b"})
    assert limitations._judged_across_devices().endswith(" 0 are of two devices.")
