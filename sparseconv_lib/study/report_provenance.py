"""What the page on provenance tells: machines, versions, data, code, what is missing, releases.

Each function gives a Table, which the book's directive draws.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparseconv_lib.study import provenance, records, releases, report, run_index, sweep
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.records import Record
from sparseconv_lib.study.releases import Change, Release, Value

MOST_CHANGES = 100  # rows of one table of changes


@dataclass(frozen=True)
class Table:
    """Rows of text under headers; the first column names the row."""

    headers: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    caption: str


def machines(found: Sequence[Record]) -> Table:
    """Each device with its records and their time."""
    rows = []
    for device, its in _by(found, lambda record: record.content["provenance"]["device"]):
        where = [record.content["provenance"] for record in its]
        together = [each["together"] for each in where if "together" in each]
        rows.append(
            (
                device,
                str(len(its)),
                f"{sum(each['seconds'] for each in where) / 3600:.2f}",
                f"{len(together)}, up to {max(together)} at once" if together else "none",
                min(each["started"] for each in where)[:10],
                max(each["started"] for each in where)[:10],
            )
        )
    hours = sum(record.content["provenance"]["seconds"] for record in found) / 3600
    return Table(
        ("Device", "Records", "Hours", "Trained as one", "First", "Last"),
        rows,
        f"{len(found)} trainings and interpolations took {hours:.2f} hours, testing included. "
        "Where several were trained as one, each counts its share of the time, so that hours add "
        "up.",
    )


def gpu_hours(found: Sequence[Record]) -> float:
    """Hours of the trainings that ran on a GPU."""
    where = [record.content["provenance"] for record in found]
    return sum(each["seconds"] for each in where if "cuda" in each["versions"]) / 3600


def versions(found: Sequence[Record]) -> Table:
    """Each combination of versions with the devices that it ran on."""
    names = ("python", "torch", "cuda", "numpy")

    def used(record: Record) -> tuple[str, ...]:
        return tuple(record.content["provenance"]["versions"].get(name, "–") for name in names)

    rows = [
        ("; ".join(sorted({r.content["provenance"]["device"] for r in its})), *which, str(len(its)))
        for which, its in _by(found, used)
    ]
    return Table(
        ("Device", "Python", "PyTorch", "CUDA", "NumPy", "Records"),
        rows,
        "What the trainings and interpolations ran on.",
    )


def data_sets(found: Sequence[Record]) -> Table:
    """Each data set with the hash of its files, its splits and its sizes."""

    def what(record: Record) -> tuple[str, ...]:
        content, images = record.content, record.content["images"]
        sizes = (f"{images['train']:,}", f"{images['test']:,}")
        return content["knobs"]["dataset"], content["identity"]["data"], *sizes

    rows = []
    for (name, identity, train, test), its in _by(found, what):
        splits = sorted({record.content["identity"]["split"] for record in its})
        told = ", ".join(splits) if len(splits) <= 3 else f"{splits[0]} and {len(splits) - 1} more"
        rows.append((name, identity[:16], told, train, test, str(len(its))))
    return Table(
        ("Data set", "Hash of its files", "Split", "Training images", "Test images", "Records"),
        rows,
        "A hash is the first 16 digits of what stands in each record; a training stops if its "
        "files have another.",
    )


def code(found: Sequence[Record]) -> Table:
    """Each identity of the code that decides numbers, and whether today's gives the same digits."""
    today = provenance.code_identity()
    rows = []
    for identity, its in _by(found, lambda record: record.content["identity"]["code"]):
        other = sum(map(run_index.made_by_other_code, its))
        if identity == today:
            told = "it is today's"
        elif not other:
            told = "yes, by the probes of all of them"
        elif other == len(its):
            told = "not known of any"
        else:
            told = f"yes of {len(its) - other}, not known of {other}"
        commits = dict.fromkeys(report.short(r.content["provenance"]["commit"]) for r in its)
        first = min(record.content["provenance"]["started"] for record in its)[:10]
        rows.append((identity, str(len(its)), first, told, ", ".join(sorted(commits))))
    return Table(
        ("Code", "Records", "First", "Does today's give the same numbers?", "Commits"),
        rows,
        f"Today's code is {today}. An identity is a hash of what the modules that decide numbers "
        "say, comments left out; whether two of them give the same numbers is tried by short "
        "seeded trainings, the probes in results/probes.json, each alone on a processor. Of "
        "trainings that ran as one they try only the code that both kinds share.",
    )


def missing() -> Table:
    """What each experiment of the published grid asks for and lacks, as `sparseconv missing`."""
    rows = []
    for name, experiment in EXPERIMENTS.items():
        asked = sum(len(page.keys) for page in experiment.pages())
        lacking = sum(len(sweep.missing_keys(page)) for page in sweep.missing_pages([name]))
        rows.append((name, experiment.notebook, str(asked), str(asked - lacking), str(lacking)))
    total = sum(int(row[-1]) for row in rows)
    return Table(
        ("Experiment", "Notebook", "Asked for", "Recorded", "Missing"),
        rows,
        f"{total} of the trainings and interpolations that the published grid asks for are "
        "missing; `sparseconv missing` lists them.",
    )


def all_releases(found: Sequence[Release]) -> Table:
    """Each release, the last one first."""
    rows = [
        (r.name, r.made[:10], report.short(r.commit), r.code, str(len(r.cells)))
        for r in reversed(found)
    ]
    return Table(
        ("Release", "Day", "Commit", "Code", "Numbers"),
        rows,
        "A number is the mean over seeds of one network, protocol, training and test sparsity.",
    )


def changelog(before: Release, after: Release) -> tuple[str, Table | None]:
    """What changed between two releases: a sentence, and the changed cells if there are any.

    Cells that are new or gone are counted; those that changed are shown, the most changed first.
    """
    found = releases.changes(before.cells, after.cells)
    kinds = defaultdict(list)
    for change in found:
        kinds[change.kind].append(change)
    counts = ", ".join(
        f"{len(kinds[kind])} {kind}" for kind in ("new", "gone", "other seeds", "made anew")
        if kinds[kind]
    )  # fmt: skip
    told = f"Of {len(after.cells)} numbers: {counts}." if found else "No number has changed."
    changed = sorted(
        kinds["other seeds"] + kinds["made anew"],
        key=lambda change: (-abs(change.difference or 0.0), change.cell),
    )
    if not changed:
        return told, None
    rest = len(changed) - MOST_CHANGES
    return told, Table(
        ("Network", "Chapter", "Protocol", "Trained at", "Tested at", "Measure", before.name,
         after.name, "Why"),
        [_changed(change) for change in changed[:MOST_CHANGES]],
        "What changed most, first; accuracies in per cent, errors in the records' unit."
        + (f" {rest} smaller changes are not shown." if rest > 0 else ""),
    )  # fmt: skip


def _changed(change: Change) -> tuple[str, ...]:
    cell = change.cell
    values = (_value(value, cell.metric) for value in (change.before, change.after))
    sparsities = (f"{cell.trained_at:g}", f"{cell.tested_at:g}")
    measure = cell.metric.replace("_", ", ")
    return (cell.network, cell.chapter, cell.protocol, *sparsities, measure, *values, change.kind)


def _value(value: Value | None, metric: str) -> str:
    if value is None:
        return "–"
    factor, digits = (100, ".2f") if metric == "accuracy" else (1, ".4g")
    sd = "" if value.sd is None else f" ± {factor * value.sd:{digits}}"
    return f"{factor * value.mean:{digits}}{sd}, n = {value.n}"


def _by(found: Sequence[Record], what: Callable[[Record], object]) -> list[tuple]:
    """Groups of records, the largest first."""
    groups: dict[object, list[records.Record]] = {}
    for record in found:
        groups.setdefault(what(record), []).append(record)
    return sorted(groups.items(), key=lambda item: (-len(item[1]), str(item[0])))
