"""Archives of records and pages: what is packed comes out again; what is bad stays outside."""

import contextlib
import gzip
import io
import json
import random
import shutil
import tarfile

import nbformat
import numpy as np
import pytest
from test_records import a_record

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import cli, collect, records
from sparseconv_lib.study.collect import CollectError

PAGE = "book/runs/mnist/as_written-p0.50-seed{}.ipynb"


def notebook(text="ran"):
    v4 = nbformat.v4
    cell = v4.new_code_cell("1 + 1", outputs=[v4.new_output("stream", name="stdout", text=text)])
    cell.id = "cell-0"
    return v4.new_notebook(cells=[cell])


def publish(root, seed, networks=NETWORKS, text="ran"):
    """A page with its records, as a sweep leaves them, and an example beside each of seed 0."""
    page = PAGE.format(seed)
    place = root / page
    place.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook(text), place)
    for network in networks:
        record = a_record(network, seed=seed)
        record.content["provenance"]["page"] = page
        path = record.key.path(root / "results")
        if not path.exists():
            records.write(record, root / "results")
        if seed == 0:
            np.savez(path.with_suffix(".npz"), image=np.zeros((2, 2), np.uint8))


@pytest.fixture
def there(tmp_path):
    """The machine that made them: two pages with four records each."""
    root = tmp_path / "there"
    for seed in (0, 1):
        publish(root, seed)
    return root


@pytest.fixture
def home(tmp_path):
    root = tmp_path / "home"
    (root / "results").mkdir(parents=True)
    return root


def files(root):
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def archive_of(path, content):
    """A .tar.gz of name -> bytes, with its list, or of ready TarInfo objects."""
    if not any(isinstance(value, tarfile.TarInfo) for value in content.values()):
        path.write_bytes(collect.archive_of(content))
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, value in content.items():
            if isinstance(value, tarfile.TarInfo):
                tar.addfile(value)
            else:
                member = tarfile.TarInfo(name)
                member.size = len(value)
                tar.addfile(member, io.BytesIO(value))
    return path


def told(found):
    return found.new, found.there, len(found.refused)


def test_what_is_packed_comes_out_whole_and_once(there, home, tmp_path):
    archive = tmp_path / "runs.tar.gz"
    assert collect.pack(archive, there) == 8
    assert told(collect.unpack(archive, home)) == (8, 0, 0)
    assert files(home) == files(there)
    assert told(collect.unpack(archive, home)) == (0, 8, 0)
    assert files(home) == files(there)
    with tarfile.open(archive) as tar:
        assert {m.mtime for m in tar} == {0}
        assert {(m.uid, m.gid, m.uname, m.gname) for m in tar} == {(0, 0, "", "")}
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["runs.tar.gz"]


def test_what_is_not_published_is_not_packed(there, tmp_path):
    (there / PAGE.format(1)).unlink()
    stage = there / "results/.partial/mnist/x/records"
    records.write(a_record(seed=7), stage)
    assert collect.pack(tmp_path / "runs.tar.gz", there) == 4


def test_an_archive_is_not_overwritten(there, tmp_path):
    archive = tmp_path / "runs.tar.gz"
    archive.write_bytes(b"mine")
    with pytest.raises(CollectError, match="exists; name another file"):
        collect.pack(archive, there)
    assert archive.read_bytes() == b"mine"


def test_a_cut_record_is_not_packed(there, tmp_path):
    path = next((there / "results").rglob("*.json"))
    path.write_text(path.read_text()[:-20])
    with pytest.raises(records.RecordError):
        collect.pack(tmp_path / "runs.tar.gz", there)
    assert not list(tmp_path.glob("runs*"))


def test_a_page_that_has_grown_replaces_the_one_at_home(there, home, tmp_path):
    publish(home, 1, NETWORKS[:2], "the first two")
    publish(there, 1, text="all four")
    collect.pack(tmp_path / "a.tgz", there)
    assert told(collect.unpack(tmp_path / "a.tgz", home)) == (6, 2, 0)
    assert "all four" in (home / PAGE.format(1)).read_text()


def test_what_differs_at_home_stays_as_it_is(there, home, tmp_path):
    publish(home, 0)
    path = next((home / "results").rglob("ConvNet-p*.json"))
    content = json.loads(path.read_text())
    content["provenance"]["seconds"] = 1.0
    path.write_text(json.dumps(content))
    before = files(home)
    collect.pack(tmp_path / "a.tgz", there)
    found = collect.unpack(tmp_path / "a.tgz", home)
    assert told(found) == (4, 0, 4)
    assert all("is there already, and differs" in line for line in found.refused)
    assert {name: content for name, content in files(home).items() if name in before} == before


def broken(name, content):
    """Ways in which one file of an archive can be bad."""
    error = notebook()
    error.cells[0].outputs = [
        nbformat.v4.new_output("error", ename="ValueError", evalue="", traceback=[])
    ]
    record = json.loads(content) if name.endswith(".json") else {}
    return {
        ".json": [
            content[:-30],
            b"\xff\xfe",
            b"[" * 100_000,
            b"{}",
            content.replace(b'"seed": 0', b'"seed": 5'),
            content.replace(b'"version": 1', b'"version": 2'),
            json.dumps(record | {"curve": [float("nan")]}).encode(),
            *(
                json.dumps(record | {"provenance": record.get("provenance", {}) | {"page": page}})
                .encode()
                for page in ("/etc/x", PAGE.format(1))
            ),
            json.dumps(record | {"knobs": record.get("knobs", {}) | {"batch_size": 999}}).encode(),
        ],
        ".ipynb": [
            content[:-30], b"{}", nbformat.writes(error).encode(),
            nbformat.writes(nbformat.v4.new_notebook()).encode(),
        ],
        ".npz": [content[:-30], b"PK", pickled(), bomb()],
    }[name[name.rindex("."):]]  # fmt: skip


def bomb():
    file = io.BytesIO()
    np.savez_compressed(file, image=np.zeros(collect.MOST + 1, np.uint8))
    return file.getvalue()


def pickled():
    file = io.BytesIO()
    np.savez(file, image=np.array([{"an": "object"}], dtype=object))
    return file.getvalue()


def test_what_is_broken_is_refused_and_the_rest_comes_out(there, home, tmp_path):
    whole = files(there)
    tried = 0
    for name, content in whole.items():
        if "seed0" not in name:
            continue
        for bad in broken(name, content):
            tried += 1
            archive = archive_of(tmp_path / f"{tried}.tgz", {**whole, name: bad})
            root = home / str(tried)
            root.mkdir()
            found = collect.unpack(archive, root)
            assert found.refused and found.new >= 3, (name, bad[:50])
            made = files(root)
            assert made.items() <= whole.items()
            assert name not in made  # and each record that is there has its page
            for path in (root / "results").rglob("*.json"):
                assert (root / records.read(path).page).exists()
    assert tried == 4 * 10 + 4 + 4 * 4


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../results/mnist/as_written/x.json",
        "results/mnist/../../x.json",
        "results/mnist/as_written/x.py",
        "results/verdicts.toml",
        "results/.partial/mnist/x.json",
        "book/runs/mnist/x.py",
        "book/intro.md",
        "sparseconv_lib/__init__.py",
        "Makefile",
    ],
)
def test_a_name_that_no_sweep_makes(there, home, tmp_path, name):
    archive = archive_of(tmp_path / "a.tgz", {**files(there), name: b"x"})
    with pytest.raises(CollectError, match="which no sweep makes"):
        collect.unpack(archive, home)
    assert files(home) == {}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_the_like(there, home, tmp_path, kind):
    member = tarfile.TarInfo("results/mnist/as_written/x.json")
    member.type, member.linkname = kind, "/etc/passwd"
    archive = archive_of(tmp_path / "a.tgz", {**files(there), "x": member})
    with pytest.raises(CollectError, match="which no sweep makes"):
        collect.unpack(archive, home)
    assert files(home) == {}


def test_a_bomb(home, tmp_path, monkeypatch):
    name = "results/mnist/as_written/x.json"
    archive = archive_of(tmp_path / "a.tgz", {name: bytes(collect.LARGEST + 1)})
    assert archive.stat().st_size < 10_000
    with pytest.raises(CollectError, match="too large"):
        collect.unpack(archive, home)
    monkeypatch.setattr(collect, "MOST", 1000)  # of all together, before any is looked at
    archive = archive_of(tmp_path / "b.tgz", {f"{name[:-5]}{i}.json": b"x" * 300 for i in range(4)})
    with pytest.raises(CollectError, match="too large"):
        collect.unpack(archive, home)
    monkeypatch.setattr(collect, "LARGEST", 10)
    publish(home, 0)
    with pytest.raises(CollectError, match="more than a page or record may"):
        collect.pack(tmp_path / "c.tgz", home)


def test_any_flipped_bit_is_noticed(there, home, tmp_path):
    """Also where compression left the content as it was, and where a header of a file is hit."""
    whole = tmp_path / "whole.tgz"
    collect.pack(whole, there)
    packed = whole.read_bytes()
    unpacked = gzip.decompress(packed)
    damaged = tmp_path / "damaged.tgz"
    generator = random.Random(0)
    for content, pack in ((packed, bytes), (unpacked, gzip.compress)):
        for _ in range(60):
            at, bit = generator.randrange(10, len(content)), 1 << generator.randrange(8)
            if content is unpacked and not any(content[at // 512 * 512 :]):
                continue  # the zeros that fill up a tar's end say nothing
            changed = bytearray(content)
            changed[at] ^= bit
            damaged.write_bytes(pack(bytes(changed)))
            try:
                found = collect.unpack(damaged, home)
            except CollectError:
                assert files(home) == {}
            else:  # where a bit of a time or a mode was hit
                assert told(found)[0] == 8 and files(home) == files(there)
                shutil.rmtree(home / "results")
                shutil.rmtree(home / "book")
    for cut in range(0, len(unpacked), 2048):
        damaged.write_bytes(gzip.compress(unpacked[:cut]))
        with contextlib.suppress(CollectError):
            assert told(collect.unpack(damaged, home)) == (8, 0, 0)  # only its end was lost
            break
    damaged.write_bytes(packed + packed)
    with contextlib.suppress(CollectError):
        assert told(collect.unpack(damaged, home))[2] == 0


def test_a_page_that_shows_other_trainings_does_not_replace_the_one_at_home(there, home, tmp_path):
    publish(home, 1, NETWORKS[:2], "the first two")
    for path in (there / "results").rglob("*.json"):
        if records.read(path).key.network in NETWORKS[:2]:
            path.unlink()
    before = files(home)
    collect.pack(tmp_path / "a.tgz", there)
    found = collect.unpack(tmp_path / "a.tgz", home)
    assert found.new == 2  # of seed 0, whose page is not there
    assert len(found.refused) == 2 and "keep one of them" in found.refused[0]
    assert before.items() <= files(home).items()


def test_what_belongs_to_no_record_is_told(there, home, tmp_path):
    stray = {
        "book/runs/mnist/as_written-p0.70-seed0.ipynb": nbformat.writes(notebook()).encode(),
        "results/mnist/as_written/x.npz": b"PK",
    }
    archive = archive_of(tmp_path / "a.tgz", {**files(there), **stray})
    found = collect.unpack(archive, home)
    assert told(found) == (8, 0, 2) and files(home) == files(there)


def test_one_name_twice(there, home, tmp_path):
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tar:
        for _ in range(2):
            tar.add(there / PAGE.format(0), PAGE.format(0))
    with pytest.raises(CollectError, match="which no sweep makes"):
        collect.unpack(tmp_path / "a.tgz", home)


def test_what_is_no_archive(there, tmp_path, home):
    whole = tmp_path / "whole.tgz"
    collect.pack(whole, there)
    content = whole.read_bytes()
    for i, bad in enumerate((b"", b"text", content[: len(content) // 2], gzip.compress(b"text"))):
        path = tmp_path / f"{i}.tgz"
        path.write_bytes(bad)
        with pytest.raises(CollectError, match="copy it again"):
            collect.unpack(path, home)
    assert files(home) == {}


def test_the_command(there, home, tmp_path, capsys, monkeypatch):
    archive = str(tmp_path / "a.tgz")
    pack, unpack = collect.pack, collect.unpack
    monkeypatch.setattr(collect, "pack", lambda path: pack(path, there))
    monkeypatch.setattr(collect, "unpack", lambda path: unpack(path, home))
    assert cli.main(["collect", archive]) == 0
    assert capsys.readouterr().out == f"8 records in {archive}\n"
    assert cli.main(["collect", archive, "--unpack"]) == 0
    assert capsys.readouterr().out == "8 new, 0 there already, 0 refused\n"
    assert cli.main(["collect", archive]) == 1
    assert "name another file" in capsys.readouterr().err
    next((home / "results").rglob("*.json")).write_text("{}")
    assert cli.main(["collect", archive, "--unpack"]) == 1
    assert "refused: " in capsys.readouterr().err
    assert cli.main(["collect", str(tmp_path / "none"), "--unpack"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("sparseconv: ") and error.count("\n") == 1
