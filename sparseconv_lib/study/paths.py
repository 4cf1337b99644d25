"""Every folder that the study reads or writes, as an absolute path."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout: the folder above sparseconv_lib
PUBLISHED = (ROOT / "results", ROOT / "book" / "runs")
QUICK = ROOT / "_build" / "quick"  # where `make quick` keeps everything of its own
QUICKLY = os.environ.get("SPARSECONV_QUICK", "") not in ("", "0")
TOP = QUICK if QUICKLY else ROOT  # the folder above what is recorded
RESULTS = TOP / "results"
BOOK = TOP / "book"
RUNS = BOOK / "runs"
NOTEBOOKS = ROOT / "notebooks"


def check_apart(path: Path) -> None:
    """Under $SPARSECONV_QUICK nothing is written among what is published: RuntimeError."""
    if QUICKLY and any(path.resolve().is_relative_to(folder.resolve()) for folder in PUBLISHED):
        raise RuntimeError(
            f"{path} is published, and $SPARSECONV_QUICK is set: a quick run has a folder of its "
            "own; unset it"
        )


def data_folder() -> Path | None:
    """The folder named by `$SPARSECONV_DATA`, or None; it may be read-only and is never written."""
    named = os.environ.get("SPARSECONV_DATA")
    return Path(named).expanduser().absolute() if named else None


def cache_folder() -> Path:
    """The folder for downloads: `$SPARSECONV_CACHE`, else the user's cache. Created on demand.

    Raises OSError where it cannot be created.
    """
    named = os.environ.get("SPARSECONV_CACHE")
    if not named:
        import platformdirs  # here, since it is needed only where no folder was named

        named = platformdirs.user_cache_dir("sparseconv")
    folder = Path(named).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
