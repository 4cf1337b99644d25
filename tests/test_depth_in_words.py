"""The answers of the chapter on maps, against numbers worked out by hand."""

import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from invented import PLAIN, SPARSE, reconstructed
from test_invariance_in_words import told_plainly

from sparseconv_lib.study import depth_in_words, report_depth
from sparseconv_lib.study.statistics import summarise

TRAINED = "networks were trained to give every pixel from 5 % of the pixels."
DEVICE = "an invented processor, 2 cores.)"


def ratio(*values):
    return summarise(values)


def test_what_a_network_errs_with_more_pixels_is_told_as_a_factor():
    times = {
        "ConvNet": ratio(17.0, 17.4, 16.6),
        "ConvNet+mask": ratio(1.0, 1.0, 1.4),
        "SparseConvNet": ratio(0.93, 0.92, 0.94),
    }
    half = 4.302653 * np.std([1.0, 1.0, 1.4], ddof=1) / 3**0.5
    assert depth_in_words._moved(times) == (
        "Tested with 70 % instead, SparseConvNet errs 0.93 ± 0.02 times as much, ConvNet 17 ± 1 "
        f"and ConvNet+mask 1.13 ± {half:.2f}"
    )
    assert depth_in_words._moved({"ConvNet": ratio(1.0)}) == (
        "Tested with 70 % instead, ConvNet errs 1 times as much"
    )


@pytest.mark.parametrize(
    ("sparse", "plain", "told"),
    [
        ((0.93, 0.92, 0.94), (17.0, 17.4, 16.6), "a gross fault of the layer’s code is unlikely"),
        ((0.93, 0.92, 0.94), (1.0, 1.0, 1.01), "which says little of the layer"),
        ((0.93, 0.92, 0.94), (1.0, 1.0, 1.4), "which says little of the layer"),
        ((1.0, 1.0, 1.4), (17.0, 17.4, 16.6), "a fault of the layer’s code is not ruled out"),
        ((0.5, 0.5, 0.51), (17.0, 17.4, 16.6), "a fault of the layer’s code is likely"),
        ((2.0, 2.0, 2.01), (17.0, 17.4, 16.6), "a fault of the layer’s code is likely"),
    ],
)
def test_what_keeping_an_error_says_of_the_code_is_what_the_intervals_say(sparse, plain, told):
    times = {SPARSE: ratio(*sparse), PLAIN: ratio(*plain)}
    assert depth_in_words._of_the_code(times).endswith(told)


def flat(method, error, seeds=3):
    records = [reconstructed(method, 0.95, seed) for seed in range(seeds)]
    for seed, record in enumerate(records):
        for which in ("error", "error_missing"):
            record.content[which] = dict.fromkeys(record.content[which], error + seed / 10)
    return records


def steep(method):  # 10 + 100 q + seed metres, twice that over missing pixels
    return [reconstructed(method, 0.95, seed) for seed in range(3)]


def test_the_control_says_what_it_shows(recorded):
    def told_now():
        return told_plainly(" ".join(depth_in_words.controls()))

    lacking = "The control has not been run by two seeds yet."
    assert told_now() == depth_in_words.control_in_short() == lacking
    recorded(*flat(SPARSE, 30.0, 1), *steep(PLAIN)[:1], *flat("nearest", 5.0, 1))
    assert told_now() == lacking
    recorded(*flat(SPARSE, 30.0), *flat("nearest", 5.0))  # nothing beside it
    assert told_now() == lacking
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 5.0))
    # With 5 % observed 105 + seed metres, with 70 % 40 + seed; t(2, 97.5 %) is 4.303.
    ratios = [(40 + seed) / (105 + seed) for seed in range(3)]
    half = 4.303 * np.std(ratios, ddof=1) / 3**0.5
    assert told_now() == (
        f"On a map of elevations, {TRAINED} Tested with 70 % instead, SparseConvNet errs 1.00 ± "
        f"0.00 times as much, ConvNet {np.mean(ratios):.2f} ± {half:.2f}: SparseConvNet is shown "
        "to keep its error to within a factor of 1.25, and ConvNet not to, so that a gross fault "
        "of the layer’s code is unlikely. Its error goes from 30.1 to 30.1 m, that of the nearest "
        "pixel from 5.10 to 5.10 m. Beside the nearest observed pixel SparseConvNet is shown to "
        "err more with 5 % or more observed; over the missing pixels alone, the same. (± half of "
        f"the 95 % interval, n = 3; {DEVICE}"
    )
    in_short = told_plainly(depth_in_words.control_in_short())
    assert in_short == re.sub(" Its error goes .* 5.10 m[.]", "", told_now()) != told_now()
    constant = flat("constant", 200.0)  # keeps its error, and it is worth nothing
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 5.0), *constant)
    assert " from 5.10 to 5.10 m, that of one map for all is 200 m. Beside" in told_now()
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("linear", 5.0))
    beaten = "Linear interpolation is shown to beat ConvNet and SparseConvNet with 5 % or more. ("
    assert beaten in told_plainly(depth_in_words.control_in_short())
    assert f"{beaten}± half" in told_plainly(depth_in_words.kept_in_short())
    # 110 metres at most and 10 at least; over missing pixels 220 and 40.
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *steep("nearest"))
    assert (
        "SparseConvNet is shown to err less with 5 %, 10 %, 20 %, 30 %, 50 % and 70 % and more "
        "with 90 % and 100 % observed; over the missing pixels alone, less with 5 % or more "
        "observed. (±"
    ) in told_now()
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 30.0))
    assert "is shown to err neither less nor more; over the missing pixels alone, the same. (" in (
        told_now()
    )
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN))
    assert "nearest" not in told_now()
    # Every data set of maps that was run is told of, those of depth first.
    other = [reconstructed(network, 0.95, seed, "depth_reduced")
             for network in (PLAIN, SPARSE) for seed in range(2)]  # fmt: skip
    recorded(*flat(SPARSE, 30.0), *steep(PLAIN), *flat("nearest", 5.0), *other)
    first, second = depth_in_words.controls()
    assert first.startswith("On synthetic frames of depth along one camera path (at a quarter of ")
    assert "a fault of the layer’s code is likely. " in first and "n = 2; " in first
    assert second.startswith("On a map of elevations, ")
    assert depth_in_words.control_in_short().startswith(first[:70])


def test_errors_are_compared_by_their_ratio(recorded):
    """Errors that scatter over two orders of size: never below, and ten times above on average."""
    large = flat(PLAIN, 0.0)
    for record, error in zip(large, (8.0, 80.0, 800.0), strict=True):
        for which in ("error", "error_missing"):
            record.content[which] = dict.fromkeys(record.content[which], error)
    small = flat("nearest", 0.0)
    for record, error in zip(small, (1.0, 9.0, 110.0), strict=True):
        for which in ("error", "error_missing"):
            record.content[which] = dict.fromkeys(record.content[which], error)
    recorded(*large, *small)
    told = told_plainly(depth_in_words.against_interpolation("elevation"))
    assert "The nearest pixel is shown to beat ConvNet with 5 % or more." in told


def test_a_network_counts_only_where_it_beats_the_nearest_pixel(recorded):
    found = [reconstructed(m, 0.95, seed) for m in (PLAIN, "nearest") for seed in range(2)]
    found += [reconstructed(SPARSE, 0.95, seed, factor=0.5) for seed in range(2)]
    recorded(*found)
    told = depth_in_words.in_words("elevation")
    beats = " SparseConvNet is shown to beat the nearest observed pixel with 5 % or more observed."
    device = "(± half of the 95 % interval, n = 2; an invented processor, 2 cores.)"
    assert beats in told and told.count("beat") == 1 and told.endswith(device)
    nearest = depth_in_words.against_interpolation("elevation")
    begin = f"On a map of elevations, {TRAINED}"
    assert nearest.startswith(f"{begin}{beats} With 5 %, ")
    assert nearest.endswith(device) and "instead of" not in nearest
    recorded(
        *found,
        *(reconstructed("ConvNet+mask", 0.95, seed, factor=0.5) for seed in range(2)),
    )
    told = depth_in_words.against_interpolation("elevation")
    assert " ConvNet+mask and SparseConvNet are shown to beat" in told
    recorded(*found[:4])
    assert "No network is shown to beat the nearest observed pixel at any density" in (
        depth_in_words.in_words("elevation")
    )
    # A network that errs more at one end, and the nearest pixel that wins there.
    better = [reconstructed(SPARSE, 0.95, seed, factor=0.5) for seed in range(2)]
    for record in better:
        record.content["error"]["0"] *= 100
    worse = [
        reconstructed(network, 0.95, seed, factor=2)
        for network in (PLAIN, "ConvNet+mask")
        for seed in range(2)
    ]
    recorded(*found[2:4], *better, *worse)
    told = told_plainly(depth_in_words.in_words("elevation"))
    assert (
        "90 % observed. The nearest pixel is shown to beat ConvNet and ConvNet+mask with 5 % or "
        "more and SparseConvNet with 100 %. "
    ) in told
    # With 5 % observed 105 + seed metres for the nearest pixel, twice that and half of it.
    assert "is, in m, ConvNet +106 ± 6, ConvNet+mask +106 ± 6, " in told
    assert "SparseConvNet −53 ± 3. " in told
    # 52.5 + seed / 2 metres against 210 + 2 seed: t(1, 97.5 %) · sd 1.06 / √2 = 9.5
    each = "−158 ± 10 against"
    assert (
        f"With 5 % SparseConvNet’s error is, in m, {each} ConvNet’s and {each} ConvNet+mask’s. "
        in told
    )


def test_seeds_that_come_one_by_one_are_compared_as_far_as_they_go(recorded):
    two = [reconstructed(m, 0.95, seed) for m in (PLAIN, "nearest") for seed in range(2)]
    two += [reconstructed(SPARSE, 0.95, seed, factor=0.5) for seed in range(2)]
    recorded(*two, reconstructed("ConvNet+mask", 0.95, factor=0.5))
    told = told_plainly(depth_in_words.against_interpolation("elevation"))
    # By one seed ConvNet+mask cannot be shown to beat anything, though it errs half as much.
    assert "SparseConvNet is shown to beat the nearest" in told and "mask and" not in told
    recorded(*(record for record in two if record.key.network != "nearest"))
    told = depth_in_words.against_interpolation("elevation")
    assert "The nearest observed pixel has not been run yet." in told
    recorded(*(record for record in two if record.key.network == "nearest"))
    assert depth_in_words.against_interpolation("elevation") == "Elevations: not run yet."


def test_whether_one_constant_does_is_what_its_interval_says(recorded):
    def told_now():
        return told_plainly(depth_in_words.one_constant_in_words())

    lacking = "ConvNet with its input divided by the share observed: not run by two seeds yet."
    assert told_now() == lacking and "Not run" in report_depth.rescaled_table()
    others = (*flat(SPARSE, 30.0), *steep(PLAIN))
    recorded(*others)
    assert "divided" not in depth_in_words.control_in_short()
    name = "elevation, rescale=true"
    recorded(*others, reconstructed(PLAIN, 0.95, 0, name))
    assert told_now() == lacking
    # With 5 % observed 105 + seed metres, with 70 % 40 + seed; t(2, 97.5 %) is 4.303.
    ratios = [(40 + seed) / (105 + seed) for seed in range(3)]
    loses = f"{np.mean(ratios):.2f} ± {4.303 * np.std(ratios, ddof=1) / 3**0.5:.2f}"
    for errors, its, keeps, at_30, added in (
        ([60.0, 60.1, 60.2], "1.00 ± 0.00", "shown to keep", "60.1 ± 0.1", "−46 ± 2"),
        (None, loses, "shown not to keep", "41.0 ± 1.0", "+0 ± 0"),
        ([20.0, 50.0, 80.0], "1.00 ± 0.00", "shown to keep", "50.0 ± 30.0", None),
    ):
        scaled = [reconstructed(PLAIN, 0.95, seed, name) for seed in range(3)]
        for record, error in zip(scaled, errors or (), strict=False):
            record.content["error"] = dict.fromkeys(record.content["error"], error)
        recorded(*others, *scaled)
        told = told_now()
        assert (
            f"With 70 % instead of 5 % it errs, on elevations, {its} times as much (undivided "
            f"{loses}, SparseConvNet 1.00 ± 0.00). It is {keeps} its error to within a factor of "
            "1.25 on elevations. With 5 %, where it was trained, the division adds "
        ) in told
        assert added is None or f" adds {added} m to its error." in told
        assert told.endswith(f" (± half of the 95 % interval, n = 3; {DEVICE}")
        short = told_plainly(depth_in_words.control_in_short())
        assert f" ConvNet with its input divided by the share observed errs {its} times" in short
        rows = BeautifulSoup(report_depth.rescaled_table(), "html.parser").tbody.find_all("tr")
        found = [[cell.text.replace("\u00a0", " ") for cell in row.find_all("td")] for row in rows]
        methods = [PLAIN, "ConvNet, input / share observed", SPARSE, "nearest"]
        assert [row[1] for row in found] == methods
        assert [row[2] for row in found] == ["3 †", "3 †", "3 †", "0"]
        assert found[0][8] == "41.0 ± 1.0" and found[1][8] == at_30
    scaled[0].content["error"] = scaled[0].content["error"] | {"0.3": 100.0}
    recorded(*others, *scaled)
    assert "It is shown neither to nor not to keep its error to within" in told_now()


def test_answers_on_maps_stay_short():
    """An answer may be quoted; that on two sets of maps with the names of three devices, too."""
    for answer in depth_in_words.FINDINGS.values():
        assert len(told_plainly(answer()).split()) <= 175


def test_the_explanation_stands_only_if_the_layer_beats_the_nearest_pixel(recorded):
    assert depth_in_words.explanation() == depth_in_words.NO_CONTROL
    digits = [reconstructed(PLAIN, 0.95, s, "digits", 0.001) for s in range(3)]
    # With 5 % observed 105 + seed metres, with 70 % 40 + seed.
    ratios = np.array([(40 + s) / (105 + s) for s in range(3)])
    half = 4.302653 * np.std(ratios, ddof=1) / 3**0.5
    for nearest, linear, its, so in (
        (20.0, 30.0, "5 %, 10 %, 20 %, 30 %, 50 % and 70 %", "bears it out"),
        (
            0.2,
            0.1,
            "none",
            "does not settle it. Linear interpolation is shown to beat the layer with each",
        ),
    ):
        recorded(
            *(reconstructed(m, 0.95, s, factor=f)
              for m, f in ((SPARSE, 1.0), (PLAIN, 1.0), ("nearest", nearest), ("linear", linear))
              for s in range(3)),
            *digits,
        )  # fmt: skip
        told = told_plainly(depth_in_words.explanation())
        assert f"the nearest pixel on a map of elevations with {its}: the control {so}. " in told
        ratio = f"{ratios.mean():.2f} ± {half:.2f}"
        assert f"ConvNet errs {ratio} times as much on these maps, and {ratio} times on " in told
