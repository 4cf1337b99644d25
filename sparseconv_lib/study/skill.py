"""Two questions of the same images: which digit is it, and what is every pixel?

Retained skill, by which the claim "decisions are easier than values" is judged:

    (score at p - score of the best constant answer) / (score at 0 - the same)

where the score is the accuracy, or minus the mean absolute error over all pixels, each after
training and testing at the same sparsity.
"""

from collections.abc import Iterable

from sparseconv_lib.study import records
from sparseconv_lib.study.records import Record

NETWORK = "ConvNet"
DECISION, VALUES = f"{NETWORK}:decision", f"{NETWORK}:values"
MOST_FREQUENT = 1135 / 10_000  # of MNIST's test images: the ones; the best constant decision

Cells = dict[tuple[str, float, float], dict[int, float]]


def retained(
    decisions: Iterable[Record] | None = None, values: Iterable[Record] | None = None
) -> Cells:
    """(DECISION or VALUES, p, p) -> {seed: retained skill}, for every p but 0.

    By default from the records of the chapters on invariance and on depth.
    """
    accuracy: dict[float, dict[int, float]] = {}
    error: dict[float, dict[int, float]] = {}
    constant: dict[int, float] = {}
    for record in records.load("invariance", "fair") if decisions is None else decisions:
        if record.key.network == NETWORK:
            accuracy.setdefault(record.key.sparsity, {})[record.key.seed] = record.accuracy
    for record in records.load("depth", "digits") if values is None else values:
        if record.key.network == NETWORK:
            error.setdefault(record.key.sparsity, {})[record.key.seed] = record.error
        elif record.key.network == "constant":
            constant[record.key.seed] = record.error
    skills: Cells = {}
    for p, seeds in accuracy.items():
        for seed, value in seeds.items():
            if p and seed in accuracy.get(0.0, {}):
                best = accuracy[0.0][seed] - MOST_FREQUENT
                skills.setdefault((DECISION, p, p), {})[seed] = (value - MOST_FREQUENT) / best
    for p, seeds in error.items():
        for seed, value in seeds.items():
            if p and seed in error.get(0.0, {}) and seed in constant:
                best = constant[seed] - error[0.0][seed]
                skills.setdefault((VALUES, p, p), {})[seed] = (constant[seed] - value) / best
    return skills
