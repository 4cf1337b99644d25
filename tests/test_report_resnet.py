"""The chapter on ResNet18: its tables, curves and the verdict that a calculation gives."""

import dataclasses
import html
import itertools

import pytest
import torch
from bs4 import BeautifulSoup
from test_captions import caption
from test_ladder import recorded as the_ladder
from test_records import a_record
from test_report_caltech import cells

from sparseconv_lib.study import (
    charts,
    claims,
    ladder,
    mask_twice,
    numbers,
    records,
    report_resnet,
)
from sparseconv_lib.study.grid import EXPERIMENTS, RESNET_SPARSITIES
from sparseconv_lib.study.ledger import CALCULATED
from sparseconv_lib.study.protocol import preset


def a_resnet_record(network, sparsity, seed=0, protocol="reduced", accuracy=0.5, **more):
    knobs = dataclasses.asdict(preset(protocol, "resnet18"))
    content = a_record(network, sparsity, seed).content | {
        "experiment": "resnet18",
        "protocol": protocol,
        "knobs": {**knobs, "learning_rates": list(knobs["learning_rates"])},
        "accuracy": {f"{sparsity:g}": accuracy},
    }
    return records.validated(content | more, "invented")


@pytest.fixture
def install(monkeypatch):
    def these(*found):
        monkeypatch.setattr(
            records,
            "load",
            lambda experiment, protocol=None, folder=None: [
                r for r in found if protocol in (None, r.key.protocol)
            ],
        )
        by_key = {record.key: record for record in found}
        monkeypatch.setattr(records, "find", lambda key, folder=None: by_key.get(key))

    these()
    return these


# Where pixels are missing


def test_differences_where_pixels_are_missing_are_told_with_what_chance_gives(install):
    told = report_resnet.sparse_in_words("reduced")
    assert "no two networks have been trained" in told
    install(
        a_resnet_record("ConvNet", 0.3, accuracy=0.55),
        a_resnet_record("SparseConvNet", 0.3, accuracy=0.5),
        a_resnet_record("SparseConvNet-kept", 0.3, accuracy=0.49),
        a_resnet_record("ConvNet", 0.8, accuracy=0.5),
    )
    told = numbers.plain(report_resnet.sparse_in_words("reduced")).replace("\u00a0", " ")
    rule = "mask kept − dilated, in stem and blocks"
    assert f"sparse − dense: −5.0 at p = 0.3; {rule}: −1.0 at p = 0.3 (n = 1)." in told
    alike = "no difference in any loss"
    assert alike not in told
    # 1.96 · √(2 · 0.25 / 1736), in points
    assert "would differ by up to 3.3 points in 19 of 20 cases" in told and "p = 0.8" not in told
    more = [
        a_resnet_record(network, 0.3, seed, accuracy=accuracy + seed / 50)
        for network, accuracy in (("ConvNet", 0.55), ("SparseConvNet", 0.5))
        for seed in range(2)
    ]
    install(*more)
    told = report_resnet.sparse_in_words("reduced")
    assert "(n = 2)" in told and "equal worth" not in told
    twins = ("SparseConvNet", "SparseConvNet-kept")
    install(*(a_resnet_record(network, 0.3, accuracy=0.5) for network in twins))
    told = numbers.plain(report_resnet.sparse_in_words("reduced")).replace("\u00a0", " ")
    assert f"{rule}: {alike} at p = 0.3" in told
    assert report_resnet.difference_table("reduced").count(alike) == 1


# The source's curves


def test_the_printed_curves_are_those_of_facts():
    """facts.md: dense ends at 76.0 % (best 76.8 %), sparse at 42.8 %."""
    dense, sparse = (report_resnet.printed()[n] for n in ("ConvNet", "SparseConvNet-kept"))
    assert len(dense) == len(sparse) == 50
    assert (dense[-1], max(dense), sparse[-1]) == (0.760, 0.768, 0.428)
    told = report_resnet.printed_in_words().replace("\u00a0", " ")
    for number in ("76.0 %", "at most 76.8 %", "42.8 %", "at most 43.3 %", "50 %", "−0.2 points"):
        assert number in told


def test_figure_5_draws_the_source_and_ours(install, monkeypatch):
    """Each in a panel of its own, so that a phone shows one below the other."""
    drawn, as_html = [], charts.as_html
    monkeypatch.setattr(
        charts, "as_html", lambda panels, *rest: drawn.append(panels) or as_html(panels, *rest)
    )
    told = report_resnet.figure_5()
    assert "dense ends at 76.0 %" in told and "Ours against epoch; not run yet." in told
    assert caption(told).startswith("Test accuracy on whole images")
    (theirs,), (ours,) = (figure.axes for figure, _ in drawn[0])
    assert [len(line.get_ydata()) for line in theirs.lines[:2]] == [50, 50]
    assert not ours.lines
    epochs = [
        {"loss": 1.0, "train_accuracy": 0.1, "test_accuracy": a, "seconds": 1.0}
        for a in (0.1, 0.2, 0.3, 0.4)
    ]
    dense = a_resnet_record(
        ladder.NETWORK, 0.0, protocol=ladder.protocol_of("reduced", ladder.DENSE), epochs=epochs
    )
    code = ladder.trained_as("reduced", ladder.CODE)
    install(dense, a_resnet_record(ladder.NETWORK, 0.0, protocol=code, epochs=epochs[:2]))
    told = report_resnet.figure_5()
    assert "Ours against epoch; dense ends at 40.0 %; sparse, the source's code ends at 20.0 %" in (
        html.unescape(told)
    )
    assert caption(told).startswith(
        "Of ours, one run each, dense ends at 40.00 %; against it, sparse, the source's code: "
        "−20.0 points. Test accuracy"
    )
    (ours,) = drawn[1][1][0].axes
    curves = [line.get_ydata() for line in ours.lines if len(line.get_ydata()) in (2, 4)]
    assert [pytest.approx([10, 20, 30, 40]), pytest.approx([10, 20])] == [
        list(curve) for curve in curves
    ]
    texts = [title.text for title in BeautifulSoup(told, "html.parser").find_all("title")]
    assert "ours, dense, epoch 3: 30.0 %" in texts
    install(dense)
    assert caption(report_resnet.figure_5()).startswith("Test accuracy")  # nothing to compare


# What is computed


def test_the_claim_about_the_mask_is_decided_by_a_calculation():
    word, reason = CALCULATED["resnet18-mask-twice"]()
    assert word == claims.NOT_REPRODUCED and "bit for bit" in reason
    assert mask_twice.largest_difference(0.0) == 0
    assert mask_twice.largest_difference(0.9) > 0  # it could have come out otherwise


def test_a_difference_would_leave_the_claim_undecided(monkeypatch):
    monkeypatch.setattr(mask_twice, "largest_difference", lambda: 0.5)
    assert mask_twice.verdict()[0] == claims.UNDECIDED


def test_taps_are_counted():
    """Against the windows of a small map, in loops."""
    for kernel, stride in ((3, 1), (3, 2), (7, 2)):
        got = report_resnet.taps(torch.ones(1, 1, 8, 8), kernel, stride)[0, 0]
        reach = kernel // 2
        for i, j in itertools.product(range(8 // stride), repeat=2):
            rows = [u for u in range(i * stride - reach, i * stride + reach + 1) if 0 <= u < 8]
            columns = [u for u in range(j * stride - reach, j * stride + reach + 1) if 0 <= u < 8]
            assert got[i, j] == len(rows) * len(columns)


def test_the_taps_table_follows_the_map():
    layers = [("stem.conv", 7, 2), ("blocks.0.conv1.conv", 3, 1),
              ("blocks.2.skip_conv.conv", 1, 2), ("blocks.2.conv1.conv", 3, 2)]  # fmt: skip
    stem, block, halved = cells(report_resnet.taps_table(layers, 64))
    assert [row["map"] for row in (stem, block, halved)] == ["32×32", "16×16", "8×8"]
    assert block["border"] == f"{100 * (1 - 14**2 / 16**2):.1f} %"
    assert [row["layer"] for row in (stem, block, halved)] == [
        "stem",
        "stage 1, block 1, convolution 1",
        "stage 2, block 1, convolution 1",
    ]
    assert halved["border"] == f"{100 * (1 - 7**2 / 8**2):.1f} %"
    assert (block["larger at an edge"], block["in a corner"]) == ("1.50", "2.25")


def test_masks_are_counted_stage_by_stage():
    rows = cells(report_resnet.mask_table((0.5, 0.95), images=2, side=64))
    assert [(row["p"], row["network"]) for row in rows] == [
        (p, n) for p in ("0.5", "0.95") for n in ("SparseConvNet-kept", "SparseConvNet")
    ]
    assert rows[0]["stage 1"] == rows[1]["stage 1"] == "100 %"
    kept, dilated = (float(row["stage 1"].split(" ")[0]) for row in rows[2:])
    assert kept < dilated
    assert rows[2]["stem"] != "100 %"
    assert report_resnet._share(0.99999) == "99.99 %"  # not full, so not called so


def test_in_words_counts_the_weights():
    told = report_resnet.in_words()
    assert "11,166,080" in told  # facts.md's 11,169,920, less 3,840 of BatchNorms never used
    assert "no rule for them can change anything" in told


def test_parameters_of_each_part_add_up():
    for name in ("reduced", "as_coded"):
        html = report_resnet.architecture_table(preset(name, "resnet18"))
        assert ("in brackets those" in html) is (name == "as_coded")
        table = cells(html)
        for network in ("ConvNet", "SparseConvNet-kept"):
            counts = [row[network].partition(" (")[0].replace(",", "") for row in table]
            assert sum(map(int, counts[:-1])) == int(counts[-1])
        frozen = "(" in table[2]["SparseConvNet-kept"]
        assert frozen == (name == "as_coded")


# Where the data are sparse


def test_differences_are_paired_by_seed(install):
    install(*(
        a_resnet_record(network, p, seed, accuracy=level + seed / 10)
        for network, level in (("ConvNet", 0.4), ("SparseConvNet", 0.45), ("ConvNet+mask", 0.5))
        for p in RESNET_SPARSITIES
        for seed in range(2 if network == "ConvNet" else 3)
    ))  # fmt: skip
    rows = {row["difference"]: row for row in cells(report_resnet.difference_table("reduced"))}
    assert rows["sparse − dense"]["p = 0.5"] == "+5.0 (the same in both seeds), n = 2"
    assert rows["sparse − ConvNet+mask"]["p = 0.8"].endswith("n = 3")
    assert rows["sparse − ConvNet+mask"]["p = 0.8"].startswith("−5.0")
    assert rows["kept − dense"]["p = 0.5"] == "not run"
    table = cells(report_resnet.sparse_table("reduced"))
    assert [row["p"] for row in table] == ["0", *(f"{p:g}" for p in RESNET_SPARSITIES)]
    assert table[0]["ConvNet"] == "not run"
    assert table[2]["ConvNet"].startswith("45.00 ± 7.07 %, n = 2")


def test_a_training_tested_both_ways(install):
    record = a_resnet_record(
        "SparseConvNet-kept", 0.0, accuracy=0.25, other_statistics={"blocks": {"0": 0.5}}
    )
    (row,) = cells(report_resnet.statistics_table([record]))
    assert row["running means everywhere"] == "25.00 %"
    assert row["the test batch's own in the blocks"] == "50.00 %"
    assert "Not run" in report_resnet.statistics_table([])


def test_coverage_counts_every_training_of_the_grid():
    rows = cells(report_resnet.coverage_table())
    for name in ("resnet18", "resnet18_reduced"):
        asked = sum(len(page.keys) for page in EXPERIMENTS[name].pages())
        told = [row["trained"].split(" of ") for row in rows if row["experiment"] == name]
        assert sum(int(of) for _, of in told) == asked


def test_the_first_page_tells_the_count_and_what_was_measured(install):
    counted = report_resnet.in_short()
    assert counted.endswith("those of the residual blocks, were never trained.")
    assert report_resnet.in_words().startswith(counted)
    install(*the_ladder("reduced", 2))
    told = numbers.plain(report_resnet.in_short()).replace("\u00a0", " ")
    assert told.startswith(counted)
    assert "gains +13.0 ± 0.0 of the +" in told and "n = 2; " in told and "Reduced proto" in told
