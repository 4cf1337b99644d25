"""From number to run: a reported number, in a table or a sentence, tells the trainings behind it.

`number` marks a piece of text as such a number. The marks are characters of Unicode's private use
area, which nothing else in the report uses, so that marked text can be put into sentences and
tables as any other text can; `as_html` makes links of them when all else is escaped, and `plain`
takes them away where there are no links. In the book the link shows, on hover, on focus or touched,
what `book/_static/numbers.js` knows of the trainings; without script it leads to the first one's
run page.
"""

import functools
import html
import itertools
import re
from collections.abc import Hashable, Iterable, Sequence

from sparseconv_lib.study import records
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.statistics import Summary
from sparseconv_lib.study.traced import behind

_START, _BETWEEN, _END = "\ue000", "\ue001", "\ue002"
_MARKED = re.compile(f"{_START}([0-9]+){_BETWEEN}([^{_END}]*){_END}")
_MARKS = re.compile(f"{_START}[0-9]+{_BETWEEN}|{_END}")

# What the marks of this process stand for: the trainings, and a note on the number.
_known: dict[tuple[frozenset[Key], str], int] = {}


def number(text: str, value: float | Summary, sd: str = "") -> str:
    """`text` marked as the number that stands for `value`; as it is where no training is known.

    sd: the standard deviation of a summary of several seeds, in words.
    """
    if isinstance(value, Summary):
        found, note = behind([value.mean]), f"n = {value.n}"
        if value.n > 1 and sd:
            note = f"standard deviation {sd}, {note}"
    else:
        found, note = behind([value]), ""
    return of_trainings(text, found, note)


def of_trainings(text: str, found: Iterable[Hashable], note: str = "") -> str:
    """`text` marked as a number that rests on these trainings; as it is without any."""
    keys = frozenset(key for key in found if isinstance(key, Key))
    if not keys or not text:
        return text
    mark = _known.setdefault((keys, note), len(_known))
    return f"{_START}{mark}{_BETWEEN}{text}{_END}"


def plain(text: str) -> str:
    """The text without marks, for where there are no links."""
    return _MARKS.sub("", text)


def as_html(escaped: str) -> str:
    """Text that is HTML already but for its marks, with a link for each marked number."""
    return _MARKED.sub(lambda found: _link(int(found[1]), found[2]), escaped)


def _link(mark: int, text: str) -> str:
    keys, note = next(itertools.islice(_known, mark, None))
    page = page_of(min(keys))
    if page is None:  # not published, as on the page of a training that is still running
        return text
    title = f' title="{html.escape(note)}"' if note else ""
    return (
        f'<a class="number" href="../{html.escape(page)}" '
        f'data-runs="{html.escape(in_short(keys))}"{title}>{text}</a>'
    )


@functools.cache
def page_of(key: Key) -> str | None:
    """The run page of a training, from the top folder; None if it has no record."""
    record = records.find(key)
    return None if record is None else record.page


def in_short(keys: Iterable[Key]) -> str:
    """ "mnist;as_written;ConvNet;0.8;0-4|;;SparseConvNet;;": trainings, for a page's script.

    Each group is experiment; protocol; network; sparsity; seeds, and what is left empty is as in
    the group before. A page has hundreds of these.
    """
    cells: dict[tuple[str, str, str, str], list[int]] = {}
    for key in sorted(keys):
        cell = (key.experiment, key.protocol, key.network, f"{key.sparsity:g}")
        cells.setdefault(cell, []).append(key.seed)
    told, before = [], ("",) * 5
    for cell, seeds in cells.items():
        group = (*cell, ",".join(ranges(seeds)))
        told.append(";".join("" if a == b else a for a, b in zip(group, before, strict=True)))
        before = group
    return "|".join(told)


def from_short(short: str) -> set[Key]:
    """The trainings that `in_short` told."""
    keys, before = set(), [""] * 5
    for group in short.split("|"):
        before = [new or old for new, old in zip(group.split(";"), before, strict=True)]
        *cell, sparsity, seeds = before
        for part in seeds.split(","):
            first, _, last = part.partition("-")
            for seed in range(int(first), int(last or first) + 1):
                keys.add(Key(cell[0], cell[1], cell[2], float(sparsity), seed))
    return keys


def ranges(values: Sequence[int]) -> list[str]:
    """Whole numbers in order as "0-4" and "7"."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
