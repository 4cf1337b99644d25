"""Records and their pages in one archive, to be carried from the machine that made them.

An archive is a `.tar.gz` of plain files under `results` and `book/runs`, as they lie in a checkout,
and of a list of them with their sha256, by which a damaged copy is known. What comes out of one is
checked like what a sweep publishes; no record is overwritten. Pages are shown by the book as they
are, scripts included: unpack only archives that you or yours have packed.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import uuid
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
import numpy as np

from sparseconv_lib.study import records
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.grid import EXPERIMENTS, Page, task_of
from sparseconv_lib.study.paths import QUICKLY, TOP
from sparseconv_lib.study.protocol import TRAINING_IMAGES, ParameterError, preset
from sparseconv_lib.study.records import Record, RecordError

LARGEST = 4 << 20  # bytes of one file; a page has 200 kB at most, pictures of a run somewhat more
MOST = 128 << 20  # bytes of all of them
MANIFEST = "manifest.json"  # path -> sha256 of each file


class CollectError(OneLineError, RuntimeError):
    """An archive that cannot be written or read; the message names the remedy."""


@dataclass
class Collected:
    """What came out of an archive: new records, those already there, and why others did not."""

    new: int = 0
    there: int = 0
    refused: list[str] = field(default_factory=list)


def pack(archive: Path, root: Path = TOP) -> int:
    """Writes every record of `root` with its page to `archive`; returns their number.

    Raises RecordError for a record that cannot be read, and CollectError where `archive` exists.
    """
    if archive.exists():
        raise CollectError(f"{archive} exists; name another file, or --unpack it")
    if not archive.parent.is_dir():
        raise CollectError(f"the folder {archive.parent} does not exist; make it first")
    part = archive.with_name(f"{archive.name}.{uuid.uuid4().hex}.part")
    part.touch()  # before all is read: a place that cannot be written to is told at once
    try:
        files, number = _published(root)
        part.write_bytes(archive_of(files))
        os.replace(part, archive)
    finally:
        part.unlink(missing_ok=True)
    return number


def _published(root: Path) -> tuple[dict[str, bytes], int]:
    """Every file of a published record, its page and example included; and how many records."""
    paths: set[Path] = set()
    number = 0
    for path in sorted((root / "results").glob("*/*/*.json")):
        if ".partial" in path.parts:
            continue
        record = records.read(path)
        if not (root / record.page).is_file():
            continue  # not published, so the sweep will make it again
        number += 1
        paths |= {path, root / record.page}
        paths |= {path.with_suffix(".npz")} & set(path.parent.iterdir())
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(paths)}
    for name, content in files.items():
        if len(content) > LARGEST:
            raise CollectError(f"{name} has {len(content):,} bytes, more than a page or record may")
    return files, number


def archive_of(files: dict[str, bytes]) -> bytes:
    """An archive of these files, and of the list of them."""
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    listed = json.dumps(sums, indent=1).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {MANIFEST: listed, **files}.items():
            member = tarfile.TarInfo(name)  # of no user, and no time
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def unpack(archive: Path, root: Path = TOP) -> Collected:
    """Puts the records of `archive` into `root` with their pages, each page before its records.

    Refused, with a reason, is what is not a whole record with an executed page, or differs from
    what is there. Raises CollectError for what is not such an archive at all.
    """
    files = _files(archive)
    found = Collected()
    pages: dict[str, list[tuple[Record, PurePosixPath]]] = {}
    for path in files:
        if path.suffix == ".json":
            try:
                record = records.parse(files[path], path)
            except RecordError as error:
                found.refused.append(f"{path}: {error}")
                continue
            pages.setdefault(record.page, []).append((record, path))
    for path in files:
        if path.suffix == ".ipynb" and str(path) not in pages:
            found.refused.append(f"{path}: a page without a record; pack it again")
        if path.suffix == ".npz" and path.with_suffix(".json") not in files:
            found.refused.append(f"{path}: without its record; pack it again")
    for page, several in sorted(pages.items()):
        keys = [str(record.key) for record, _ in several]
        try:
            _check_page(page, files)
            for record, path in several:
                _check_training(record)
                _check_example(path.with_suffix(".npz"), files)
            new = [path for _, path in several if not _same(path, files[path], root)]
            if new:
                _check_grown(page, several, root)
        except (CollectError, ParameterError) as error:
            found.refused += [f"{key}: {error}" for key in keys]
            continue
        # The page first, which may have grown, then what chapters draw, then records: so that an
        # interruption leaves nothing that the same command does not finish.
        examples = {path.with_suffix(".npz") for path in new} & files.keys()
        for path in [PurePosixPath(page), *examples, *new] if new else []:
            _write(root / path, files[path])
        found.new += len(new)
        found.there += len(several) - len(new)
    return found


def _files(archive: Path) -> dict[PurePosixPath, bytes]:
    """The files of an archive, which must be those of its list, to the last bit."""
    files: dict[PurePosixPath, bytes] = {}
    try:
        with gzip.open(archive) as file:
            content = file.read(MOST + 1)  # to its end, where gzip checks it
        if len(content) > MOST:
            raise CollectError(f"{archive} is too large: more than {MOST:,} bytes; pack it again")
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                expected = _expected(path) or member.name == MANIFEST
                if not member.isreg() or not expected or path in files:
                    raise CollectError(
                        f"{archive} holds {member.name[:100]!r}, which no sweep makes; pack it "
                        "again with `sparseconv collect`"
                    )
                if member.size > LARGEST:
                    raise CollectError(f"{archive}: {member.name!r} is too large; pack it again")
                inside = tar.extractfile(member)
                assert inside is not None  # of a regular file
                files[path] = inside.read()
        listed = json.loads(files.pop(PurePosixPath(MANIFEST), b"null"))
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, ValueError) as error:
        raise CollectError(f"{archive} is not a whole archive ({error}); copy it again") from None
    if listed != {str(path): hashlib.sha256(text).hexdigest() for path, text in files.items()}:
        raise CollectError(f"{archive} is not what its list says; copy it again, or pack it again")
    return files


def _expected(path: PurePosixPath) -> bool:
    """results/EXPERIMENT/PROTOCOL/NAME.json or .npz, or book/runs/EXPERIMENT/NAME.ipynb."""
    if path.is_absolute() or any(part.startswith(".") for part in path.parts):
        return False
    if path.parts[:1] == ("results",):
        return len(path.parts) == 4 and path.suffix in (".json", ".npz")
    return path.parts[:2] == ("book", "runs") and len(path.parts) == 4 and path.suffix == ".ipynb"


def _check_training(record: Record) -> None:
    """Whether it is one that a sweep can make: its experiment, its protocol, its page."""
    key = record.key
    known = {each.notebook for each in EXPERIMENTS.values()}
    if key.experiment not in known:
        raise CollectError(f"no experiment is called {key.experiment!r}")
    if record.protocol != preset(key.protocol, task_of(key.experiment)):
        raise CollectError(f"made under another {key.protocol} than today's; sweep it again")
    if (
        not QUICKLY
        and record.content["images"]["train"] != TRAINING_IMAGES[record.protocol.dataset]
    ):
        raise CollectError("made by a quick run, of generated images; sweep it again")
    pages = {
        str(Page(key.experiment, key.protocol, key.sparsity, key.seed, (key.network,), apart).path)
        for apart in (False, True)
    }
    if record.page not in pages:
        raise CollectError(f"its page is {record.page}, which is another training's")


def _check_grown(page: str, several: list[tuple[Record, PurePosixPath]], root: Path) -> None:
    """A page at home gives way to one that shows its trainings and more, and to no other."""
    coming = {record.key for record, _ in several}
    experiment = several[0][0].key.experiment
    for record in records.load(experiment, folder=root / "results"):
        if record.page == page and record.key not in coming:
            raise CollectError(f"{page} is there already, with {record.key}; keep one of them")


def _check_page(page: str, files: dict[PurePosixPath, bytes]) -> None:
    content = files.get(PurePosixPath(page))
    if content is None or not _expected(PurePosixPath(page)):
        raise CollectError(f"its page {page} is not in the archive; pack it again")
    try:
        notebook = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # what a parser makes of anything
        raise CollectError(f"{page} is not a notebook ({type(error).__name__})") from None
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if not outputs or any(output.output_type == "error" for output in outputs):
        raise CollectError(f"{page} was not executed to its end; sweep it again")


def _check_example(path: PurePosixPath, files: dict[PurePosixPath, bytes]) -> None:
    if path not in files:
        return
    try:
        with zipfile.ZipFile(io.BytesIO(files[path])) as zipped:
            size = sum(member.file_size for member in zipped.infolist())
        if size > MOST:
            raise ValueError("too large")
        with np.load(io.BytesIO(files[path]), allow_pickle=False) as arrays:
            for name in arrays.files:
                _ = arrays[name].shape
    except Exception as error:
        raise CollectError(f"{path} is not a file of arrays ({type(error).__name__})") from None


def _same(path: PurePosixPath, content: bytes, root: Path) -> bool:
    """Whether the file is there already. Raises CollectError if another is."""
    place = root / path
    if not place.exists():
        return False
    if place.read_bytes() != content:
        raise CollectError(f"{path} is there already, and differs; keep one of them")
    return True


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f"{place.name}.{uuid.uuid4().hex}.part")
    part.write_bytes(content)
    os.replace(part, place)
