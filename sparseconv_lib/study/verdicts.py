"""The rules of `results/verdicts.toml`, and what they make of the recorded accuracies.

    load() → Register of Claims, each with its Rule      judge(claim, accuracies) → Verdict

The file's own head says what the rules mean. Per cents and points in a Claim are as in the file;
accuracies, and every number in a Verdict, are fractions.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparseconv_lib.study import paths, statistics
from sparseconv_lib.study.errors import OneLineError

REPRODUCED, NOT_REPRODUCED, UNDECIDED = WORDS = ("reproduced", "not reproduced", "undecided")
EXPERIMENTS = ("mnist", "maths", "caltech", "resnet18", "invariance", "discussion")
CORRECTIONS = ("none", "bonferroni", "intersection-union")

# What each kind of rule must state, beside its type; nothing else may stand there.
_TESTED = ("alpha", "minimum_n", "correction", "family")
_RULES = {
    "prediction": (*_TESTED, "widest", "widest_because"),
    "equivalence": (*_TESTED, "sparsities", "margin", "margin_because"),
    "no_gain": (*_TESTED, "sparsities", "margin", "margin_because"),
    "contrast": (*_TESTED, "contrasts", "margin_because"),
    "arithmetic": ("decides",),
}
_CLAIM = (
    *("id", "title", "quote", "where", "numbers"),
    *("experiment", "protocol", "metric", "networks", "rule"),
)

Seeds = Mapping[Any, float]  # seed → accuracy
Key = tuple[str, float, float]  # network, training sparsity, test sparsity
Accuracies = Mapping[Key, Seeds] | Callable[[str, float, float], Seeds | None]


class VerdictsError(OneLineError, ValueError):
    """The file of rules is malformed; the message names file, claim and remedy."""


@dataclass(frozen=True)
class Cell:
    """One column of accuracies. `protocol` is None where it is the claim's own."""

    network: str
    train: float
    test: float
    protocol: str | None = None

    def __str__(self) -> str:
        tested = "" if self.test == self.train else f", tested at {self.test:g}"
        protocol = "" if self.protocol is None else f" ({self.protocol})"
        return f"{self.network}{protocol} at p = {self.train:g}{tested}"


@dataclass(frozen=True)
class Contrast:
    """minuend − subtrahend, claimed to lie between low and high, in points."""

    minuend: Cell
    subtrahend: Cell | None
    low: float = -math.inf
    high: float = math.inf

    def __str__(self) -> str:
        a, b = self.minuend, self.subtrahend
        if b is None:
            return str(a)
        if (a.train, a.test, a.protocol) == (b.train, b.test, b.protocol):
            return str(a).replace(a.network, f"{a.network} − {b.network}", 1)
        return f"{a} − {b}"


@dataclass(frozen=True)
class Source:
    """The source's accuracies in per cent: network → one for each sparsity.

    rounding: for each sparsity, half a unit of the last digit printed.
    """

    sparsities: tuple[float, ...]
    rounding: tuple[float, ...]
    accuracy: Mapping[str, tuple[float, ...]]

    def value(self, network: str, sparsity: float) -> float | None:
        """Per cent as printed, or None where the source has no such number."""
        if network in self.accuracy and sparsity in self.sparsities:
            return self.accuracy[network][self.sparsities.index(sparsity)]
        return None


@dataclass(frozen=True)
class Rule:
    """How a claim is judged; which fields are set depends on the type."""

    type: str
    alpha: float = math.nan
    minimum_n: int = 0
    correction: str = "none"
    family: str = ""
    sparsities: tuple[float, ...] = ()
    margin: float = math.nan
    margin_because: str = ""
    widest: float = math.nan
    widest_because: str = ""
    contrasts: tuple[Contrast, ...] = ()
    decides: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim of the source: its words, its place, its numbers, and its rule."""

    id: str
    title: str
    quote: str
    where: str
    numbers: str
    experiment: str
    protocol: str
    metric: str
    networks: tuple[str, ...]
    rule: Rule
    source: Source | None = None

    def contrasts(self) -> tuple[Contrast, ...]:
        """The differences that equivalence, no_gain and contrast rules bound; else ()."""
        rule = self.rule
        if rule.type not in ("equivalence", "no_gain"):
            return rule.contrasts
        low = -rule.margin if rule.type == "equivalence" else -math.inf
        a, b = self.networks
        return tuple(
            Contrast(Cell(a, p, p), Cell(b, p, p), low, rule.margin) for p in rule.sparsities
        )


@dataclass(frozen=True)
class Register:
    """The whole file: the claims in order, the meaning of the words, what was seen before."""

    claims: tuple[Claim, ...]
    words: Mapping[str, str]
    seen_before: tuple[str, ...]

    def __getitem__(self, claim_id: str) -> Claim:
        for claim in self.claims:
            if claim.id == claim_id:
                return claim
        raise KeyError(f"no claim {claim_id!r}; there are {[c.id for c in self.claims]}")


@dataclass(frozen=True)
class Verdict:
    """One of the three words, why in a sentence, and the numbers it was read from.

    Each of `cells` holds label, network, sparsity (of training), test_sparsity, source, mean,
    low, high, n and inside, in fractions. For a prediction, low to high is the prediction
    interval, corrected, and `inside_alone` is read from the uncorrected one. For a difference it
    is the 1 − 2·alpha interval of the mean, which lies within the bounds just where the test
    shows it; `inside` and `outside` say what was shown. What is not known is None.
    """

    claim: str
    word: str
    reason: str
    cells: list[dict[str, Any]] = field(default_factory=list)


# Judging ------------------------------------------------------------------------------------


def judge(
    claim: Claim, accuracies: Accuracies, others: Mapping[str, Accuracies] | None = None
) -> Verdict:
    """The verdict on a claim, from accuracies of its experiment and protocol.

    accuracies: (network, training sparsity, test sparsity) → {seed: accuracy}, as a mapping or a
    function; a cell that is absent, None or empty has not been run. others: the same for other
    protocols, by the name that the claim's contrasts give them.
    """

    def seeds(cell: Cell) -> Seeds:
        table = accuracies if cell.protocol is None else (others or {}).get(cell.protocol, {})
        key = (cell.network, cell.train, cell.test)
        return (table(*key) if callable(table) else table.get(key)) or {}

    if claim.rule.type == "arithmetic":
        reason = "Not yet decided: it rests on a calculation, which is not made here."
        return Verdict(claim.id, UNDECIDED, reason)
    if claim.rule.type == "prediction":
        return _judge_prediction(claim, seeds)
    return _judge_contrasts(claim, seeds)


def _judge_prediction(claim: Claim, seeds: Callable[[Cell], Seeds]) -> Verdict:
    rule, source = claim.rule, claim.source
    assert source is not None  # load() saw to it
    columns = [(n, p, i) for n in claim.networks for i, p in enumerate(source.sparsities)]
    m = len(columns) if rule.correction == "bonferroni" else 1
    rows = []
    for network, p, i in columns:
        values = list(seeds(Cell(network, p, p)).values())
        value, slack = source.accuracy[network][i] / 100, source.rounding[i] / 100
        row = _row(Cell(network, p, p), len(values)) | {"source": value, "inside_alone": None}
        if values:
            row["mean"] = statistics.summarise(values).mean
        if len(values) > 1:
            low, high = statistics.prediction_interval(values, 1 - rule.alpha, m)
            alone = statistics.prediction_interval(values, 1 - rule.alpha)
            row |= {"low": low, "high": high, "inside": _touches(value, slack, low, high)}
            row["inside_alone"] = _touches(value, slack, *alone)
        rows.append(row)
    if reason := _too_few(rows, rule.minimum_n):
        return Verdict(claim.id, UNDECIDED, reason, rows)

    inside = sum(row["inside"] for row in rows)
    alone = sum(row["inside_alone"] for row in rows)
    count = (
        f"{inside} of {m} source values lie in the prediction interval"
        + (f" ({alone} in the uncorrected one)" if m > 1 else "")
        + f", {_n(rows)}"
    )
    if inside < len(rows):
        worst = max(rows, key=lambda r: max(r["low"] - r["source"], r["source"] - r["high"]))
        return Verdict(claim.id, NOT_REPRODUCED, f"{count}; {_told(worst, 'farthest out')}.", rows)
    widest = max(rows, key=lambda r: r["high"] - r["low"])
    told = _told(widest, "the widest")
    if (widest["high"] - widest["low"]) / 2 > rule.widest / 100:
        reason = f"{count}, but the interval is too wide to tell: {told}."
        return Verdict(claim.id, UNDECIDED, reason, rows)
    return Verdict(claim.id, REPRODUCED, f"{count}; {told}.", rows)


def _judge_contrasts(claim: Claim, seeds: Callable[[Cell], Seeds]) -> Verdict:
    rule, contrasts = claim.rule, claim.contrasts()
    rows, p_in, p_out = [], [], []
    for contrast in contrasts:
        a, b = contrast.minuend, contrast.subtrahend
        values = list(seeds(a).values()) if b is None else statistics.paired(seeds(a), seeds(b))
        row = _row(a, len(values)) | {"label": str(contrast), "outside": None}
        row["source"] = _source_difference(claim.source, a, b)
        if b is not None and b.network != a.network:
            row["network"] = f"{a.network} − {b.network}"
        if values:
            low, high = contrast.low / 100, contrast.high / 100
            below, above = statistics.p_below(values, low), statistics.p_above(values, high)
            inside = max(statistics.p_above(values, low), statistics.p_below(values, high))
            # Both sides could have been the one, so two looks; with one bound there is one.
            two_sided = math.isfinite(low) and math.isfinite(high)
            p_in.append(inside)
            p_out.append(min(1.0, 2 * min(below, above)) if two_sided else min(below, above))
            summary = statistics.summarise(values, 1 - 2 * rule.alpha)
            row["mean"] = summary.mean
            if len(values) > 1:
                row |= {"low": summary.low, "high": summary.high, "inside": inside < rule.alpha}
        rows.append(row)
    if reason := _too_few(rows, rule.minimum_n):
        return Verdict(claim.id, UNDECIDED, reason, rows)

    adjusted = statistics.holm(p_out)
    for row, p in zip(rows, adjusted, strict=True):
        row["outside"] = p < rule.alpha

    def told(i: int) -> str:
        contrast, row, sign = contrasts[i], rows[i], contrasts[i].subtrahend is not None
        return (
            f"{row['label']} is {_points(row['mean'], sign)} "
            f"({100 * (1 - 2 * rule.alpha):g} % interval {_range(row, sign)}, n = {row['n']}), "
            f"claimed {_bounds(contrast, sign)}"
        )

    def where(k: int) -> str:
        return f" in {k} of {len(rows)} comparisons" if len(rows) > 1 else ""

    if any(row["outside"] for row in rows):
        i = min(range(len(rows)), key=adjusted.__getitem__)
        outside = sum(row["outside"] for row in rows)
        reason = f"Outside the bounds{where(outside)}: {told(i)}."
        return Verdict(claim.id, NOT_REPRODUCED, reason, rows)
    i = max(range(len(rows)), key=p_in.__getitem__)
    if all(row["inside"] for row in rows):
        nearest = "; the least certain: " if len(rows) > 1 else ": "
        reason = f"Inside the bounds{where(len(rows))}{nearest}{told(i)}."
        return Verdict(claim.id, REPRODUCED, reason, rows)
    unsure = sum(not row["inside"] for row in rows)
    reason = f"Neither inside nor outside the bounds is shown{where(unsure)}: {told(i)}."
    return Verdict(claim.id, UNDECIDED, reason, rows)


def _row(cell: Cell, n: int) -> dict[str, Any]:
    unknown = dict.fromkeys(("source", "mean", "low", "high", "inside"))
    return {
        "label": str(cell),
        "network": cell.network,
        "sparsity": cell.train,
        "test_sparsity": cell.test,
        **unknown,
        "n": n,
    }


def _too_few(rows: list[dict[str, Any]], minimum: int) -> str | None:
    """Why the rows cannot be judged yet, or None if they can."""
    absent = [row["label"] for row in rows if row["n"] == 0]
    if len(absent) == len(rows):
        return "Not yet run."
    if absent:
        return f"Not yet run in {len(absent)} of {len(rows)} cells, first {absent[0]}."
    least = min(rows, key=lambda row: row["n"])
    if least["n"] < minimum:
        where = f" ({least['label']})" if len(rows) > 1 else ""
        return f"n = {least['n']}, the rule asks for {minimum}{where}."
    return None


def _source_difference(source: Source | None, a: Cell, b: Cell | None) -> float | None:
    if source is None or b is None or a.train != a.test or b.train != b.test:
        return None
    x, y = source.value(a.network, a.train), source.value(b.network, b.train)
    return None if x is None or y is None else (x - y) / 100


def _touches(value: float, slack: float, low: float, high: float) -> bool:
    """Whether a printed number could, before it was rounded, have lain in the interval."""
    return low - 1e-12 <= value + slack and value - slack <= high + 1e-12


def _points(x: float, sign: bool) -> str:
    return f"{100 * x:+.2f} points".replace("-", "−") if sign else f"{100 * x:.2f} %"


def _range(row: Mapping[str, Any], sign: bool = False) -> str:
    spec = "+.2f" if sign else ".2f"
    return f"{100 * row['low']:{spec}} to {100 * row['high']:{spec}}".replace("-", "−")


def _bounds(contrast: Contrast, sign: bool) -> str:
    low, high = (f"{x:+g}" if sign and x else f"{x:g}" for x in (contrast.low, contrast.high))
    if math.isinf(contrast.low):
        text = f"below {high}"
    elif math.isinf(contrast.high):
        text = f"above {low}"
    else:
        text = f"between {low} and {high}"
    return text.replace("-", "−") + ("" if sign else " %")


def _told(row: Mapping[str, Any], which: str) -> str:
    return f"{which} is {row['label']}, source {_points(row['source'], False)}, ours {_range(row)}"


def _n(rows: list[dict[str, Any]]) -> str:
    least, most = min(row["n"] for row in rows), max(row["n"] for row in rows)
    return f"n = {least}" if least == most else f"n = {least} to {most}"


# Loading ------------------------------------------------------------------------------------


def load(path: str | Path = paths.RESULTS / "verdicts.toml") -> Register:
    """Read and check a file of rules; VerdictsError says in one line what is wrong with it."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise VerdictsError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise VerdictsError(f"{path} is not valid TOML: {error}") from error
    try:
        return _register(data)
    except _Wrong as error:
        raise VerdictsError(f"{path}: {error}") from None


class _Wrong(Exception):
    """What is wrong, without the file's name."""


def _register(data: dict[str, Any]) -> Register:
    _keys("the file", data, ("claim", "words", "seen_before"))
    if tuple(_table("words", data["words"])) != WORDS:
        raise _Wrong(f"words must explain {', '.join(WORDS)}, in this order")
    tables = data["claim"]
    if not isinstance(tables, list) or not tables:
        raise _Wrong("there must be at least one [[claim]]")
    sources, ids = {}, []
    for number, table in enumerate(tables, 1):
        name = f"claim {_table(f'claim {number}', table).get('id', number)!r}"
        _keys(name, table, _CLAIM, ("source",))
        if table["id"] in ids:
            raise _Wrong(f"{name} stands there twice")
        ids.append(table["id"])
        if isinstance(table.get("source"), dict):
            sources[table["id"]] = _source(name, table["source"])
    return Register(
        tuple(_claim(table, sources) for table in tables),
        data["words"],
        _strings("seen_before", data["seen_before"]),
    )


def _claim(table: dict[str, Any], sources: Mapping[str, Source]) -> Claim:
    name = f"claim {table['id']!r}"
    texts = {key: table[key] for key in _CLAIM[:-2]}
    for key, text in texts.items():
        if not isinstance(text, str) or not text:
            raise _Wrong(f"{name}: {key} must be a text, not {text!r}")
    if table["experiment"] not in EXPERIMENTS:
        raise _Wrong(
            f"{name}: experiment must be one of {EXPERIMENTS}, not {table['experiment']!r}"
        )
    networks = _strings(f"{name}: networks", table["networks"])
    source = None
    if "source" in table:
        key = table["source"] if isinstance(table["source"], str) else table["id"]
        if key not in sources:
            raise _Wrong(f"{name}: source names {key!r}, a claim without numbers of its own")
        source = sources[key]
    rule = _rule(f"{name}: rule", table["rule"])
    claim = Claim(**texts, networks=networks, rule=rule, source=source)
    if rule.type == "prediction" and (
        source is None or not networks or not set(networks) <= set(source.accuracy)
    ):
        raise _Wrong(f"{name}: a prediction needs source.accuracy of each of its networks")
    if rule.type in ("equivalence", "no_gain") and len(networks) != 2:
        raise _Wrong(f"{name}: {rule.type} compares exactly two networks, not {len(networks)}")
    for contrast in claim.contrasts():
        for cell in (contrast.minuend, contrast.subtrahend):
            if cell is not None and cell.network not in networks:
                raise _Wrong(f"{name}: {cell.network!r} is not among its networks {networks}")
    return claim


def _rule(name: str, table: Any) -> Rule:
    kind = _table(name, table).get("type")
    if kind not in _RULES:
        raise _Wrong(f"{name}.type must be one of {tuple(_RULES)}, not {kind!r}")
    _keys(name, table, ("type", *_RULES[kind]))
    values = dict(table)
    for key in ("family", "margin_because", "widest_because", "decides"):
        if key in values and not (isinstance(values[key], str) and values[key]):
            raise _Wrong(f"{name}.{key} must be a text")
    for key in ("margin", "widest", "alpha"):
        top = 0.5 if key == "alpha" else 100
        if key in values and not 0 < (_number(f"{name}.{key}", values[key])) < top:
            raise _Wrong(f"{name}.{key} must lie between 0 and {top}, not {values[key]}")
    if "minimum_n" in values:
        n = values["minimum_n"]
        if not isinstance(n, int) or isinstance(n, bool) or n < 2:
            raise _Wrong(f"{name}.minimum_n must be a whole number of at least 2, not {n!r}")
    if "correction" in values and values["correction"] not in CORRECTIONS:
        raise _Wrong(f"{name}.correction must be one of {CORRECTIONS}, not {table['correction']!r}")
    if "sparsities" in values:
        values["sparsities"] = _sparsities(f"{name}.sparsities", values["sparsities"])
    if "contrasts" in values:
        if not isinstance(values["contrasts"], list) or not values["contrasts"]:
            raise _Wrong(f"{name}.contrasts must hold at least one contrast")
        values["contrasts"] = tuple(
            _contrast(f"{name}.contrasts[{i}]", c) for i, c in enumerate(values["contrasts"])
        )
    return Rule(**values)


def _contrast(name: str, table: Any) -> Contrast:
    _keys(name, _table(name, table), ("minuend",), ("subtrahend", "low", "high"))
    bounds = {k: _number(f"{name}.{k}", table[k]) for k in ("low", "high") if k in table}
    if not bounds or bounds.get("low", -math.inf) >= bounds.get("high", math.inf):
        raise _Wrong(f"{name} needs low or high, and low below high")
    subtrahend = table.get("subtrahend")
    return Contrast(
        _cell(f"{name}.minuend", table["minuend"]),
        None if subtrahend is None else _cell(f"{name}.subtrahend", subtrahend),
        **bounds,
    )


def _cell(name: str, table: Any) -> Cell:
    _keys(name, _table(name, table), ("network", "train"), ("test", "protocol"))
    train, test = _sparsities(name, [table["train"], table.get("test", table["train"])])
    network, protocol = table["network"], table.get("protocol")
    if not isinstance(network, str) or not isinstance(protocol, str | None):
        raise _Wrong(f"{name}: network and protocol must be texts")
    return Cell(network, train, test, protocol)


def _source(name: str, table: dict[str, Any]) -> Source:
    name = f"{name}: source"
    _keys(name, table, ("sparsities", "rounding", "accuracy"))
    sparsities = _sparsities(f"{name}.sparsities", table["sparsities"])
    rounding = table["rounding"]
    rounding = rounding if isinstance(rounding, list) else [rounding] * len(sparsities)
    columns = {"rounding": rounding} | _table(f"{name}.accuracy", table["accuracy"])
    checked = {}
    for key, column in columns.items():
        if not isinstance(column, list) or len(column) != len(sparsities):
            raise _Wrong(f"{name}: {key} must hold {len(sparsities)} numbers, one a sparsity")
        checked[key] = tuple(_number(f"{name}: {key}", value) for value in column)
        if not all(0 <= value <= 100 for value in checked[key]):
            raise _Wrong(f"{name}: {key} must hold per cents, from 0 to 100")
    return Source(sparsities, checked.pop("rounding"), checked)


def _keys(
    name: str, table: Mapping[str, Any], needed: tuple[str, ...], optional: tuple[str, ...] = ()
) -> None:
    if missing := [key for key in needed if key not in table]:
        raise _Wrong(f"{name} lacks {', '.join(missing)}")
    if unknown := [key for key in table if key not in (*needed, *optional)]:
        raise _Wrong(f"{name} has unknown {', '.join(unknown)}; known: {(*needed, *optional)}")


def _table(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{name} must be a table, not {value!r}")
    return value


def _strings(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise _Wrong(f"{name} must be a list of texts, not {value!r}")
    return tuple(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _Wrong(f"{name} must be a number, not {value!r}")
    return float(value)


def _sparsities(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list) or not value:
        raise _Wrong(f"{name} must be a list of sparsities, not {value!r}")
    numbers = tuple(_number(name, v) for v in value)
    if not all(0 <= p < 1 for p in numbers):
        raise _Wrong(f"{name} must hold sparsities in [0, 1), not {value!r}")
    return numbers
