"""What `make setup` installs: each file by its hash, each under a licence that was read."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import lock
import pytest

ROOT = Path(__file__).resolve().parents[1]
BUILD = {"setuptools", "wheel"}  # what builds packages, which no list of versions names

# Licences under which anyone may use, change and pass on what we install.
ACCEPTED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "MIT",
    "MIT-CMU", "PSF-2.0", "Zlib",
}  # fmt: skip
# As packages wrote it before there were names for licences.
OLD_NAMES = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Package -> (what it says, why it may be used all the same).
ODD = {
    "certifi": ("MPL-2.0", "a list of certificates, used as it is: the licence asks for the source "
                "of changed files of its own alone"),
    "docutils": ("Public Domain / Python Software Foundation License / BSD License / "
                 "GNU General Public License (GPL)", "the GPL is that of a mode for an editor, "
                 "which the installed package does not hold"),
    "hypothesis": ("MPL-2.0", "tests alone use it, unchanged"),
    "pathspec": ("MPL-2.0", "mypy and Black's relatives use it, unchanged"),
    "tqdm": ("MPL-2.0 AND MIT", "unchanged; files of ours beside it are not touched"),
    "torch": ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-2-Clause AND BSD-3-Clause AND "
              "BSL-1.0 AND MIT", "the exception gives more than the licence"),
}  # fmt: skip


def constraints():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {lock.normal(name): version for name, version in pins}


def licence(name):
    """What the installed package says of itself: an expression, else a classifier, else a text."""
    told = metadata.metadata(name)
    if expression := told.get("License-Expression"):
        return expression
    classifiers = [c.split(" :: ")[-1] for c in told.get_all("Classifier") or []
                   if c.startswith("License ::") and c != "License :: OSI Approved"]  # fmt: skip
    text = " / ".join(classifiers) or (told.get("License") or "").split("\n")[0].strip()
    return OLD_NAMES.get(text, text)


def accepted(text):
    return all(
        any(choice in ACCEPTED for choice in re.split(r" OR ", part.strip("()")))
        for part in text.split(" AND ")
    )


@pytest.mark.parametrize("name", sorted(constraints()))
def test_the_licence_of_each_dependency_was_read(name):
    try:
        found = licence(name)
    except metadata.PackageNotFoundError:
        pytest.skip("not installed here")
    if name in ODD:
        assert found == ODD[name][0], "read it again, and say why it may be used"
    else:
        assert accepted(found), f"{name} is under {found!r}: read it, and give a reason in ODD"


def test_the_reading_of_licences():
    assert accepted("MIT AND PSF-2.0") and accepted("GPL-3.0 OR BSD-2-Clause")
    for text in ("GPL-3.0", "MIT AND GPL-3.0", "", "UNKNOWN", "AGPL-3.0 OR GPL-2.0"):
        assert not accepted(text)
    assert set(ODD) <= set(constraints())


def test_the_lock_holds_the_constraints_and_no_more():
    """After a change of pyproject.toml or constraints.txt: `make lock`."""
    locked = lock.read()
    asked = {n: version for n, version in constraints().items() if n not in lock.UNLOCKED}
    assert {n: version for n, (version, _) in locked.items() if n not in BUILD} == asked
    assert set(locked) & BUILD == BUILD
    assert all(len(hashes) == 1 for _, hashes in locked.values())


def test_every_dependency_that_we_name_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [*project["dependencies"], *extras["study"], *extras["book"], *extras["test"]]
    names = {lock.normal(re.match(r"[\w.-]+", text)[0]) for text in named}
    assert names <= set(lock.read()) | lock.UNLOCKED


def test_a_lock_is_read_as_it_is_written(tmp_path):
    def item(name, version, digit):
        archive = {"hashes": {"sha256": digit * 64}}
        return {"metadata": {"name": name, "version": version},
                "download_info": {"archive_info": archive}}  # fmt: skip

    path = tmp_path / "a.lock"
    ours = {"metadata": {"name": "sparseconv_lib", "version": "1"}, "download_info": {}}
    theirs = [item("Some.Thing", "2.0", "a"), item("torch", "9.1+cpu", "c"), item("x", "1", "d")]
    lock.write({"install": [*theirs, ours]}, path)
    assert lock.read(path) == {"some-thing": ("2.0", ["a" * 64]), "x": ("1", ["d" * 64])}


def test_a_file_with_another_hash_is_refused(tmp_path):
    """pip itself, on a package of our own making: the lock's form is one that it enforces."""
    module = tmp_path / "tiny.py"
    module.write_text("x = 1\n")
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    information = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    import zipfile

    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "x = 1\n")
        archive.writestr("tiny-1.0.dist-info/METADATA", information)
        archive.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n"
                                                     "Tag: py3-none-any\n")  # fmt: skip
        archive.writestr("tiny-1.0.dist-info/RECORD", "")
    import hashlib

    right = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for digest, code in ((right, 0), ("0" * 64, 1)):
        path = tmp_path / "tiny.lock"
        report = {"install": [{"metadata": {"name": "tiny", "version": "1.0"}, "download_info":
                               {"archive_info": {"hashes": {"sha256": digest}}}}]}  # fmt: skip
        lock.write(report, path)
        done = subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", tmp_path,
             "--no-deps", "--require-hashes", "-r", path, "--target", tmp_path / "to"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert code == 0 or "DO NOT MATCH THE HASHES" in done.stderr
        shutil.rmtree(tmp_path / "to", ignore_errors=True)
