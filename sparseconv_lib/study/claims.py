"""The register of claims: each claim of the source, its numbers, and the rule that judges it.

    load() → Register of Claims, each with its Rule

Read from `results/verdicts.toml`, whose own head says what the rules mean. Per cents and points are
as in the file.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparseconv_lib.study import paths
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


class ClaimsError(OneLineError, ValueError):
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


def load(path: str | Path = paths.RESULTS / "verdicts.toml") -> Register:
    """Read and check a file of rules; ClaimsError says in one line what is wrong with it."""
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimsError(f"{path} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ClaimsError(f"{path} is not valid TOML: {error}") from error
    try:
        return _register(data)
    except _Wrong as error:
        raise ClaimsError(f"{path}: {error}") from None


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
