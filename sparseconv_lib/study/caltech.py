"""Caltech-101 as one array of pixels, decoded once and then mapped from the user's cache.

`caltech101.csv` beside this file names the data set's 8,677 images (BACKGROUND_Google left out),
with the sha256 of each file and the part, training or test, that the committed split gives it. An
image is used only if its file has that sum. `python -m sparseconv_lib.study.caltech FOLDER` makes
the list anew from a folder of images.
"""

import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import IO

import filelock
import numpy as np
from PIL import Image
from tqdm import tqdm

from sparseconv_lib.networks import stream_seed
from sparseconv_lib.study import paths
from sparseconv_lib.study.data_error import DataError
from sparseconv_lib.study.processes import usable_cores

MANIFEST = Path(__file__).with_name("caltech101.csv")
MANIFEST_SHA256 = "f63a3b8ce28eb08bf109e05c3d00c0a38c0f3f73f906cbdac99d4c3ecfbcff36"
BACKGROUND = "BACKGROUND_Google"  # no class of objects: left out, as in the source
TWINS = {"Faces_easy": "Faces"}  # image_N of both is one photograph, cropped or not
SIDE = 224
TEST_SHARE = Fraction(1, 5)
SPLIT_SEED = 0

URL = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
URL_MD5 = "3138e1922a9193bfa496528edbbc45d0"
PAGE = "https://doi.org/10.22002/D1.20086"
INNER = "101_ObjectCategories.tar.gz"  # in CaltechDATA's archive
ANSWER_SECONDS = 10.0  # within which CaltechDATA must answer, and then go on sending
LARGEST = 1 << 24  # bytes; no image file is larger, so no member of an archive is read beyond it

CACHE_VERSION = 1  # of the decoding: raise it where the same files would give other pixels
CHUNK = 1 << 26  # bytes whose checksum is taken at a time


@dataclass(frozen=True)
class Entry:
    """One image: its file below the folder of classes, that file's sha256, "train" or "test"."""

    file: str  # CLASS/image_NNNN.jpg
    sha256: str
    part: str

    @property
    def label(self) -> str:
        return self.file.partition("/")[0]


@functools.cache
def read_manifest(path: Path = MANIFEST) -> tuple[Entry, ...]:
    """The images of the data set in their order: training images first, each part by file name.

    Raises DataError for a list that is cut or of another form; the library's own must be the one
    that was committed, to the last bit.
    """
    remedy = "restore it with `git checkout`, or install the library again"
    try:
        content = path.read_bytes().replace(b"\r\n", b"\n")
        if path == MANIFEST and hashlib.sha256(content).hexdigest() != MANIFEST_SHA256:
            raise ValueError("not the list that was committed")
        rows = csv.DictReader(io.StringIO(content.decode()), strict=True)
        if rows.fieldnames != [field.name for field in dataclasses.fields(Entry)]:
            raise ValueError("other columns, as of another version")
        entries = tuple(Entry(**row) for row in rows)
        for entry in entries:
            if not _is_entry(entry):
                raise ValueError(f"no image: {str(entry)[:100]}")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{path}: not a whole list of images ({error}); {remedy}") from None
    return entries


def _is_entry(entry: "Entry") -> bool:
    values = (entry.file, entry.sha256, entry.part)
    return all(isinstance(value, str) for value in values) and bool(
        re.fullmatch(r"(?!\.)[^/\x00-\x1f]+/(?!\.)[^/\x00-\x1f]+", entry.file)
        and re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
        and entry.part in ("train", "test")
    )


def classes(entries: Iterable[Entry]) -> tuple[str, ...]:
    """Their classes in order: a label is an index into it."""
    return tuple(sorted({entry.label for entry in entries}))


def identity(entries: Iterable[Entry]) -> str:
    """sha256 over the files and their sums, whatever the split."""
    lines = sorted(f"{entry.sha256}  {entry.file}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def split_identity(entries: Iterable[Entry]) -> str:
    """16 hex digits over which image is in which part."""
    lines = sorted(f"{entry.part}  {entry.file}\n" for entry in entries)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def split_name(entries: Iterable[Entry]) -> str:
    """What a record says of the split that the manifest commits."""
    return f"stratified-{split_identity(entries)}"


def stratified_test(files: Iterable[str], seed: int = SPLIT_SEED) -> set[str]:
    """The test images of a stratified 80/20 split.

    Every class gives a fifth of its images, rounded so that all classes together give a fifth
    rounded up (largest remainders first). Which ones is told by a hash of seed and file name, the
    same for the two versions of one photograph, so that both fall on one side. DataError where
    they would not, since a class of twins has too many or other photographs than its other one.
    """
    by_class: dict[str, list[str]] = {}
    for file in sorted(files):
        by_class.setdefault(file.partition("/")[0], []).append(file)
    share = {name: TEST_SHARE * len(found) for name, found in by_class.items()}
    counts = {name: int(exact) for name, exact in share.items()}
    total = -int(-sum(share.values()) // 1)
    # The twins of this data set have 435 images each, a fifth without a remainder: none gets more,
    # which is checked below.
    remainders = sorted(share, key=lambda name: (counts[name] - share[name], name))
    for name in remainders[: total - sum(counts.values())]:
        counts[name] += 1

    def rank(file: str) -> int:
        label, _, image = file.partition("/")
        return stream_seed(seed, f"split of {TWINS.get(label, label)}/{image}")

    test = {
        file for name, found in by_class.items() for file in sorted(found, key=rank)[: counts[name]]
    }
    for label, twin in TWINS.items():
        for file in by_class.get(label, ()):
            other = file.replace(label, twin, 1)
            if other not in by_class.get(twin, ()) or (file in test) != (other in test):
                raise DataError(
                    f"Caltech-101: {file} and {other}, one photograph, cannot be kept on one side "
                    f"of the split: {label} and {twin} must hold the same photographs, a multiple "
                    f"of {TEST_SHARE.denominator}"
                )
    return test


def write_manifest(folder: Path, path: Path = MANIFEST) -> None:
    """Lists the images below a folder of classes, with their sums and the stratified split."""
    sums = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.glob("*/*.jpg"))
        if file.parent.name != BACKGROUND
    }
    test = stratified_test(sums)
    order = sorted(sums, key=lambda file: (file in test, file))
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("file", "sha256", "part"))
        writer.writerows((f, sums[f], "test" if f in test else "train") for f in order)


def load_pixels(entries: tuple[Entry, ...], progress: bool | None = None) -> np.ndarray:
    """The pixels of all images, uint8 (N, 3, SIDE, SIDE) in the order of `entries`, the manifest's.

    Mapped from the cache, whose checksum is verified; where there is none, or it is broken or of
    another version, the images are decoded first. Writing to the array changes no file.
    progress: bars on (True), off (False), or on in a terminal only (None).

    Raises DataError where no source has all the images, or the cache cannot be written, and
    ValueError for entries in another order.
    """
    if list(entries) != sorted(entries, key=lambda entry: (entry.part == "test", entry.file)):
        # The cache is known by its files and their parts; so it may have one order only.
        raise ValueError("training images must stand first, each part sorted by file name")
    try:
        folder = paths.cache_folder() / "caltech101"
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(
            f"Caltech-101: no folder to keep the decoded images in ({error}); name a writable one "
            "in $SPARSECONV_CACHE"
        ) from error
    cached = _read_cache(folder, entries)
    if cached is not None:
        return cached
    try:
        held = filelock.FileLock(folder / "lock").acquire()
    except OSError as error:
        raise _unwritable(folder, entries, error) from error
    with held:  # whoever waited for it finds the work done
        if _read_cache(folder, entries) is None:
            with _source(folder, entries, progress) as (name, read):
                _write_cache(folder, entries, name, read, progress)
    cached = _read_cache(folder, entries)
    if cached is None:
        raise DataError(
            f"{folder}: what was just written there does not read back; check the disk, or name "
            "another folder in $SPARSECONV_CACHE"
        )
    return cached


# The cache: pixels.npy, and pixels.json that says what it must hold. The latter is written last.


def _expected(entries: tuple[Entry, ...]) -> dict[str, object]:
    return {
        "version": CACHE_VERSION,
        "side": SIDE,
        "identity": identity(entries),
        "order": split_identity(entries),
    }


def _header(entries: tuple[Entry, ...]) -> bytes:
    """The one header that pixels.npy may have."""
    header = io.BytesIO()
    shape = (len(entries), 3, SIDE, SIDE)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    return header.getvalue()


def _mapped(path: Path, entries: tuple[Entry, ...]) -> np.ndarray:
    """The pixels in a file with the header above; ValueError where they do not fill it."""
    header = _header(entries)
    with path.open("rb") as file:
        if file.read(len(header)) != header:  # np.load would parse a broken one, and trip over it
            raise ValueError(f"{path} has another header")
        # "c": who writes to the array changes no file.
        return np.memmap(
            file, np.uint8, "c", offset=len(header), shape=(len(entries), 3, SIDE, SIDE)
        )


def _unwritable(folder: Path, entries: tuple[Entry, ...], error: OSError) -> DataError:
    return DataError(
        f"Caltech-101: cannot write the decoded images to {folder} ({error}); they take "
        f"{len(entries) * 3 * SIDE**2 / 1e9:.1f} GB: make room, or name another folder in "
        "$SPARSECONV_CACHE"
    )


def _read_cache(folder: Path, entries: tuple[Entry, ...]) -> np.ndarray | None:
    """The cached pixels, or None where they are absent, broken or of another version."""
    try:
        told = json.loads((folder / "pixels.json").read_text(encoding="utf-8"))
        checksum = told.pop("crc32")
        if told != _expected(entries):
            return None
        pixels = _mapped(folder / "pixels.npy", entries)
    except (OSError, ValueError, KeyError, AttributeError, TypeError):  # the latter: other JSON
        return None
    return pixels if _checksum(pixels) == checksum else None


def _checksum(pixels: np.ndarray) -> list[int]:
    """CRC-32 of every CHUNK bytes: it guards against accidents, and 1.3 GB take half a second."""
    flat = pixels.reshape(-1)
    parts = [flat[i : i + CHUNK] for i in range(0, flat.size, CHUNK)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        return list(pool.map(zlib.crc32, parts))


def _write_cache(
    folder: Path,
    entries: tuple[Entry, ...],
    source: str,
    read: Callable[[str], bytes],
    progress: bool | None,
) -> None:
    """Decodes all images in threads and writes them, under other names until all is there."""
    part, told = folder / "pixels.npy.part", folder / "pixels.json.part"
    bar = tqdm(
        total=len(entries),
        desc="decoding Caltech-101",
        unit=" images",
        disable=None if progress is None else not progress,
    )
    try:
        with part.open("wb") as file, ThreadPoolExecutor(usable_cores()) as pool, bar:
            # Written, not mapped: on a full disk a write fails, but a mapped page ends the process.
            file.write(_header(entries))
            for start in range(0, len(entries), 256):  # so that not all files wait in memory
                some = entries[start : start + 256]
                contents = [_checked(source, entry, read) for entry in some]
                for pixels in pool.map(_decode, [entry.file for entry in some], contents):
                    file.write(pixels.tobytes())
                    bar.update()
            file.flush()
            os.fsync(file.fileno())
        checksum = _checksum(_mapped(part, entries))
        told.write_text(json.dumps({**_expected(entries), "crc32": checksum}), encoding="utf-8")
        (folder / "pixels.json").unlink(missing_ok=True)  # it tells of the array that goes now
        os.replace(part, folder / "pixels.npy")
        os.replace(told, folder / "pixels.json")
    except OSError as error:
        raise _unwritable(folder, entries, error) from error
    finally:
        for left in (part, told):
            left.unlink(missing_ok=True)


def _checked(source: str, entry: Entry, read: Callable[[str], bytes]) -> bytes:
    try:
        content = read(entry.file)
    except Exception as error:  # a broken archive raises nearly anything, as below
        raise DataError(
            f"Caltech-101: {source}: {entry.file} cannot be read ({error}); {_REMEDY}"
        ) from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(
            f"Caltech-101: {source}: {entry.file} is broken: its sha256 is not "
            f"{entry.sha256[:12]}…; {_REMEDY}"
        )
    return content


def _decode(file: str, content: bytes) -> np.ndarray:
    """One image, uint8 (3, SIDE, SIDE): grey ones as RGB, both sides resized as the source does."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            # What torchvision's Resize does with an image: bilinear, averaging where it shrinks.
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"Caltech-101: {file} is whole but does not decode ({error}); update Pillow"
        ) from error
    return np.asarray(small).transpose(2, 0, 1)


# Where the images come from: a folder, an archive of them, or CaltechDATA's archive in an archive.

_REMEDY = f"get the data set again, from {PAGE} for example"


@contextmanager
def _source(
    cache: Path, entries: tuple[Entry, ...], progress: bool | None
) -> Iterator[tuple[str, Callable[[str], bytes]]]:
    """(its name, file name -> content) of the first source there is; its list is checked."""
    given = paths.data_folder()
    # os.path: a folder that may not be searched is as good as none, not a PermissionError.
    names = ("caltech101.zip", "caltech-101.zip")
    if given is not None and os.path.isdir(given / "caltech101"):
        try:
            yield str(given / "caltech101"), _folder(given / "caltech101", entries)
        except DataError as error:
            beside = next(filter(os.path.isfile, (given / name for name in names)), None)
            if beside is None or _REMEDY not in str(error):
                raise
            raise DataError(f"{error}; or move that folder away to use {beside}") from error
        return
    places = [folder / name for folder in (given, cache) if folder for name in names]
    archive = next(filter(os.path.isfile, places), None) or _fetch(cache, progress)
    with _opened(archive, entries) as read:
        yield str(archive), read


def _folder(folder: Path, entries: tuple[Entry, ...]) -> Callable[[str], bytes]:
    """Reads below a folder of classes, or below the one folder in it that torchvision makes."""
    inner = folder / "101_ObjectCategories"
    top = inner if inner.is_dir() else folder
    found = [path.relative_to(top).as_posix() for path in top.glob("*/*")]
    _check_files(str(folder), found, entries)
    return lambda file: (top / file).read_bytes()


@contextmanager
def _opened(archive: Path, entries: tuple[Entry, ...]) -> Iterator[Callable[[str], bytes]]:
    with ExitStack() as opened:
        try:
            read = _zip(archive, opened.enter_context(zipfile.ZipFile(archive)), entries)
        except DataError:
            raise
        except Exception as error:  # flipped bytes give IndexError, NotImplementedError, LZMAError
            raise DataError(
                f"Caltech-101: {archive} cannot be read as a whole archive ({error}); delete it "
                f"and {_REMEDY}"
            ) from error
        yield read


def _zip(
    archive: Path, outer: zipfile.ZipFile, entries: tuple[Entry, ...]
) -> Callable[[str], bytes]:
    """Reads from the archive, or from the one in it that CaltechDATA's holds."""
    members = {_inside(archive, info.filename): info for info in outer.infolist()}
    # By its whole name: macOS adds a ._101_ObjectCategories.tar.gz of its own.
    inner = next((name for name in members if PurePosixPath(name).name == INNER), None)
    if inner is not None:
        with outer.open(members[inner]) as file:
            return _tar(archive, file, entries)
    found = {_image(name): info for name, info in members.items() if not info.is_dir()}
    _check_files(str(archive), found, entries)

    def read(file: str) -> bytes:
        with outer.open(found[file]) as member:
            return member.read(LARGEST)

    return read


def _tar(archive: Path, file: IO[bytes], entries: tuple[Entry, ...]) -> Callable[[str], bytes]:
    """All images of the inner archive, in memory: it can be read in its own order only."""
    contents: dict[str, bytes] = {}
    with tarfile.open(fileobj=file, mode="r|gz") as tar:
        for member in tar:
            name = _inside(archive, member.name)
            if not (member.isfile() or member.isdir()):
                raise DataError(
                    f"Caltech-101: {archive}: its member {name!r} is a link or a device; "
                    f"refused. {_REMEDY}"
                )
            stream = tar.extractfile(member)
            if stream is not None and name.endswith(".jpg"):
                contents[_image(name)] = stream.read(LARGEST)
    _check_files(str(archive), contents, entries)
    return contents.__getitem__


def _inside(archive: Path, name: str) -> str:
    """The member's name, or DataError where it would lie outside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DataError(
            f"Caltech-101: {archive}: its member {name!r} points outside the folder; refused. "
            f"{_REMEDY}"
        )
    return name


def _image(name: str) -> str:
    """CLASS/FILE of a member's name, whatever folders stand before it."""
    return "/".join(PurePosixPath(name).parts[-2:])


def _check_files(source: str, found: Iterable[str], entries: tuple[Entry, ...]) -> None:
    """DataError unless every image of the data set is among the files `found`; more may be."""
    there = set(found)
    absent = [entry for entry in entries if entry.file not in there]
    if not absent:
        return
    empty = sorted(set(classes(entries)) - {file.partition("/")[0] for file in there})
    lacks = (
        f"the class{'es' * (len(empty) > 1)} {', '.join(empty[:3])}" if empty else absent[0].file
    )
    raise DataError(
        f"Caltech-101: {source} has {len(entries) - len(absent):,} of {len(entries):,} images; it "
        f"lacks {lacks}{' and more' if len(empty) > 3 or (not empty and len(absent) > 1) else ''}; "
        f"{_REMEDY}"
    )


def _fetch(cache: Path, progress: bool | None) -> Path:
    """CaltechDATA's archive, downloaded into the cache and checked."""
    shown = sys.stderr.isatty() if progress is None else progress
    try:
        import pooch  # not on every machine that trains

        pooch.get_logger().setLevel("WARNING")
        downloader = pooch.HTTPDownloader(progressbar=shown, timeout=ANSWER_SECONDS)
        path = pooch.retrieve(
            URL, f"md5:{URL_MD5}", fname="caltech-101.zip", path=cache, downloader=downloader
        )
    except (ImportError, OSError, ValueError) as error:  # ValueError: of another checksum
        raise DataError(
            f"Caltech-101: no caltech101 or caltech101.zip in $SPARSECONV_DATA "
            f"({paths.data_folder() or 'not set'}), and {URL} could not be had ({error}). Remedy: "
            f"get online and try again ({cache} must have room for it), or get it elsewhere "
            f"({PAGE}) and put the folder of classes as caltech101, or an archive as "
            "caltech101.zip, into a folder named in $SPARSECONV_DATA"
        ) from error
    return Path(path)


def main(arguments: list[str]) -> None:
    """Writes the list of images anew; ends with one line where that cannot be."""
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        sys.exit("usage: python -m sparseconv_lib.study.caltech FOLDER (a folder of classes)")
    try:
        write_manifest(Path(arguments[0]))
    except DataError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
