"""Invented records, for the tests of what the book tells of records."""

import dataclasses

from bs4 import BeautifulSoup
from test_records import a_record

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import records
from sparseconv_lib.study.grid import TEST_SPARSITIES
from sparseconv_lib.study.protocol import BASELINES, preset

PLAIN, SPARSE = "ConvNet", "SparseConvNet"


def soup(text):
    return BeautifulSoup(text, "html.parser")


def content_of(task, protocol, network, sparsity, seed):
    knobs = dataclasses.asdict(preset(protocol, task))
    return a_record(network if network in NETWORKS else PLAIN, sparsity, seed).content | {
        "network": network,
        "experiment": task,
        "protocol": protocol,
        "knobs": {**knobs, "learning_rates": list(knobs["learning_rates"])},
    }


def score(network, p, q, seed):
    """An invented accuracy: falls with q and with the way from p, a little with the seed."""
    lost = 0.1 * abs(p - q) * (1 if network == PLAIN else 0.5)
    return 0.95 - 0.2 * q - lost + seed * (0.002 if network == PLAIN else 0.003)


def classified(network, p, seed=0, protocol="fair", shift=0.0, **more):
    accuracy = {f"{q:g}": score(network, p, q, seed) + shift for q in TEST_SPARSITIES}
    content = content_of("invariance", protocol, network, p, seed) | {
        "accuracy": accuracy,
        "other_statistics": {"reestimated": {q: a - 0.01 for q, a in accuracy.items()}},
        "other_masks": {"block": 0.5 + seed / 100, "scan_line": 0.6},
        "candidates": [
            {"learning_rate": 0.01, "epochs": 1, "best_epoch": 0, "held_out_accuracy": 0.5},
            {"learning_rate": 0.03, "epochs": 7, "best_epoch": 4, "held_out_accuracy": 0.9},
        ],
    }
    return records.validated(content | more, "invented")


def reconstructed(method, p, seed=0, protocol="elevation", factor=1.0):
    errors = {f"{q:g}": factor * (10 + 100 * q + seed) for q in TEST_SPARSITIES}
    content = content_of("depth", protocol, method, p, seed)
    del content["accuracy"]
    content |= {
        "error": errors,
        "error_missing": {q: 2 * e for q, e in errors.items() if q != "0"},
        "epochs": [{"loss": 0.5, "test_error": 3.0, "seconds": 1.0}],
        "candidates": [{"learning_rate": 1e-3, "epochs": 1, "best_epoch": 0}],
    }
    if method in BASELINES:
        content |= {"epochs": [], "curve": [], "candidates": []}
    return records.validated(content, "invented")


def the_matrix(seeds):
    return [classified(network, p, seed)
            for network in NETWORKS for p in TEST_SPARSITIES for seed in range(seeds)]  # fmt: skip
