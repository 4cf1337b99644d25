"""One JSON file for each training: its configuration, what was measured, and where it came from.

The key is (experiment, protocol, network, sparsity, seed); more seeds add files and never rewrite
one. A file is written whole under another name and then renamed, and is validated when it is read.
What every field means stands in results/README.md, which `describe` makes from `SCHEMA`:
`python -m sparseconv_lib.study.records` prints it.
"""

import base64
import dataclasses
import errno
import functools
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from torch import Tensor

from sparseconv_lib.masks import FIELDS
from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.paths import RESULTS, check_apart
from sparseconv_lib.study.protocol import (
    BASELINES,
    ParameterError,
    Protocol,
    check_sparsity,
    whole_number,
)
from sparseconv_lib.study.traced import Traced

VERSION = 1
METHODS = (*NETWORKS, *BASELINES)  # what a record may be of


class RecordError(OneLineError, RuntimeError):
    """A record that cannot be read; the message names the file, what is wrong, and the remedy."""


def sparsity_in_names(sparsity: float) -> str:
    """0.8 as "0.80"; a sparsity that two digits cannot tell as all its digits."""
    short = f"{sparsity:.2f}"
    return short if float(short) == sparsity else repr(sparsity)


def protocol_in_names(protocol: str) -> str:
    """ "as_written, batch_size=64" as "as_written-batch_size_64", which any file system takes."""
    return protocol.replace(", ", "-").replace("=", "_").replace(" ", "_")


@dataclass(frozen=True, order=True)
class Key:
    """What makes a training this one and no other."""

    experiment: str
    protocol: str
    network: str
    sparsity: float
    seed: int

    def __post_init__(self) -> None:
        if self.network not in METHODS:
            raise ParameterError(f"network {self.network!r} does not exist")
        check_sparsity(self.sparsity)
        whole_number("seed", self.seed, 0)

    def __str__(self) -> str:
        return (
            f"{self.experiment} {self.protocol} {self.network} p={self.sparsity:g} seed {self.seed}"
        )

    def path(self, folder: Path = RESULTS) -> Path:
        name = f"{self.network}-p{sparsity_in_names(self.sparsity)}-seed{self.seed}.json"
        return folder / self.experiment / protocol_in_names(self.protocol) / name


def _object(meaning: str, **fields: dict[str, Any]) -> dict[str, Any]:
    optional = {name for name, field in fields.items() if field.pop("optional", False)}
    return {
        "type": "object",
        "description": meaning,
        "properties": fields,
        "required": [name for name in fields if name not in optional],
        "additionalProperties": False,
    }


def _field(kind: str | list[str], meaning: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "description": meaning, **more}


_SHARE = {"minimum": 0, "maximum": 1}
_BY_SPARSITY = {"minProperties": 1, "additionalProperties": {"type": "number", **_SHARE}}
_ERROR_BY_SPARSITY = {
    "minProperties": 1,
    "additionalProperties": {"type": "number", "minimum": 0},
}
_ERROR: dict[str, Any] = {"kind": ["number", "null"], "minimum": 0, "optional": True}
_HEX = {"pattern": "^[0-9a-f]{16,64}$"}

SCHEMA: dict[str, Any] = _object(
    "one training",
    version=_field("integer", "version of this format", const=VERSION),
    experiment=_field("string", "the notebook that ran it"),
    protocol=_field("string", "name of the protocol"),
    network=_field(
        "string", "name of the network, or of what stands in its place", enum=list(METHODS)
    ),
    sparsity=_field("number", "share of missing pixels in training", minimum=0, exclusiveMaximum=1),
    seed=_field("integer", "seed of weights, order and masks", minimum=0),
    knobs=_field("object", "every knob of the protocol, by name"),
    epochs=_field(
        "array",
        "what was measured in each epoch; empty where nothing is trained",
        items=_object(
            "one epoch",
            loss=_field(
                ["number", "null"],
                "mean loss over the epoch's training images: cross-entropy in nats, or squared "
                "error in the network's units; null: not finite",
            ),
            train_accuracy=_field(
                "number", "accuracy over them, as they were trained", optional=True, **_SHARE
            ),
            test_accuracy=_field(
                "number", "accuracy after it, at the training sparsity", optional=True, **_SHARE
            ),
            held_out_accuracy=_field(
                "number", "accuracy on held-out images", optional=True, **_SHARE
            ),
            train_error=_field(**_ERROR, meaning="where pixels are asked for: error over them"),
            test_error=_field(**_ERROR, meaning="error after it, at the training sparsity"),
            held_out_error=_field(**_ERROR, meaning="error on held-out images"),
            seconds=_field("number", "wall time", minimum=0),
        ),
    ),
    curve=_field(
        "array",
        "mean training loss of each part of an epoch, in order (20 parts an epoch)",
        items={"type": ["number", "null"]},
    ),
    candidates=_field(
        "array",
        "the learning rates tried; the first with the best held-out accuracy or error was used",
        items=_object(
            "one learning rate",
            learning_rate=_field("number", "the rate", exclusiveMinimum=0),
            epochs=_field("integer", "epochs trained", minimum=1),
            best_epoch=_field("integer", "epoch whose weights were used, from 0", minimum=0),
            held_out_accuracy=_field(
                "number", "best held-out accuracy; 0 without such images", optional=True
            ),
            held_out_error=_field(**_ERROR, meaning="least held-out error, where there is one"),
        ),
    ),
    accuracy=_field(
        "object",
        "test sparsity, as text -> accuracy on the test images",
        optional=True,
        **_BY_SPARSITY,
    ),
    error=_field(
        "object",
        "where pixels are asked for: test sparsity -> mean absolute error over the known pixels of "
        "the test images, in grey levels (black to white is 1) or a map's metres",
        optional=True,
        **_ERROR_BY_SPARSITY,
    ),
    error_missing=_field(
        "object",
        "the same over the pixels that were not observed",
        optional=True,
        **_ERROR_BY_SPARSITY,
    ),
    other_statistics=_field(
        "object",
        "the accuracy, or error, with another kind of BatchNorm statistics in testing: kind -> "
        "test sparsity -> it; reestimated: of training images at the test sparsity (records made "
        "since 23 November 2026; of no use for Caltech-101 before the 25th, when each test batch "
        "held neighbouring classes)",
        optional=True,
        propertyNames={"enum": ["running", "batch", "blocks", "reestimated"]},
        additionalProperties={"type": "object", **_ERROR_BY_SPARSITY},
    ),
    other_masks=_field(
        "object",
        "kind of mask -> accuracy, or error, where test pixels go missing in that way, at the "
        "training sparsity",
        optional=True,
        propertyNames={"enum": sorted(FIELDS)},
        additionalProperties={"type": "number", "minimum": 0},
    ),
    correct=_field(
        "object",
        "test sparsity -> which test images were classified correctly: a bit each in the order of "
        "the split's file, packed, in base64 (Caltech-101 with its committed split)",
        optional=True,
        minProperties=1,
        additionalProperties={"type": "string", "pattern": "^[A-Za-z0-9+/]+=*$"},
    ),
    images=_object(
        "number of images",
        train=_field("integer", "trained on, held-out ones included", minimum=1),
        test=_field("integer", "tested on", minimum=1),
    ),
    identity=_object(
        "what decided the numbers",
        code=_field("string", "hash of the syntax trees of the modules that train", **_HEX),
        data=_field("string", "hash of the data set's files", **_HEX),
        split=_field("string", "the split into training and test images"),
        masks=_field("string", "hash of the test masks at the training sparsity", **_HEX),
    ),
    provenance=_object(
        "where and when",
        device=_field("string", "model of the processor or GPU"),
        threads=_field("integer", "threads of a CPU training", minimum=1),
        versions=_field("object", "python, torch, numpy, and cuda where used"),
        started=_field("string", "UTC, ISO 8601"),
        seconds=_field(
            "number",
            "wall time of training and testing; where several trainings ran as one, a share of it",
            minimum=0,
        ),
        commit=_field("string", "of the code; +changes if files differed from it"),
        page=_field("string", "the executed notebook, from the top folder"),
        together=_field(
            "integer",
            "how many trainings ran as one, where it was not alone",
            minimum=2,
            optional=True,
        ),
    ),
)


@dataclass(frozen=True)
class Record:
    """A validated record. `content` is the JSON object that `SCHEMA` describes.

    Accuracies and errors are `Traced`: what is computed from them remembers the record's key.
    """

    content: dict[str, Any]

    @property
    def key(self) -> Key:
        return Key(*(self.content[field.name] for field in dataclasses.fields(Key)))

    @property
    def accuracy(self) -> float:
        """Test accuracy at the training sparsity, in [0, 1]."""
        return self.accuracy_at(self.content["sparsity"])

    @property
    def error(self) -> float:
        """Mean absolute error over known test pixels at the training sparsity."""
        return self.error_at(self.content["sparsity"])

    def error_at(self, sparsity: float, missing_only: bool = False) -> float:
        """The same at `sparsity`, or over missing pixels alone. KeyError where it is not known."""
        errors = self.content["error_missing" if missing_only else "error"]
        return Traced(errors[f"{sparsity:g}"], (self.key,))

    def accuracy_at(self, sparsity: float) -> float:
        """Test accuracy at `sparsity`. Raises KeyError if it was not tested there."""
        return Traced(self.content["accuracy"][f"{sparsity:g}"], (self.key,))

    def with_statistics(self, evaluation: str) -> dict[float, float] | None:
        """Test sparsity -> accuracy with that kind of BatchNorm statistics; None if not tested."""
        if evaluation == self.content["knobs"]["evaluation"]:
            found = self.content["accuracy"]
        else:
            found = self.content.get("other_statistics", {}).get(evaluation)
        return (
            None if found is None else {float(q): Traced(a, (self.key,)) for q, a in found.items()}
        )

    def correct_at(self, sparsity: float) -> np.ndarray | None:
        """Which test images were classified correctly there: bool (N,); None if not kept."""
        text = self.content.get("correct", {}).get(f"{sparsity:g}")
        if text is None:
            return None
        bits = np.frombuffer(base64.b64decode(text), np.uint8)
        return np.unpackbits(bits, count=self.content["images"]["test"]).astype(bool)

    @property
    def protocol(self) -> Protocol:
        knobs = self.content["knobs"]
        return Protocol(**{**knobs, "learning_rates": tuple(knobs["learning_rates"])})

    @property
    def page(self) -> str:
        return self.content["provenance"]["page"]


def pack(correct: Tensor) -> str:
    """bool (N,) as base64 of its bits: the inverse of `Record.correct_at`."""
    return base64.b64encode(np.packbits(correct.cpu().numpy()).tobytes()).decode()


@functools.cache
def _validator() -> Any:
    import jsonschema  # slow to import, and needed only where records are read or written

    return jsonschema.Draft202012Validator(SCHEMA)


def validated(content: object, where: str) -> Record:
    """`content` as a Record, or RecordError naming `where` it stands and what is wrong."""
    version = content.get("version") if isinstance(content, dict) else None
    if isinstance(version, int) and version > VERSION:
        told = f"of version {version}, newer than this code's {VERSION}; update the code"
        raise RecordError(f"{where}: {told}, or {_REMEDY}")
    error = next(iter(_validator().iter_errors(content)), None)
    if error is not None:
        field = "/".join(map(str, error.absolute_path)) or "the file"
        raise RecordError(f"{where}: {field}: {error.message[:120]}; {_REMEDY}")
    assert isinstance(content, dict)
    record = Record(content)
    try:  # what no schema can say: that the values make a training, and its own accuracy is there
        scored = "accuracy" if record.protocol.objective == "classify" else "error"
        _ = record.key, content[scored][f"{content['sparsity']:g}"]
        if (content["network"] in NETWORKS) != bool(content["epochs"] and content["candidates"]):
            raise ValueError("networks have epochs and candidates, and nothing else has")
        others = [*content.get("other_statistics", {}).values(), content.get("other_masks", {})]
        if scored == "accuracy" and any(v > 1 for scores in others for v in scores.values()):
            raise ValueError("an accuracy is above 1")
        for accuracies in (content[scored], *content.get("other_statistics", {}).values()):
            _ = [check_sparsity(float(text)) for text in accuracies]
        for text in content.get("correct", {}):
            _check_correct(record, text)
    except (ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{where}: {type(error).__name__}: {error}; {_REMEDY}") from None
    return record


def _check_correct(record: Record, sparsity: str) -> None:
    """ValueError unless the answers to the test images are as many as these, and as accurate."""
    content, images = record.content, record.content["images"]["test"]
    bits = base64.b64decode(content["correct"][sparsity], validate=True)
    if len(bits) != -(-images // 8):
        raise ValueError(f"correct/{sparsity} holds {len(bits)} bytes, not a bit for each of "
                         f"{images} test images")  # fmt: skip
    if sparsity not in content["accuracy"]:
        raise ValueError(f"correct/{sparsity} has no accuracy beside it")
    mean = np.unpackbits(np.frombuffer(bits, np.uint8), count=images).mean()
    if abs(mean - content["accuracy"][sparsity]) * images >= 0.5:  # else rounded, not another
        raise ValueError(f"correct/{sparsity} has a mean of {mean:.7g}, but the accuracy is "
                         f"{content['accuracy'][sparsity]}")  # fmt: skip


_REMEDY = "restore it with `git checkout`, or delete it and run `sparseconv sweep` again"


def read(path: Path) -> Record:
    """The record in `path`. Raises RecordError if it is cut, malformed, or under a wrong name."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: not a whole record ({error}); {_REMEDY}") from error
    _check_once(text, path)
    return Record(json.loads(text))


@functools.cache
def _check_once(text: bytes, path: Path) -> None:
    """Raises RecordError like `parse`, which takes most of the time of reading what is whole."""
    parse(text, path)


def parse(text: bytes, path: PurePath) -> Record:
    """The record in the content of a file that stands at `path`; raises RecordError like `read`."""
    try:
        content = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{path}: not a whole record ({error}); {_REMEDY}") from error
    record = validated(content, str(path))
    if path.parts[-3:] != record.key.path().parts[-3:]:
        raise RecordError(f"{path}: holds the training {record.key}; {_REMEDY}")
    return record


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")  # NaN would pass every minimum and maximum


def find(key: Key, folder: Path = RESULTS) -> Record | None:
    """The record of `key`, or None where there is none. Raises RecordError like `read`."""
    path = key.path(folder)
    return read(path) if path.exists() else None


def write(record: Record, folder: Path = RESULTS) -> Path:
    """Writes the record to its place below `folder`, whole or not at all; returns the path.

    Raises FileExistsError if that training has a record already: none is ever rewritten.
    """
    path = record.key.path(folder)
    check_apart(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    text = json.dumps(_rounded(record.content), indent=1, ensure_ascii=False) + "\n"
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        _rename_to_new(part, path)
    except FileExistsError as error:
        raise FileExistsError(f"{path}: this training has a record; none is rewritten") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def _rename_to_new(part: Path, path: Path) -> None:
    """Renames, but raises FileExistsError where `path` exists: a plain rename would replace it."""
    try:
        os.link(part, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise
        if path.exists():  # a file system without links
            raise FileExistsError(path) from None
        os.rename(part, path)


def _rounded(value: Any) -> Any:
    """Floats to 7 significant digits, which is what float32 holds."""
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def load(experiment: str, protocol: str | None = None, folder: Path = RESULTS) -> list[Record]:
    """Every record of an experiment (and protocol), ordered by key. Raises RecordError."""
    return sorted(_each(experiment, protocol, folder), key=lambda record: record.key)


def _each(experiment: str, protocol: str | None, folder: Path) -> Iterator[Record]:
    named = "*" if protocol is None else protocol_in_names(protocol)
    for path in (folder / experiment).glob(f"{named}/*.json"):
        yield read(path)


def describe() -> str:
    """The meaning of every field, as the Markdown of results/README.md."""
    lines = [
        "# Records",
        "",
        "One file for each training: `EXPERIMENT/PROTOCOL/NETWORK-pSPARSITY-seedSEED.json`. None",
        "is ever rewritten; more seeds add files. Beside the records of seed 0 stands an `.npz`",
        "with what the report draws of that training: the first test image, its mask, the maps of",
        "the first convolution, and the class probabilities.",
        "",
        "`verdicts.toml` holds the rules by which the claims are judged, `probes.json` the digits",
        "by which a change of the code is shown not to have changed the numbers. `source.toml`",
        "holds numbers of the source beyond its claims, `implementations.toml` what other public",
        "implementations store, `denominators.json`, `layouts.json` and `benchmark-cpu.json` (or",
        "-cuda) what `sparseconv measure` measured, `faults.json` what was counted after faults,",
        "`mutation.json` and `coverage.json` what was counted of the tests, `mutants.toml` why",
        "some breaks go unnoticed, `sameness.json` how far two versions of PyTorch are apart,",
        "`promises.toml` the promises of the book and their tests. `releases/` holds the means of",
        "each release: `sparseconv release` writes one.",
        "",
        "| field | type | meaning |",
        "|---|---|---|",
        *_rows(SCHEMA, ""),
    ]
    return "\n".join(lines) + "\n"


def _rows(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, field in schema["properties"].items():
        yield f"| `{prefix}{name}` | {field['type']} | {field['description']} |"
        if "properties" in field:
            yield from _rows(field, f"{prefix}{name}.")
        elif "properties" in field.get("items", {}):
            yield from _rows(field["items"], f"{prefix}{name}[].")


if __name__ == "__main__":
    print(describe(), end="")
