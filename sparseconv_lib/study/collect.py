"""Records and their pages in one archive, to be carried from the machine that made them.

An archive is a `.tar.gz` of plain files under `results` and `book/runs`, as they lie in a checkout.
What comes out of one is checked like what a sweep publishes, and nothing is overwritten.
"""

import gzip
import io
import os
import tarfile
import uuid
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import nbformat
import numpy as np

from sparseconv_lib.study import records
from sparseconv_lib.study.errors import OneLineError
from sparseconv_lib.study.paths import ROOT
from sparseconv_lib.study.records import Record, RecordError

LARGEST = 4 << 20  # bytes of one file; a page has 200 kB at most, pictures of a run somewhat more
MOST = 256 << 20  # bytes of all of them


class CollectError(OneLineError, RuntimeError):
    """An archive that cannot be written or read; the message names the remedy."""


@dataclass
class Collected:
    """What came out of an archive: new records, those already there, and why others did not."""

    new: int = 0
    there: int = 0
    refused: list[str] = field(default_factory=list)


def pack(archive: Path, root: Path = ROOT) -> int:
    """Writes every record of `root` with its page to `archive`; returns their number.

    Raises RecordError for a record that cannot be read, and CollectError where `archive` exists.
    """
    if archive.exists():
        raise CollectError(f"{archive} exists; name another file, or --unpack it")
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
    part = archive.with_name(f"{archive.name}.{uuid.uuid4().hex}.part")
    try:
        with tarfile.open(part, "w:gz") as tar:
            for path in sorted(paths):
                tar.add(path, path.relative_to(root).as_posix(), filter=_anonymous)
        os.replace(part, archive)
    finally:
        part.unlink(missing_ok=True)
    return number


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def unpack(archive: Path, root: Path = ROOT) -> Collected:
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
    for page, several in sorted(pages.items()):
        keys = [str(record.key) for record, _ in several]
        try:
            _check_page(page, files)
            for _, path in several:
                _check_example(path.with_suffix(".npz"), files)
            new = [path for _, path in several if not _same(path, files[path], root)]
        except CollectError as error:
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
    """The files of an archive, checked by name, kind and size before any is read."""
    files: dict[PurePosixPath, bytes] = {}
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isreg() or not _expected(path) or path in files:
                    raise CollectError(
                        f"{archive} holds {member.name!r}, which no sweep makes; pack it "
                        "again with `sparseconv collect`"
                    )
                total += member.size
                if member.size > LARGEST or total > MOST:
                    raise CollectError(f"{archive}: {member.name!r} is too large; pack it again")
                content = tar.extractfile(member)
                assert content is not None  # of a regular file
                files[path] = content.read()
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CollectError(f"{archive} is not a whole archive ({error}); copy it again") from None
    return files


def _expected(path: PurePosixPath) -> bool:
    """results/EXPERIMENT/PROTOCOL/NAME.json or .npz, or book/runs/EXPERIMENT/NAME.ipynb."""
    if path.is_absolute() or any(part.startswith(".") for part in path.parts):
        return False
    if path.parts[:1] == ("results",):
        return len(path.parts) == 4 and path.suffix in (".json", ".npz")
    return path.parts[:2] == ("book", "runs") and len(path.parts) == 4 and path.suffix == ".ipynb"


def _check_page(page: str, files: dict[PurePosixPath, bytes]) -> None:
    content = files.get(PurePosixPath(page))
    if content is None or not _expected(PurePosixPath(page)):
        raise CollectError(f"its page {page} is not in the archive; pack it again")
    try:
        notebook = nbformat.reads(content.decode(), as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # what a parser makes of anything
        raise CollectError(f"{page} is not a notebook ({type(error).__name__})") from None
    for cell in notebook.cells:
        if any(output.output_type == "error" for output in cell.get("outputs", [])):
            raise CollectError(f"{page} holds an error; sweep it again")


def _check_example(path: PurePosixPath, files: dict[PurePosixPath, bytes]) -> None:
    if path not in files:
        return
    try:
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
