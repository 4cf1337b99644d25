"""Records as tables: one row for each network and sparsity, with mean, spread and n."""

from collections.abc import Iterable

import pandas

from sparseconv_lib.study import records
from sparseconv_lib.study.records import METHODS, Record
from sparseconv_lib.study.statistics import summarise
from sparseconv_lib.study.traced import Traced

COLUMNS = (
    "dataset", "network", "protocol", "metric", "train_sparsity", "test_sparsity",
    "n", "mean", "sd", "low", "high", "device",
)  # fmt: skip


def accuracies(found: Iterable[Record]) -> dict[tuple[str, float, float], dict[int, float]]:
    """(network, training sparsity, test sparsity) -> seed -> accuracy, for `verdicts.judge`."""
    cells: dict[tuple[str, float, float], dict[int, float]] = {}
    for record in found:
        for test_sparsity, accuracy in record.content.get("accuracy", {}).items():
            cell = (record.key.network, record.key.sparsity, float(test_sparsity))
            cells.setdefault(cell, {})[record.key.seed] = Traced(accuracy, (record.key,))
    return cells


def table(experiment: str) -> pandas.DataFrame:
    """Test accuracies, or errors, of an experiment's records: a row a cell, with `COLUMNS`.

    n is the number of seeds, mean, low and high (the 95 % t interval of the mean) are accuracies
    in [0, 1] or mean absolute errors in the record's unit, sd is their standard deviation; with
    one seed there is no spread, and sd, low and high are empty. device lists every device that
    made the cell's records.
    """
    groups: dict[tuple, list[tuple[float, str]]] = {}
    for record in records.load(experiment):
        content, key = record.content, record.key
        for metric in ("accuracy", "error", "error_missing"):
            for test_sparsity, score in content.get(metric, {}).items():
                cell = (
                    content["knobs"]["dataset"],
                    key.network,
                    key.protocol,
                    metric,
                    key.sparsity,
                    float(test_sparsity),
                )
                groups.setdefault(cell, []).append((score, content["provenance"]["device"]))
    rows = []
    for cell in sorted(groups, key=lambda c: (c[2], METHODS.index(c[1]), c[3], c[4], c[5])):
        summary = summarise([score for score, _ in groups[cell]])
        devices = "; ".join(sorted({device for _, device in groups[cell]}))
        rows.append(
            (*cell, summary.n, summary.mean, summary.sd, summary.low, summary.high, devices)
        )
    return pandas.DataFrame(rows, columns=list(COLUMNS))
