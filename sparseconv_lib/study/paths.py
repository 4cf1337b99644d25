"""Every folder that the study reads or writes, as an absolute path."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # the checkout: the folder above sparseconv_lib
RESULTS = ROOT / "results"
BOOK = ROOT / "book"
RUNS = BOOK / "runs"
NOTEBOOKS = ROOT / "notebooks"


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
