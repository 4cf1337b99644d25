"""The chapter on maps in answers that may be quoted, each computed from the records.

Whether one method errs less than another is tested by the logarithm of their ratio, since errors
spread in proportion to their size; where one of them errs by 0, by their difference.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sparseconv_lib.study import data, ledger, numbers, skill, two_tasks
from sparseconv_lib.study.captions import in_a_row
from sparseconv_lib.study.comparisons import shown
from sparseconv_lib.study.grid import (
    DENSE_NETWORKS,
    PAPERS_NETWORKS,
    PAPERS_SPARSITY,
    TEST_SPARSITIES,
    TWO_SPARSITIES,
)
from sparseconv_lib.study.ledger import Row
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.report import NO_BREAK, devices
from sparseconv_lib.study.report_depth import (
    MAPS,
    PAPERS_RANGE,
    PLAIN,
    PROTOCOLS,
    SPARSE,
    Cells,
    errors,
    in_digits,
    lacking,
    log_ratio,
    measured,
    observed,
    records_of,
    rescaled,
    unit_of,
)
from sparseconv_lib.study.statistics import Summary, summarise
from sparseconv_lib.study.wording import HALF, difference, points, with_intervals

NO_CONTROL = "The control has not been run by two seeds yet."
STEADY = 1.25  # the factor within which an error is said to be kept, if its interval is
WHERE = {
    "depth": "On synthetic frames of depth along one camera path",
    "depth_reduced": "On synthetic frames of depth along one camera path (at a quarter of their "
    "height and width)",
    "elevation": "On a map of elevations",
    "digits": "On digits",
}


def controls() -> list[str]:
    """What the control says of the layer's code, a paragraph for each data set of maps."""
    told = [control_in_words(name) for name in MAPS if _can_be_judged(measured(name))]
    return told or [NO_CONTROL]


def control_in_words(protocol: str) -> str:
    """Whether the layer keeps its error on one data set of maps, and what that error is worth."""
    cells = measured(protocol)
    if not _can_be_judged(cells):
        return lacking(protocol)
    return _control(protocol, _times(cells), _of_more_pixels(cells, protocol))


def _control(
    protocol: str,
    times: Mapping[str, Summary],
    more: str,
    linear: str = "",
    also: Sequence[Record] = (),
) -> str:
    told = (
        _trained_with(protocol),
        f"{_moved(times)}: {_of_the_code(times)}.",
        more,
        _of_the_nearest(protocol),
        linear,
        _n_and_devices(protocol, also),
    )
    return " ".join(filter(None, told))


def control_in_short() -> str:
    """The control on one data set of maps, the paper's own kind if it was run, for the first page.

    Does the layer keep its error, would one constant do, does it beat the nearest pixel, and is it
    beaten by linear interpolation?
    """
    if (protocol := _first_control()) is None:
        return NO_CONTROL
    cells, ratio = measured(protocol), _times(measured(rescaled(protocol))).get(PLAIN)
    constant, also = "", []
    if ratio is not None and ratio.n > 1:
        also = records_of(rescaled(protocol), PAPERS_SPARSITY)
        constant = (
            "ConvNet with its input divided by the share observed errs "
            f"{_ratio(ratio)} times as much."
        )
    return _control(protocol, _times(cells), constant, _by_linear(cells), also)


def kept_in_short() -> str:
    """By how much errors on those maps change with more pixels, and what interpolation beats."""
    if (protocol := _first_control()) is None:
        return NO_CONTROL
    cells = measured(protocol)
    times = _times(cells)
    told = (
        _trained_with(protocol),
        f"{_moved(times)}.",
        _by_linear(cells),
        f"({with_intervals(HALF, {ratio.n for ratio in times.values()})}.)",
    )
    return " ".join(filter(None, told))


def _first_control() -> str | None:
    """The first data set of maps by which the layer's code can be judged."""
    return next((protocol for protocol in MAPS if _can_be_judged(measured(protocol))), None)


def against_interpolation(protocol: str) -> str:
    """What each network has over what needs no network."""
    cells = measured(protocol)
    if not _times(cells):
        return lacking(protocol)
    told = (_trained_with(protocol), *_against_others(cells, protocol), _n_and_devices(protocol))
    return " ".join(filter(None, told))


def in_words(protocol: str) -> str:
    """Does each network keep its error, and what has it over what needs no network?"""
    cells = measured(protocol)
    if not (times := _times(cells)):
        return lacking(protocol)
    constant = cells.get(("constant", PAPERS_SPARSITY), {})
    best = f"One map for all, each pixel’s median, errs {errors(constant)} with any share."
    told = (
        _trained_with(protocol),
        f"{_moved(times)}.",
        best if constant else "",
        *_against_others(cells, protocol),
        _n_and_devices(protocol),
    )
    return " ".join(filter(None, told))


def conditions() -> str:
    """What the words of these answers mean, and what their intervals leave out."""
    return (
        "Of errors on maps, shown means by Student’s two-sided test of the logarithm of their "
        "ratio, paired by seed, at 5 %, after Holm’s correction over the shares observed; "
        "differences are not corrected. Known pixels count, the observed ones too, which an "
        "interpolation returns without error; a network’s error is a success only where it beats "
        "that of the nearest observed pixel. Seeds vary training and masks: there is one set of "
        "maps of each kind, and no interval speaks of another. No rule was committed for what is "
        "said of these errors."
    )


def _trained_with(protocol: str) -> str:
    share = observed(PAPERS_SPARSITY)
    return (
        f"{WHERE.get(protocol, f'Under {protocol}')}, networks were trained to give every pixel "
        f"from {share} of the pixels."
    )


def _n_and_devices(protocol: str, also: Sequence[Record] = ()) -> str:
    """ "(± half of the 95 % interval, n = 5; AMD EPYC.)", the devices those of `also`, too."""
    cells = measured(protocol)
    counts = {len(seeds) for (method, _), seeds in cells.items() if method in PAPERS_NETWORKS}
    ran = devices([*records_of(protocol, PAPERS_SPARSITY), *also])
    return f"({with_intervals(HALF, counts)}; {ran}.)"


def _times(cells: Cells) -> dict[str, Summary]:
    """Method -> its error with the most pixels of the paper's range over that with the fewest.

    Ratios are paired by seed.
    """
    dense, sparse = PAPERS_RANGE
    times = {}
    for method in PAPERS_NETWORKS:
        few, many = cells.get((method, sparse), {}), cells.get((method, dense), {})
        if seeds := sorted(few.keys() & many.keys()):
            times[method] = summarise(many[seed] / few[seed] for seed in seeds)
    return times


def _keeps(ratio: Summary) -> bool:
    return ratio.low > 1 / STEADY and ratio.high < STEADY


def _loses(ratio: Summary) -> bool:
    return ratio.high < 1 / STEADY or ratio.low > STEADY


def _moved(times: Mapping[str, Summary]) -> str:
    """ "Tested with 70 % instead, SparseConvNet errs 0.9 ± 0.1 times as much, ConvNet 6 ± 2"."""
    networks = [n for n in (SPARSE, *DENSE_NETWORKS) if n in times]
    first, *rest = [f"{n} {'errs ' * (n == networks[0])}{_ratio(times[n])}" for n in networks]
    its = f"{first} times as much"
    its += f", {in_a_row(rest)}" if rest else ""
    return f"Tested with {observed(PAPERS_RANGE[0])} instead, {its}"


def _ratio(ratio: Summary) -> str:
    """ "17 ± 9": with half of its 95 % interval."""
    if ratio.n == 1:
        return numbers.number(f"{ratio.mean:.2g}", ratio)
    half = ratio.high - ratio.mean
    decimals = 0 if ratio.mean >= 10 else 2
    return numbers.number(f"{ratio.mean:.{decimals}f} ± {half:.{decimals}f}", ratio)


def _can_be_judged(cells: Cells) -> bool:
    """Whether the layer and a plain convolution were both trained by two seeds."""
    counts = {network: ratio.n for network, ratio in _times(cells).items()}
    return min(counts.get(SPARSE, 0), max(counts.get(n, 0) for n in DENSE_NETWORKS)) > 1


def _of_the_code(times: Mapping[str, Summary]) -> str:
    """What keeping its error, or not, says of the layer's code."""
    lost = [network for network in DENSE_NETWORKS if network in times and _loses(times[network])]
    if _loses(times[SPARSE]):
        return "a fault of the layer’s code is likely"
    if not _keeps(times[SPARSE]):
        return "a fault of the layer’s code is not ruled out"
    if not lost:
        return "no plain convolution is shown to lose its own, which says little of the layer"
    return (
        f"SparseConvNet is shown to keep its error to within a factor of {STEADY:g}, and "
        f"{in_a_row(lost)} not to, so that a gross fault of the layer’s code is unlikely"
    )


def _of_more_pixels(cells: Cells, protocol: str) -> str:
    """How much less the layer errs with more pixels, beside what needs no network."""
    dense, sparse = PAPERS_RANGE
    unit, _ = unit_of(protocol)
    told: list[str] = []
    for method, whose in ((SPARSE, "Its error"), ("nearest", "that of the nearest pixel")):
        few, many = cells.get((method, sparse), {}), cells.get((method, dense), {})
        if few and many:
            means = (summarise(seeds.values()).mean for seeds in (few, many))
            ends = " to ".join(numbers.number(in_digits(mean), mean) for mean in means)
            told.append(f"{whose} {'goes ' * (not told)}from {ends} {unit}")
    if told and (constant := cells.get(("constant", sparse))):  # one keeps its error by no merit
        mean = summarise(constant.values()).mean
        told.append(f"that of one map for all is {numbers.number(in_digits(mean), mean)} {unit}")
    return f"{', '.join(told)}." if told else ""


def _of_the_nearest(protocol: str) -> str:
    """Where the layer errs less than the nearest observed pixel, and where more."""
    if ("nearest", PAPERS_SPARSITY) not in measured(protocol):
        return ""
    told = []
    for missing_only in (False, True):
        cells = measured(protocol, missing_only=missing_only)
        found = [
            f"{more} with {_densities(where, cells)}"
            for more, where in (
                ("less", _beating(cells, SPARSE, "nearest")),
                ("more", _beating(cells, "nearest", SPARSE)),
            )
            if where
        ]
        told.append(f"{in_a_row(found)} observed" if found else "neither less nor more")
    every, missing = told
    also = "the same" if every == missing else missing
    return (
        f"Beside the nearest observed pixel SparseConvNet is shown to err {every}; over the "
        f"missing pixels alone, {also}."
    )


def _against_others(cells: Cells, protocol: str) -> tuple[str, ...]:
    unit, _ = unit_of(protocol)
    return (
        _beaten(cells),
        _by_linear(cells),
        _beside_nearest(cells, unit),
        *(_beside_each_other(cells, protocol, q) for q in reversed(PAPERS_RANGE)),
    )


def _beating(cells: Cells, one: str, other: str) -> list[float]:
    """The test sparsities at which one method is shown to err less than another.

    After Holm's correction over all of them; by one seed alone where there is no other.
    """
    gaps = {
        q: gap
        for q in reversed(TEST_SPARSITIES)
        if (gap := log_ratio(cells.get((other, q), {}), cells.get((one, q), {})))
    }
    if _one_seed(cells):
        return [q for q, (gap,) in gaps.items() if gap > 0]
    return list(shown(gaps).above)


def _one_seed(cells: Cells) -> bool:
    """Whether every network was trained by one seed alone, which shows nothing."""
    trained = [seeds for (method, _), seeds in cells.items() if method in PAPERS_NETWORKS]
    return {len(seeds) for seeds in trained} == {1}


def _beside_nearest(cells: Cells, unit: str) -> str:
    """How networks stand against the nearest pixel where they were trained."""
    gaps = {
        network: _error_gap(cells, network, "nearest", PAPERS_SPARSITY)
        for network in PAPERS_NETWORKS
    }
    told = [f"{network} {gap}" for network, gap in gaps.items() if gap]
    if not told:
        return ""
    return (
        f"With {observed(PAPERS_SPARSITY)}, a network’s error minus that of the nearest pixel is, "
        f"in {unit}, {', '.join(told)}."
    )


def _beside_each_other(cells: Cells, protocol: str, sparsity: float) -> str:
    """How the layer stands against plain networks."""
    gaps = {other: _error_gap(cells, SPARSE, other, sparsity) for other in DENSE_NETWORKS}
    told = [f"{gap} against {other}’s" for other, gap in gaps.items() if gap]
    unit, _ = unit_of(protocol)
    if not told:
        return ""
    return f"With {observed(sparsity)} SparseConvNet’s error is, in {unit}, {in_a_row(told)}."


def _error_gap(cells: Cells, one: str, other: str, sparsity: float) -> str:
    """One method's error minus another's; "" if there is one seed or none."""
    its, beside = (cells.get((method, sparsity), {}) for method in (one, other))
    gap = difference(its, beside)
    if gap is None or gap.n == 1:
        return ""
    scale = summarise(beside.values()).mean
    mean, half = (in_digits(abs(x), scale) for x in (gap.mean, gap.high - gap.mean))
    text = f"{'−' if gap.mean < 0 else '+'}{mean} ± {half}"
    return numbers.number(text.replace(" ", NO_BREAK), gap)


def _beaten(cells: Cells) -> str:
    """At which densities networks beat the nearest observed pixel, and where it beats them."""
    if ("nearest", PAPERS_SPARSITY) not in cells:
        return "The nearest observed pixel has not been run yet."
    verbs = _verbs(cells)
    wins = _alike({n: _beating(cells, n, "nearest") for n in _run(cells)}, cells)
    told = [
        f"{in_a_row(networks)} {verbs[len(networks) > 1]} the nearest observed pixel with {where} "
        "observed."
        for where, networks in wins.items()
    ] or [
        f"No network {verbs[0]} the nearest observed pixel at any density, which is what it would "
        "take for its error to count."
    ]
    return " ".join([*told, *_losses(cells, "nearest", "The nearest pixel")])


def _by_linear(cells: Cells) -> str:
    return " ".join(_losses(cells, "linear", "Linear interpolation"))


def _losses(cells: Cells, method: str, name: str) -> list[str]:
    """Where what needs no network beats networks; [] where nowhere."""
    found = _alike({network: _beating(cells, method, network) for network in _run(cells)}, cells)
    its = [f"{in_a_row(networks)} with {where}" for where, networks in found.items()]
    return [f"{name} {_verbs(cells)[0]} {in_a_row(its)}."] if its else []


def _run(cells: Cells) -> list[str]:
    return [network for network in PAPERS_NETWORKS if cells.get((network, PAPERS_SPARSITY))]


def _verbs(cells: Cells) -> tuple[str, str]:
    if _one_seed(cells):
        return "beats", "beat"
    return "is shown to beat", "are shown to beat"


def _alike(found: Mapping[str, Sequence[float]], cells: Cells) -> dict[str, list[str]]:
    """Densities in words -> the networks of which they are told; none where there are none."""
    alike: dict[str, list[str]] = {}
    for network, sparsities in found.items():
        if sparsities:
            alike.setdefault(_densities(sparsities, cells), []).append(network)
    return alike


def _densities(sparsities: Sequence[float], cells: Cells) -> str:
    """ "5 % and 10 %", or "10 % or more" where three or more reach to the most that is tested."""
    reaching = {q for _, q in cells if q <= max(sparsities)}
    if len(sparsities) > 2 and reaching == {*sparsities}:
        return f"{observed(max(sparsities))} or more"
    return in_a_row([observed(q) for q in sparsities])


def explanation() -> str:
    """Whether the source's explanation, values suffer and decisions do not, stands on the control.

    It would if the layer's error counted here, by the nearest pixel, where its lead in
    classification does not.
    """
    judged = {name: cells for name in MAPS if _can_be_judged(cells := measured(name))}
    if not judged:
        return NO_CONTROL
    fewest, most = min(PAPERS_RANGE), max(PAPERS_RANGE)
    asked = [q for q in TEST_SPARSITIES if fewest <= q <= most]
    told, wins, by_linear = [], [], []
    for name, cells in judged.items():
        ahead, linear = (
            [q for q in _beating(cells, *pair) if q in asked]
            for pair in ((SPARSE, "nearest"), ("linear", SPARSE))
        )
        its = in_a_row([observed(q) for q in ahead]) if ahead else "none"
        told.append(f"{WHERE[name][0].lower()}{WHERE[name][1:]} with {its}")
        wins.append(len(ahead) == len(asked))
        by_linear.append(len(linear) == len(asked))
    interpolated = " Linear interpolation is shown to beat the layer with each." * all(by_linear)
    digits = _times(measured("digits")).get("ConvNet")
    plain = {name: _times(cells)["ConvNet"] for name, cells in judged.items()
             if "ConvNet" in _times(cells)}  # fmt: skip
    beside = ""
    if digits and plain:
        grown = in_a_row([_ratio(ratio) for ratio in plain.values()])
        beside = (
            f" Nor is it the question alone that makes a plain network fail: with "
            f"{observed(fewest)} instead of {observed(most)} ConvNet errs {grown} times as much on "
            f"these maps, and {_ratio(digits)} times on digits asked for every pixel, by the "
            "network that classifies them."
        )
    counts = {_times(cells)[SPARSE].n for cells in judged.values()}
    ran = [record for name in (*judged, "digits") for record in records_of(name, PAPERS_SPARSITY)]
    verdict = "bears it out" if all(wins) else "does not settle it"
    return (
        "The source explains its result by decisions being easier than values. The control would "
        "bear that out if the layer beat the nearest pixel where values are asked for; a lead over "
        "plain networks that do worse than that would count for nothing. From "
        f"{observed(most)} to {observed(fewest)} observed it is shown to beat the nearest pixel "
        f"{'; '.join(told)}: the control {verdict}.{interpolated}"
        f"{beside} ({with_intervals(HALF, counts)}; {devices(ran)}.)"
    )


def one_constant_in_words() -> str:
    """Whether ConvNet keeps its error if its input is divided by the share that is observed."""
    dense, sparse = PAPERS_RANGE
    told, added, counts, ran = [], [], set(), []
    judged: dict[str, list[str]] = {"to": [], "not to": [], "neither to nor not to": []}
    for name in MAPS:
        its, cells = measured(rescaled(name)), measured(name)
        ratio, others = _times(its).get(PLAIN), _times(cells)
        if ratio is None or ratio.n == 1 or not _can_be_judged(cells) or PLAIN not in others:
            continue
        where = f"on {PROTOCOLS[name]}"
        told.append(
            f"{where}, {_ratio(ratio)} times as much (undivided {_ratio(others[PLAIN])}, "
            f"SparseConvNet {_ratio(others[SPARSE])})"
        )
        kept = "to" if _keeps(ratio) else "not to" if _loses(ratio) else "neither to nor not to"
        judged[kept].append(where)
        both = {("with", sparse): its[PLAIN, sparse], ("without", sparse): cells[PLAIN, sparse]}
        added.append(f"{_error_gap(both, 'with', 'without', sparse)} {unit_of(name)[0]}")
        counts.add(ratio.n)
        ran += records_of(rescaled(name), PAPERS_SPARSITY)
        ran += [r for r in records_of(name, PAPERS_SPARSITY) if r.key.network in (PLAIN, SPARSE)]
    if not told:
        return f"{PLAIN} with its input divided by the share observed: not run by two seeds yet."
    shown = "; ".join(
        f"{kept} keep its error to within a factor of {STEADY:g} {' and '.join(where)}"
        for kept, where in judged.items()
        if where
    )
    return (
        "Eq. 1 divides by the number of pixels observed in each window. A plain network can be "
        "given their share, one constant for all windows: ConvNet was trained again, its input "
        f"divided by it. With {observed(dense)} instead of {observed(sparse)} it errs, "
        f"{'; '.join(told)}. It is shown {shown}. With {observed(sparse)}, where it was trained, "
        f"the division adds {in_a_row(added)} to its error. "
        f"({with_intervals(HALF, counts)}; {devices(ran)}.)"
    )


def terrain_in_words() -> str:
    """What makes the elevations harder than the paper's own data; from the field itself."""
    field = data.load("elevation")
    train, test = (part.double() for part in (field.train_images, field.test_images))
    return (
        f"The land falls from where networks are trained to where they are tested: from a mean of "
        f"{train.mean():.0f} m (standard deviation {train.std():.0f} m) to {test.mean():.0f} m "
        f"({test.std():.0f} m). An interpolation does not care; a network has to."
    )


def skill_in_words() -> str:
    """Decisions and values: what each keeps of its skill as pixels go missing, and the verdict."""
    skills, told, gaps = skill.retained(), [], []
    for p in TWO_SPARSITIES:
        by = {
            what: seeds
            for name, what in ((skill.DECISION, "decisions"), (skill.VALUES, "values"))
            if (seeds := skills.get((name, p, p)))
        }
        parts = [_kept(summarise(seeds.values()), what) for what, seeds in by.items()]
        if parts:
            told.append(f"at p = {p:g}, {' and '.join(parts)}")
        if gap := difference(by.get("decisions", {}), by.get("values", {})):
            gaps.append(f"{points(gap)} at p = {p:g}")
    if not told:
        return "What decisions and values keep of their skill cannot be said yet."
    n = sorted({len(skills[key]) for key in skills if key[1] in TWO_SPARSITIES})
    judged = ""
    if gaps:
        row = ledger.row_of("decisions-easier-than-values")
        margins = sorted({f"{contrast.low:g}" for contrast in row.claim.contrasts()})
        judged = (
            f" What decisions keep more is, in points, {in_a_row(gaps)}. The claim’s rule asks "
            f"that at least {in_a_row(margins)} be shown at each{_where_less(row)}: {row.word}."
            f"{_out_of_reach(row, skills)}"
        )
    return (
        "Skill is what a network does better than the best constant answer. Trained and tested at "
        f"one sparsity, {skill.NETWORK} keeps, of that on whole digits: {'; '.join(told)}.{judged} "
        f"({with_intervals('In brackets 95 % intervals, ± half of one', n)}.)"
    )


def _where_less(row: Row) -> str:
    """At which sparsities the rule finds less shown than it asks for; "" if at none."""
    contrasts = zip(row.claim.contrasts(), row.verdict.cells, strict=True)
    where = [f"{contrast.minuend.train:g}" for contrast, cell in contrasts if cell.get("outside")]
    return f", and less is shown at {in_a_row(where)}" if where else ""


def _out_of_reach(row: Row, skills: Mapping[Any, Mapping[int, float]]) -> str:
    """Where values keep so much that decisions could keep all and not meet the rule's margin."""
    where = [
        f"{contrast.minuend.train:g}"
        for contrast in row.claim.contrasts()
        if (kept := skills.get((skill.VALUES, contrast.minuend.train, contrast.minuend.train)))
        and 100 * (1 - summarise(kept.values()).mean) < contrast.low
    ]
    if not where:
        return ""
    return (
        f" At {in_a_row(where)} that margin is out of reach of decisions that keep all of their "
        "skill, since values keep so much."
    )


def _kept(summary: Summary, what: str) -> str:
    interval = f" ({100 * summary.low:.0f} to {100 * summary.high:.0f})"
    return f"{_share(summary)}{interval if summary.n > 1 else ''} of the skill at {what}"


def _share(summary: Summary) -> str:
    told = f"{100 * summary.mean:.0f}{NO_BREAK}%"
    return numbers.number(told, summary, f"{100 * summary.sd:.1f} points")


# The chapter's questions, and what answers each in words that may be quoted.
FINDINGS: dict[str, Callable[[], str]] = {
    "Does the layer do what it is for, on maps of depth?": lambda: control_in_words(
        MAPS[0] if measured(MAPS[0]) else MAPS[1]
    ),
    "On a map of elevations?": lambda: control_in_words("elevation"),
    "Do networks beat what needs none, on maps of depth?": lambda: against_interpolation(
        "depth_reduced"
    ),
    "On all pixels of these maps?": lambda: against_interpolation("depth"),
    "On elevations?": lambda: against_interpolation("elevation"),
    "Would one constant do?": one_constant_in_words,
    "On digits, asked for every pixel?": lambda: in_words("digits"),
    "And trained at other sparsities?": two_tasks.cost_in_words,
    "The same layer, at values and at decisions?": two_tasks.layer_in_words,
    "Are decisions easier than values?": skill_in_words,
    "Does the source’s explanation stand on the control?": explanation,
}
