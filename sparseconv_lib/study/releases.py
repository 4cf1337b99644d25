"""Releases of the numbers, and what changed from one to the next.

`sparseconv release NAME` writes results/releases/NAME.json: n, mean and standard deviation of every
cell as they stand that day. The book compares each release with the one before, and today's records
with the last.
"""

import json
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparseconv_lib.study import provenance, run_index, tables
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.paths import RESULTS

RELEASES = RESULTS / "releases"
FIELDS = ("chapter", "protocol", "network", "metric", "trained_at", "tested_at")
ROUNDING = 1e-6  # relative: what is written has seven digits


class ReleaseError(OneLineError, RuntimeError):
    """A release that cannot be written or read; the message says why."""


@dataclass(frozen=True, order=True)
class Cell:
    """What a number is of."""

    chapter: str
    protocol: str
    network: str
    metric: str  # accuracy, error or error_missing
    trained_at: float
    tested_at: float


@dataclass(frozen=True)
class Value:
    """n seeds: their mean and standard deviation, which one seed has not."""

    n: int
    mean: float
    sd: float | None


Cells = Mapping[Cell, Value]


@dataclass(frozen=True)
class Release:
    """The numbers of one day. made: UTC, ISO 8601; code: `provenance.code_identity` that day."""

    name: str
    made: str
    commit: str
    code: str
    cells: Cells


@dataclass(frozen=True)
class Change:
    """A cell of two releases; None where the release had it not."""

    cell: Cell
    before: Value | None
    after: Value | None

    @property
    def kind(self) -> str:
        """New, gone, with other seeds (n differs), or made anew (n does not, the mean does)."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        return "other seeds" if self.before.n != self.after.n else "made anew"

    @property
    def difference(self) -> float | None:
        """Of the means, after minus before."""
        return self.after.mean - self.before.mean if self.before and self.after else None


def today() -> Release:
    """The numbers of the records as they are."""
    cells = {}
    for chapter in run_index.chapters():
        for row in tables.table(chapter).itertuples():
            cell = Cell(
                chapter, row.protocol, row.network, row.metric,
                float(row.train_sparsity), float(row.test_sparsity),
            )  # fmt: skip
            sd = None if math.isnan(row.sd) else float(f"{row.sd:.7g}")
            cells[cell] = Value(int(row.n), float(f"{row.mean:.7g}"), sd)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Release("today", now, provenance.commit(), provenance.code_identity(), cells)


def write(name: str, folder: Path = RELEASES) -> Path:
    """Writes today's numbers as the release of that name; returns its path.

    Raises ReleaseError for a name that is taken or that no file can have, or without records.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        raise ReleaseError(
            f"{name!r} is no name for a release; use at most 100 letters, digits, . _ and -"
        )
    path = folder / f"{name}.json"
    if path.exists():
        raise ReleaseError(f"{path}: there is a release of that name; none is rewritten")
    release = today()
    if not release.cells:
        raise ReleaseError("there are no records to release")
    cells = ",\n".join(
        json.dumps([*(getattr(cell, field) for field in FIELDS), value.n, value.mean, value.sd])
        for cell, value in sorted(release.cells.items(), key=lambda item: item[0])
    )
    head = {"name": name, "made": release.made, "commit": release.commit, "code": release.code}
    text = json.dumps(head, indent=1)[:-2] + f',\n "cells": [\n{cells}\n]}}\n'
    folder.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
    return path


def read(path: Path) -> Release:
    """The release in a file. Raises ReleaseError if it is none, or stands under another name."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        release = _release(content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ReleaseError(f"{path}: no release ({type(error).__name__}: {error})") from error
    if release.name != path.stem:
        raise ReleaseError(f"{path}: holds the release {release.name}")
    return release


def _release(content: dict[str, Any]) -> Release:
    cells = {}
    for *cell, n, mean, sd in content["cells"]:
        chapter, protocol, network, metric, trained_at, tested_at = cell
        of = Cell(chapter, protocol, network, metric, float(trained_at), float(tested_at))
        cells[of] = Value(n, mean, sd)
    datetime.fromisoformat(content["made"])
    return Release(content["name"], content["made"], content["commit"], content["code"], cells)


def load(folder: Path = RELEASES) -> list[Release]:
    """Every release, the first one first."""
    found = [read(path) for path in folder.glob("*.json")]
    return sorted(found, key=lambda release: datetime.fromisoformat(release.made))


def changes(before: Cells, after: Cells) -> list[Change]:
    """What is new, gone or different in `after`, in the order of the cells."""
    found = []
    for cell in sorted({*before, *after}):
        change = Change(cell, before.get(cell), after.get(cell))
        a, b = change.before, change.after
        same = a is not None and b is not None and a.n == b.n
        if not (same and math.isclose(a.mean, b.mean, rel_tol=ROUNDING)):  # type: ignore[union-attr]
            found.append(change)
    return found
