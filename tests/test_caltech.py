"""Caltech-101: whole images, decoded once. No network; the real archive where it is at hand."""

import collections
import csv
import errno
import gzip
import hashlib
import http.server
import inspect
import io
import json
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st
from PIL import Image

from sparseconv_lib.study import caltech, data, paths
from sparseconv_lib.study.torchvision_compat import torchvision

# Before any test sets the variable to a folder of its own; then as .ci/run looks.
REAL = Path(os.environ.get("SPARSECONV_DATA") or paths.ROOT.parent / "shared" / "data")
TOP = "101_ObjectCategories"
SIZES = [(240, 160), (160, 240), (90, 92), (224, 224), (61, 300), (260, 231)]


def jpeg(number, mode="RGB", size=(8, 8)):
    """A JPEG of its own for every number: stripes and noise, so that order and channels show."""
    rng = np.random.default_rng(number)
    width, height = size
    channels = 3 if mode == "RGB" else 1
    ramp = np.linspace(0, 255, width)[None, :, None] * rng.random(channels)
    pixels = (ramp + rng.integers(0, 80, (height, width, channels))).clip(0, 255).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels if mode == "RGB" else pixels[..., 0]).save(out, "JPEG")
    return out.getvalue()


def small_set(counts, sizes=SIZES):
    """CLASS/image_NNNN.jpg -> its bytes; the images of car_side are grey, as the real ones."""
    files = {}
    for label, count in counts.items():
        for i in range(1, count + 1):
            mode = "L" if label == "car_side" else "RGB"
            content = jpeg(len(files), mode, sizes[len(files) % len(sizes)])
            files[f"{label}/image_{i:04d}.jpg"] = content
    return files


FILES = small_set({"Faces": 5, "Faces_easy": 5, "accordion": 6, "car_side": 4, "schooner": 6})
OTHERS = {  # none of them an image of the data set
    f"{caltech.BACKGROUND}/image_0001.jpg": jpeg(99),
    f"{caltech.BACKGROUND}/tmp": b"no image",
    "accordion/Thumbs.db": b"no image",
    "readme.txt": b"no image",
}


def lay(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def zipped(path, members, compression=zipfile.ZIP_STORED):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def tarred(members, more=()):
    """A .tar.gz. more: further members without content, as tarfile.TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in more:
            tar.addfile(info)
    return out.getvalue()


def below(top, files):
    return {f"{top}/{name}": content for name, content in files.items()}


# The sources: (folder named in $SPARSECONV_DATA, files) -> None


def a_folder(given, files):
    lay(given / "caltech101", files)


def a_folder_of_torchvision(given, files):
    lay(given / "caltech101" / TOP, files)
    lay(given / "caltech101" / "Annotations", {"Faces_2/annotation_0001.mat": b""})


def an_archive(given, files):
    zipped(given / "caltech101.zip", below(TOP, files))


def an_archive_of_classes(given, files):
    zipped(given / "caltech101.zip", files, zipfile.ZIP_DEFLATED)


def the_archive_of_caltechdata(given, files):
    members = {
        f"__MACOSX/caltech-101/._{caltech.INNER}": b"what macOS adds",
        "caltech-101/Annotations.tar": b"",
        f"caltech-101/{caltech.INNER}": tarred(below(TOP, files)),
    }
    zipped(given / "caltech-101.zip", members)


SOURCES = [
    a_folder,
    a_folder_of_torchvision,
    an_archive,
    an_archive_of_classes,
    the_archive_of_caltechdata,
]
THREE = [a_folder, an_archive, the_archive_of_caltechdata]


def manifest_of(files, tmp_path):
    lay(tmp_path / "listed", files)
    caltech.write_manifest(tmp_path / "listed", tmp_path / "manifest.csv")
    return caltech.read_manifest(tmp_path / "manifest.csv")


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    """The small set's manifest."""
    return manifest_of(FILES | OTHERS, tmp_path_factory.mktemp("manifest"))


@pytest.fixture(scope="module")
def expected(entries):
    """Its pixels as torchvision resizes them, (N, 3, 224, 224)."""
    return resized([FILES[entry.file] for entry in entries])


def resized(contents):
    resize = torchvision.transforms.Resize((224, 224))
    pixels = []
    for content in contents:
        image = np.asarray(resize(Image.open(io.BytesIO(content))))
        pixels.append(np.stack([image] * 3) if image.ndim == 2 else image.transpose(2, 0, 1))
    return np.stack(pixels)


FEW = 7  # images, for tests that decode them often


@pytest.fixture(scope="module")
def few(entries):
    return entries[:FEW]


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """An empty cache, no data folder, no way out."""
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARSECONV_DATA", raising=False)
    monkeypatch.setattr(caltech, "URL", "http://127.0.0.1:1/nobody/listens/here.zip")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def cache(tmp_path):
    """Where the pixels will lie; not there yet."""
    return tmp_path / "cache" / "caltech101"


@pytest.fixture
def given(monkeypatch, tmp_path):
    """$SPARSECONV_DATA, empty."""
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("SPARSECONV_DATA", str(folder))
    return folder


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, in no order."""
    names, decode = [], caltech._decode

    def spy(file, content):
        names.append(file)
        return decode(file, content)

    monkeypatch.setattr(caltech, "_decode", spy)
    return names


def load(entries):
    return caltech.load_pixels(entries, progress=False)


def refused(entries, *parts):
    """The message of the DataError: one line with these parts; nothing half-written is left."""
    with pytest.raises(data.DataError) as caught:
        load(entries)
    message = str(caught.value)
    assert "\n" not in message and message.startswith("Caltech-101: ")
    for part in parts:
        assert part in message
    assert kept() <= {"lock"}
    return message


def kept():
    folder = Path(os.environ["SPARSECONV_CACHE"], "caltech101")
    return set(os.listdir(folder)) if folder.is_dir() else set()


AGAIN = f"get the data set again, from {caltech.PAGE} for example"
BOTH_REMEDIES = ("get online and try again", caltech.PAGE, "$SPARSECONV_DATA")


# The committed manifest


def committed():
    with caltech.MANIFEST.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_manifest_lists_the_images_of_the_101_classes():
    rows, listed = committed(), caltech.read_manifest()
    assert [(e.file, e.sha256, e.part) for e in listed] == [tuple(row.values()) for row in rows]
    assert len(listed) == len({entry.file for entry in listed}) == 8677
    names = caltech.classes(listed)
    assert len(names) == 101 and caltech.BACKGROUND not in names
    assert names == tuple(sorted({row["file"].split("/")[0] for row in rows}))
    assert all(len(bytes.fromhex(entry.sha256)) == 32 for entry in listed)


def test_training_images_stand_first_each_part_by_file_name():
    parts = [entry.part for entry in caltech.read_manifest()]
    assert parts == ["train"] * 6941 + ["test"] * 1736
    files = [entry.file for entry in caltech.read_manifest()]
    assert files[:6941] == sorted(files[:6941]) and files[6941:] == sorted(files[6941:])


def at_hand(name):
    if not (REAL / name).is_file():
        pytest.skip(f"no {name} in $SPARSECONV_DATA")
    return REAL / name


def test_the_manifest_has_the_sums_of_the_real_files():
    lines = at_hand("caltech101.sha256").read_text("utf-8").splitlines()
    sums = {name.split("/", 1)[1]: digest for digest, name in (line.split() for line in lines)}
    there = {name: sums[name] for name in sums if not name.startswith(caltech.BACKGROUND)}
    assert {entry.file: entry.sha256 for entry in caltech.read_manifest()} == there


def test_the_manifest_has_the_counts_of_the_real_classes():
    counts = json.loads(at_hand("caltech101_counts.json").read_text("utf-8"))
    del counts[caltech.BACKGROUND]
    assert collections.Counter(entry.label for entry in caltech.read_manifest()) == counts


# The split


def test_the_committed_split_is_the_stratified_one():
    listed = caltech.read_manifest()
    test = {entry.file for entry in listed if entry.part == "test"}
    assert caltech.stratified_test(entry.file for entry in listed) == test


def test_every_class_gives_a_fifth_and_twins_stay_together():
    listed = caltech.read_manifest()
    test = {entry.file for entry in listed if entry.part == "test"}
    by_class = collections.defaultdict(list)
    for entry in listed:
        by_class[entry.label].append(entry.file)
    for files in by_class.values():
        assert abs(len(test.intersection(files)) - len(files) / 5) < 1
    faces = by_class["Faces"]
    assert len(faces) == len(by_class["Faces_easy"]) == 435
    for file in faces:
        assert (file in test) == (file.replace("Faces/", "Faces_easy/") in test)


@settings(max_examples=60, deadline=None)
@for_all(
    counts=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 40), max_size=8),
    twins=st.integers(1, 6),
    seed=st.integers(0, 5),
    shuffled=st.randoms(use_true_random=False),
)
def test_any_split_is_stratified(counts, twins, seed, shuffled):
    counts |= {"Faces": 5 * twins, "Faces_easy": 5 * twins}  # no remainder, as in the data set
    files = [f"{label}/image_{i:04d}.jpg" for label, n in counts.items() for i in range(n)]
    test = caltech.stratified_test(files, seed)
    assert test <= set(files) and len(test) == math.ceil(len(files) / 5)
    taken = collections.Counter(file.split("/")[0] for file in test)
    up = [n % 5 for label, n in counts.items() if taken[label] == n // 5 + 1]
    down = [n % 5 for label, n in counts.items() if taken[label] == n // 5]
    assert len(up) + len(down) == len(counts)
    assert min(up, default=5) >= max(down, default=0)  # the largest remainders are rounded up
    faces = {file.split("/")[1] for file in test if file.startswith("Faces/")}
    assert faces == {file.split("/")[1] for file in test if file.startswith("Faces_easy/")}
    shuffled.shuffle(files)
    assert caltech.stratified_test(iter(files), seed) == test


@pytest.mark.parametrize(
    "counts",
    [
        {"Faces": 6, "Faces_easy": 6},  # one of the two would get the remainder
        {"Faces": 5, "Faces_easy": 10},
        {"Faces_easy": 5, "accordion": 5},
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_twins_that_would_be_parted_stop_the_split(counts, seed):
    files = [f"{label}/image_{i:04d}.jpg" for label, n in counts.items() for i in range(n)]
    with pytest.raises(data.DataError, match="Faces_easy and Faces must hold the same photographs"):
        caltech.stratified_test(files, seed)


def test_another_seed_gives_another_split():
    files = [entry.file for entry in caltech.read_manifest()]
    one, other = caltech.stratified_test(files, 0), caltech.stratified_test(files, 1)
    assert len(one) == len(other)
    assert 0.1 < len(one & other) / len(one) < 0.3  # as many in common as by chance: a fifth


# Making a manifest


def test_a_manifest_lists_the_images_below_a_folder(entries):
    assert {entry.file for entry in entries} == set(FILES)  # no background, no stray file
    for entry in entries:
        assert entry.sha256 == hashlib.sha256(FILES[entry.file]).hexdigest()
    test = caltech.stratified_test(FILES)
    order = [entry.file for entry in entries]
    assert order == sorted(set(FILES) - test) + sorted(test)
    assert [entry.part for entry in entries] == ["train"] * 20 + ["test"] * 6
    names = ("Faces", "Faces_easy", "accordion", "car_side", "schooner")
    assert caltech.classes(entries) == names


def test_the_command_that_lists_says_what_it_wants(tmp_path, monkeypatch):
    monkeypatch.setattr(caltech, "MANIFEST", tmp_path / "none.csv")
    for arguments in ([], [str(tmp_path / "nowhere")], [str(tmp_path)] * 2):
        with pytest.raises(SystemExit) as ended:
            caltech.main(arguments)
        assert ended.value.code.startswith("usage: python -m sparseconv_lib.study.caltech FOLDER")
    lay(tmp_path, {"Faces_easy/image_0001.jpg": b""})
    with pytest.raises(SystemExit, match="must hold the same photographs"):
        caltech.main([str(tmp_path)])


def test_identity_tells_of_files_and_split_identity_of_parts(entries):
    other = {"train": "test", "test": "train"}
    swapped = [replace(entry, part=other[entry.part]) for entry in entries]
    changed = [replace(entries[0], sha256="0" * 64), *entries[1:]]
    assert caltech.identity(entries) == caltech.identity(entries[::-1])
    assert caltech.identity(entries) == caltech.identity(swapped) != caltech.identity(changed)
    assert caltech.split_identity(entries) == caltech.split_identity(changed)
    assert caltech.split_identity(entries) != caltech.split_identity(swapped)
    sums = sorted(f"{entry.sha256}  {entry.file}" for entry in entries)
    written = "".join(f"{line}\n" for line in sums).encode()
    assert caltech.identity(entries) == hashlib.sha256(written).hexdigest()


# Decoding


def test_pixels_are_what_torchvision_makes_of_the_images(given, entries, expected):
    a_folder(given, FILES | OTHERS)
    pixels = load(entries)
    assert pixels.shape == (26, 3, 224, 224) and pixels.dtype == np.uint8
    assert np.array_equal(pixels, expected)


def test_pixels_are_those_of_torchvisions_own_data_set(given, entries):
    """It reads the same folder, and leaves the background out too."""
    a_folder_of_torchvision(given, FILES)
    (given / "caltech101" / TOP / caltech.BACKGROUND).mkdir()
    theirs = torchvision.datasets.Caltech101(
        given, transform=torchvision.transforms.Resize((224, 224))
    )
    names = caltech.classes(entries)
    assert theirs.categories == list(names) and len(theirs) == len(entries)
    pixels = load(entries)
    for i in sorted(range(len(entries)), key=lambda i: entries[i].file):
        label, image = entries[i].file.split("/")
        (number,) = [
            n
            for n, (y, index) in enumerate(zip(theirs.y, theirs.index, strict=True))
            if names[y] == label and image == f"image_{index:04d}.jpg"
        ]
        picture, _ = theirs[number]
        assert np.array_equal(pixels[i], np.asarray(picture.convert("RGB")).transpose(2, 0, 1))


def test_grey_images_have_three_equal_channels_and_colour_keeps_its_order(given, tmp_path):
    files = {"car_side/image_0001.jpg": FILES["car_side/image_0001.jpg"]}
    for name, colour in (("a", (250, 120, 10)), ("b", (10, 250, 120))):
        out = io.BytesIO()
        Image.new("RGB", (50, 70), colour).save(out, "JPEG", subsampling=0, quality=95)
        files[f"{name}/image_0001.jpg"] = out.getvalue()
    entries = manifest_of(files, tmp_path)
    a_folder(given, files)
    found = dict(zip([entry.label for entry in entries], load(entries), strict=True))
    grey = found["car_side"]
    assert np.array_equal(grey[0], grey[1]) and np.array_equal(grey[0], grey[2])
    assert grey.std() > 10
    for name, colour in (("a", (250, 120, 10)), ("b", (10, 250, 120))):
        assert np.abs(found[name].mean((1, 2)) - colour).max() < 4


def test_entries_in_another_order_are_refused(given, entries):
    a_folder(given, FILES)
    with pytest.raises(ValueError, match="training images must stand first"):
        load(entries[::-1])


# Where it comes from


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_pixels(source, given, entries, expected, cache):
    source(given, FILES | OTHERS)
    before = {path: path.stat().st_mtime_ns for path in (given, *given.rglob("*"))}
    assert np.array_equal(load(entries), expected)
    assert {path: path.stat().st_mtime_ns for path in (given, *given.rglob("*"))} == before
    assert kept() <= {"pixels.npy", "pixels.json", "lock"}


def test_an_archive_in_the_cache_is_read(cache, entries, expected):
    the_archive_of_caltechdata(cache, FILES)
    assert np.array_equal(load(entries), expected)


def test_sources_in_order(given, cache, entries, decoded):
    """Each lacks a class of its own, so that the message tells which one was read."""

    def without(label):
        return {name: content for name, content in FILES.items() if not name.startswith(label)}

    the_archive_of_caltechdata(cache, without("schooner"))
    assert "the class schooner" in refused_beside(entries, "caltech-101.zip")
    the_archive_of_caltechdata(given, without("car_side"))
    assert "the class car_side" in refused_beside(entries, "caltech-101.zip")
    an_archive(given, without("accordion"))
    assert "the class accordion" in refused_beside(entries, "caltech-101.zip")
    a_folder(given, without("Faces_easy"))
    assert "the class Faces_easy" in refused_beside(entries, "caltech-101.zip")
    assert decoded == []


def refused_beside(entries, *archives):
    with pytest.raises(data.DataError) as caught:
        load(entries)
    assert kept() <= {"lock", *archives}
    return str(caught.value)


# The download


def archive_bytes(tmp_path):
    the_archive_of_caltechdata(tmp_path / "made", FILES | OTHERS)
    return (tmp_path / "made" / "caltech-101.zip").read_bytes()


@pytest.fixture
def serve(monkeypatch):
    """Starts a CaltechDATA that answers with this, or 404; gives what it was asked for.

    missing: bytes that it announces but does not send.
    """
    servers = []

    def start(content, missing=0):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content) + missing))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        asked = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(caltech, "URL", f"http://127.0.0.1:{server.server_port}/files/it.zip")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_address_and_its_checksum_are_those_that_torchvision_has():
    theirs = inspect.getsource(torchvision.datasets.Caltech101.download)
    assert f'"{caltech.URL_MD5}"' in theirs
    real = inspect.getsource(caltech).split("\nURL = ")[1].splitlines()[0]
    assert real in theirs


def test_what_is_nowhere_is_downloaded_once(
    serve, cache, entries, expected, monkeypatch, tmp_path, capfd
):
    content = archive_bytes(tmp_path)
    monkeypatch.setattr(caltech, "URL_MD5", hashlib.md5(content).hexdigest())
    asked = serve(content)
    assert np.array_equal(load(entries), expected)
    assert asked == ["/files/it.zip"] and (cache / "caltech-101.zip").read_bytes() == content
    assert capfd.readouterr() == ("", "")
    (cache / "pixels.json").unlink()
    assert np.array_equal(caltech.load_pixels(entries, progress=True), expected)
    assert len(asked) == 1  # what was fetched is kept
    assert "decoding Caltech-101: 100%" in capfd.readouterr().err


def test_the_bar_of_the_download_is_on_request(serve, entries, monkeypatch, tmp_path, capfd):
    content = archive_bytes(tmp_path)
    monkeypatch.setattr(caltech, "URL_MD5", hashlib.md5(content).hexdigest())
    serve(content)
    caltech.load_pixels(entries, progress=True)
    first, decoding = capfd.readouterr().err.split("decoding Caltech-101", 1)
    assert "100%" in first and "26/26" in decoding


def test_another_file_at_the_address_is_refused(serve, entries, tmp_path):
    serve(b"<html>sign in</html>")
    refused(entries, "hash", caltech.URL_MD5, caltech.URL, *BOTH_REMEDIES)


def test_a_download_that_stops_halfway_is_refused(serve, entries, monkeypatch, tmp_path):
    content = archive_bytes(tmp_path)
    monkeypatch.setattr(caltech, "URL_MD5", hashlib.md5(content).hexdigest())
    serve(content[:-100], missing=100)
    refused(entries, caltech.URL, *BOTH_REMEDIES)


def test_a_file_gone_from_the_address_gives_the_reason(serve, entries):
    asked = serve(None)
    refused(entries, "404", caltech.URL, *BOTH_REMEDIES)
    assert len(asked) == 1


def test_nothing_anywhere_names_both_remedies(entries, given):
    refused(entries, f"no caltech101 or caltech101.zip in $SPARSECONV_DATA ({given})")
    os.environ.pop("SPARSECONV_DATA")  # the fixture puts it back
    refused(entries, "(not set)", "127.0.0.1", *BOTH_REMEDIES)


def test_a_silent_address_is_given_up_in_time(entries, monkeypatch):
    monkeypatch.setattr(caltech, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(caltech, "URL", address)
        start = time.monotonic()
        refused(entries, address, "timed out", *BOTH_REMEDIES)
    assert time.monotonic() - start < 9  # and not the 10 s of ANSWER_SECONDS, or for ever


def test_without_pooch_a_download_names_both_remedies(entries, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    refused(entries, "pooch", *BOTH_REMEDIES)


def test_given_data_needs_no_pooch(given, entries, expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    an_archive(given, FILES)
    assert np.array_equal(load(entries), expected)


# The cache


def test_what_was_decoded_is_used_again(given, entries, expected, decoded, cache):
    """A second start reads the cache alone: it decodes nothing, and asks for no source."""
    a_folder(given, FILES)
    load(entries)
    assert sorted(decoded) == sorted(FILES)
    assert kept() - {"lock"} == {"pixels.npy", "pixels.json"}
    assert np.array_equal(np.load(cache / "pixels.npy"), expected)
    shutil.rmtree(given)
    assert np.array_equal(load(entries), expected)
    assert len(decoded) == len(FILES)


def test_writing_to_the_pixels_changes_no_file(given, entries, expected, cache):
    a_folder(given, FILES)
    first = load(entries)
    before = (cache / "pixels.npy").read_bytes()
    for pixels in (first, load(entries)):
        pixels[:] = 7
        torch.from_numpy(pixels).add_(1)
        assert (pixels == 8).all()
    del first, pixels
    assert (cache / "pixels.npy").read_bytes() == before
    assert np.array_equal(load(entries), expected)


def flipped(where):
    def change(content):
        content = bytearray(content)
        content[where] ^= 1
        return bytes(content)

    return change


def a_pickle(_):
    out = io.BytesIO()
    np.save(out, np.array([{}], dtype=object), allow_pickle=True)
    return out.getvalue()


def an_npz(_):
    out = io.BytesIO()
    np.savez(out, pixels=np.zeros(3))
    return out.getvalue()


def of_another_shape(content):
    out = io.BytesIO()
    np.save(out, np.load(io.BytesIO(content)).transpose(0, 2, 3, 1))
    return out.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        *(pytest.param(flipped(i), id=f"byte {i} flipped") for i in (0, 9, 12, 60, 128, 10**6, -1)),
        *(pytest.param(lambda x, n=n: x[:n], id=f"cut at {n}") for n in (0, 5, 100, 10**6, -1)),
        pytest.param(lambda x: x[:128] + bytes(len(x) - 128), id="zeroes, as after a power cut"),
        a_pickle,
        an_npz,
        of_another_shape,
    ],
)
def test_broken_cached_pixels_are_decoded_again(change, given, few, expected, decoded, cache):
    a_folder(given, FILES)
    load(few)
    path = cache / "pixels.npy"
    content = path.read_bytes()
    path.write_bytes(change(content))
    assert np.array_equal(load(few), expected[:FEW])
    assert len(decoded) == 2 * FEW
    assert path.read_bytes() == content


def other(**changes):
    return lambda text: json.dumps(json.loads(text) | changes)


def without_checksum(text):
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "crc32"})


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        *(lambda _, x=x: x for x in ("[]", "[1]", "{}", "null", "7", '"x"', "NaN", "\0", "<html>")),
        without_checksum,
        other(crc32=None),
        other(crc32=[0]),
        other(version=caltech.CACHE_VERSION + 1),
        other(side=225),
        other(identity="0" * 64),
        other(order="0" * 16),
        other(more=1),
    ],
)
def test_a_cache_that_tells_of_something_else_is_decoded_again(
    change, given, few, expected, decoded, cache
):
    a_folder(given, FILES)
    load(few)
    path = cache / "pixels.json"
    text = path.read_text("utf-8")
    path.write_text(change(text), "utf-8")
    assert np.array_equal(load(few), expected[:FEW])
    assert len(decoded) == 2 * FEW
    assert path.read_text("utf-8") == text


@pytest.mark.parametrize("name", ["pixels.npy", "pixels.json"])
@pytest.mark.parametrize("instead", ["nothing", "bytes that are no text", "a folder"])
def test_half_a_cache_is_not_used(name, instead, given, few, expected, decoded, cache):
    a_folder(given, FILES)
    load(few)
    (cache / name).unlink()
    if instead == "a folder":  # which no file can replace
        (cache / name).mkdir()
        with pytest.raises(data.DataError, match=r"cannot write .*\$SPARSECONV_CACHE"):
            load(few)
        assert not list(cache.glob("*.part"))
        return
    if instead != "nothing":
        (cache / name).write_bytes(b"\xff\xfe\xfd")
    assert np.array_equal(load(few), expected[:FEW])
    assert len(decoded) == 2 * FEW


def test_another_version_of_the_decoding_decodes_again(given, few, decoded, monkeypatch):
    a_folder(given, FILES)
    load(few)
    monkeypatch.setattr(caltech, "CACHE_VERSION", caltech.CACHE_VERSION + 1)
    load(few)
    load(few)
    assert len(decoded) == 2 * FEW


def test_another_split_or_another_file_decodes_again(given, entries, decoded, tmp_path):
    a_folder(given, FILES)
    load(entries)
    other = {"train": "test", "test": "train"}
    swapped = [replace(entry, part=other[entry.part]) for entry in entries]
    swapped.sort(key=lambda entry: (entry.part == "test", entry.file))
    contents = [FILES[entry.file] for entry in swapped]
    assert np.array_equal(load(tuple(swapped)), resized(contents))
    fewer = entries[1:]
    assert np.array_equal(load(fewer), resized([FILES[entry.file] for entry in fewer]))
    files = FILES | {entries[0].file: jpeg(1000)}
    a_folder(given, files)
    changed = manifest_of(files, tmp_path)
    assert np.array_equal(load(changed), resized([files[entry.file] for entry in changed]))
    assert len(decoded) == 4 * len(FILES) - 1


# Nothing half-written


@pytest.mark.parametrize("death", [KeyboardInterrupt, OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("owner, name", [(os, "fsync"), (Path, "write_text"), (os, "replace")])
def test_interrupted_writing_leaves_nothing(
    owner, name, death, given, few, expected, cache, monkeypatch
):
    a_folder(given, FILES)

    def die(*arguments, **options):
        raise death

    monkeypatch.setattr(owner, name, die)
    if death is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            load(few)
    else:
        refused(few, "No space left", str(cache), "make room", "$SPARSECONV_CACHE")
    assert kept() <= {"lock"}
    monkeypatch.undo()
    monkeypatch.setenv("SPARSECONV_DATA", str(given))
    monkeypatch.setenv("SPARSECONV_CACHE", str(cache.parent))
    assert np.array_equal(load(few), expected[:FEW])


def test_new_pixels_beside_the_old_description_are_never_seen(given, entries, decoded, monkeypatch):
    """Death between the two renamings: what the pixels replace was told of, they are not."""
    a_folder(given, FILES)
    load(entries)
    fewer = entries[1:]
    done, rename = [], os.replace

    def once(source, target):
        if done:
            raise KeyboardInterrupt
        done.append(Path(target).name)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", once)
        with pytest.raises(KeyboardInterrupt):
            load(fewer)
    assert done == ["pixels.npy"] and kept() - {"lock"} == {"pixels.npy"}
    assert np.array_equal(load(fewer), resized([FILES[entry.file] for entry in fewer]))
    assert len(decoded) == 3 * len(FILES) - 2


def test_pixels_are_on_the_disk_before_they_are_told_of(given, entries, monkeypatch, cache):
    done = []
    for name in ("fsync", "replace"):
        call = getattr(os, name)

        def spy(*arguments, name=name, call=call):
            done.append(Path(arguments[-1]).name if name == "replace" else name)
            call(*arguments)

        monkeypatch.setattr(os, name, spy)
    a_folder(given, FILES)
    load(entries)
    assert done[0] == "fsync" and done[-2:] == ["pixels.npy", "pixels.json"]


def test_a_disk_that_is_full_names_the_remedy(given, entries, expected, cache):
    resource = pytest.importorskip("resource")  # not on every system
    a_folder(given, FILES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))  # of the 4 MB that it needs
    try:
        refused(entries, "cannot write", str(cache), "make room", "$SPARSECONV_CACHE")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert np.array_equal(load(entries), expected)


def test_what_does_not_read_back_is_not_handed_out(given, entries, monkeypatch):
    a_folder(given, FILES)
    monkeypatch.setattr(caltech, "_read_cache", lambda folder, entries: None)
    with pytest.raises(data.DataError, match=r"does not read back; check the disk.*SPARSECONV_C"):
        load(entries)


def test_parts_of_a_killed_process_are_not_taken(given, entries, expected, cache):
    a_folder(given, FILES)
    cache.mkdir(parents=True)
    for name in ("pixels.npy", "pixels.json", "caltech-101.zip"):
        (cache / f"{name}.part").write_bytes(b"half")
    assert np.array_equal(load(entries), expected)
    assert kept() - {"lock"} == {"pixels.npy", "pixels.json", "caltech-101.zip.part"}


def test_unusable_cache_names_the_remedy(given, entries, monkeypatch, tmp_path):
    a_folder(given, FILES)
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "file" / "below"))
    refused(entries, "writable one in $SPARSECONV_CACHE")


AS_NOBODY = """
import os, sys
from pathlib import Path
from sparseconv_lib.study import caltech
top = Path(sys.argv[1])
entries = caltech.read_manifest(top / "manifest.csv")
caltech.URL = "http://127.0.0.1:1/nobody.zip"
if os.geteuid() == 0:
    os.setuid(65534)  # no folder is closed to root
for cache, given in (
    ("whole", "nothing"),
    ("empty", "folder"),
    ("open", "folder"),
    ("open1", "closed archive"),
    ("open2", "closed folder"),
    ("open3", "closed"),
):
    os.environ["SPARSECONV_CACHE"] = str(top / cache)
    os.environ["SPARSECONV_DATA"] = str(top / given)
    try:
        print(*caltech.load_pixels(entries, progress=False).shape)
    except caltech.DataError as error:
        print(error)
"""


def test_closed_folders_and_files(entries, monkeypatch):
    """A cache that is whole needs no writing; all else that is closed gives a line."""
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others than us
        top = Path(folder)
        top.chmod(0o755)
        few = dict(list(FILES.items())[:10])
        caltech_csv = manifest_of(few, top)
        a_folder(top / "folder", few)
        an_archive(top / "closed archive", few)
        a_folder(top / "closed folder", few)
        a_folder(top / "closed", few)
        for name in ("whole", "empty", "open", "open1", "open2", "open3"):
            (top / name / "caltech101").mkdir(parents=True)
            if name.startswith("open"):
                (top / name / "caltech101").chmod(0o777)
                (top / name).chmod(0o777)
        monkeypatch.setenv("SPARSECONV_DATA", str(top / "folder"))
        monkeypatch.setenv("SPARSECONV_CACHE", str(top / "whole"))
        load(caltech_csv)
        closed = [
            top / "closed archive" / "caltech101.zip",
            top / "closed folder" / "caltech101" / "Faces",
            top / "closed",
        ]
        for path in closed:
            path.chmod(0)
        for name in ("whole", "empty"):
            (top / name / "caltech101").chmod(0o555)
            (top / name).chmod(0o555)
        try:
            done = subprocess.run(
                [sys.executable, "-c", AS_NOBODY, folder],
                cwd=paths.ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
        finally:
            for path in (*closed, *top.glob("*/caltech101"), *top.iterdir()):
                if path.exists():
                    path.chmod(0o755)
        whole, empty, opened, archive, class_, nothing = done.stdout.splitlines() or [done.stderr]
        assert whole == opened == "10 3 224 224"
        assert "cannot write the decoded images" in empty and "$SPARSECONV_CACHE" in empty
        assert "Permission denied" in archive and "caltech101.zip" in archive and AGAIN in archive
        assert "Faces" in class_ and AGAIN in class_
        assert all(remedy in nothing for remedy in BOTH_REMEDIES)
        assert not list(top.rglob("*.part"))


# Many at once


def test_many_at_once_decode_once(given, entries, expected, decoded):
    a_folder(given, FILES)
    together, look = threading.Barrier(4), caltech._read_cache
    seen = threading.local()

    def all_see_nothing(folder, entries):
        found = look(folder, entries)
        if not hasattr(seen, "first"):
            seen.first = found
            together.wait(timeout=10)  # before any of them decodes
        return found

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(4) as pool:
        patch.setattr(caltech, "_read_cache", all_see_nothing)
        for pixels in pool.map(lambda _: load(entries), range(4)):
            assert np.array_equal(pixels, expected)
    assert sorted(decoded) == sorted(FILES)


ANOTHER_PROCESS = """
import os, sys, filelock
prepared, cache = sys.argv[1:]
with filelock.FileLock(os.path.join(cache, "lock")):
    print("held", flush=True)
    sys.stdin.readline()
    for name in ("pixels.npy", "pixels.json"):
        os.replace(os.path.join(prepared, name), os.path.join(cache, name))
"""


def test_the_work_of_another_process_is_waited_for(
    given, entries, expected, decoded, cache, tmp_path
):
    a_folder(given, FILES)
    load(entries)
    cache.rename(tmp_path / "prepared")
    cache.mkdir()
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path / "prepared"), str(cache)]
    with (
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        assert process.stdout.readline() == "held\n"
        waiting = pool.submit(load, entries)
        time.sleep(0.3)
        assert not waiting.done()
        process.communicate("go on\n", timeout=10)
        assert np.array_equal(waiting.result(timeout=10), expected)
    assert len(decoded) == len(FILES)


def test_who_fails_holds_up_nobody(given, entries, expected):
    a_folder(given, {})
    for _ in range(2):
        refused(entries)
    a_folder(given, FILES)
    with ThreadPoolExecutor(1) as pool:
        assert np.array_equal(pool.submit(load, entries).result(timeout=10), expected)


# What is no data set


def test_an_empty_folder(given, entries):
    (given / "caltech101").mkdir()
    lacks = "has 0 of 26 images; it lacks the classes Faces, Faces_easy, accordion and more"
    refused(entries, str(given / "caltech101"), lacks, AGAIN)


@pytest.mark.parametrize("source", THREE)
def test_missing_classes_are_named(source, given, entries):
    source(given, {name: x for name, x in FILES.items() if "car_side" not in name})
    refused(entries, str(given), "has 22 of 26 images; it lacks the class car_side;", AGAIN)


def test_two_missing_classes_are_both_named(given, entries):
    a_folder(given, {name: x for name, x in FILES.items() if "Faces" not in name})
    refused(entries, "has 16 of 26 images; it lacks the classes Faces, Faces_easy;", AGAIN)


def test_an_archive_beside_a_broken_folder_is_named(given, entries, expected):
    """The folder goes first, and is not passed over in silence."""
    an_archive(given, FILES)
    a_folder(given, {name: x for name, x in FILES.items() if "car_side" not in name})
    way_out = f"or move that folder away to use {given / 'caltech101.zip'}"
    refused(entries, "it lacks the class car_side;", AGAIN, way_out)
    a_folder(given, FILES | {entries[3].file: b"other bytes"})
    refused(entries, f"{entries[3].file} is broken", AGAIN, way_out)
    (given / "caltech101").rename(given / "away")
    assert np.array_equal(load(entries), expected)


@pytest.mark.parametrize("source", THREE)
def test_a_missing_image_is_named(source, given, entries):
    gone = "accordion/image_0003.jpg"
    source(given, {name: x for name, x in FILES.items() if name != gone})
    refused(entries, f"has 25 of 26 images; it lacks {gone};", AGAIN)


def test_of_many_missing_images_the_first_is_named(given, entries):
    a_folder(given, {name: x for name, x in FILES.items() if "_0001" in name})
    gone = next(entry.file for entry in entries if "_0001" not in entry.file)
    refused(entries, f"has 5 of 26 images; it lacks {gone} and more;", AGAIN)


@pytest.mark.parametrize("source", THREE)
@pytest.mark.parametrize(
    "change", [flipped(-1), lambda x: x[:-1], lambda x: x + b"\0", lambda _: b""]
)
def test_an_image_of_other_bytes_is_named(source, change, given, entries, decoded):
    changed = "schooner/image_0006.jpg"
    source(given, FILES | {changed: change(FILES[changed])})
    digest = hashlib.sha256(FILES[changed]).hexdigest()
    refused(entries, str(given), f"{changed} is broken", digest[:12], AGAIN)
    assert changed not in decoded


@pytest.mark.parametrize("content", [b"no image", b"", FILES["Faces/image_0001.jpg"][:2000]])
def test_an_image_that_is_whole_but_does_not_decode(content, given, tmp_path):
    name = "schooner/image_0007.jpg"
    files = FILES | {name: content}
    a_folder(given, files)
    refused(manifest_of(files, tmp_path), f"{name} is whole but does not decode", "update Pillow")


def test_a_member_without_end_is_not_read_to_its_end(given, entries, monkeypatch):
    monkeypatch.setattr(caltech, "LARGEST", 100_000)
    huge = "schooner/image_0006.jpg"
    for source in (an_archive_of_classes, the_archive_of_caltechdata):
        shutil.rmtree(given)
        source(given, FILES | {huge: FILES[huge] + bytes(1 << 24)})
        refused(entries, f"{huge} is broken", AGAIN)


# Broken and hostile archives


@pytest.mark.parametrize("source", [an_archive, the_archive_of_caltechdata])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_a_part_of_an_archive(source, share, given, entries):
    source(given, FILES)
    (archive,) = given.iterdir()
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    refused(entries, f"{archive} cannot be read as a whole archive", "delete it", AGAIN)


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.6, 0.9])
def test_a_part_of_the_archive_in_the_archive(share, given, entries):
    inner = tarred(below(TOP, FILES))
    part = inner[: int(share * len(inner))]
    zipped(given / "caltech-101.zip", {f"caltech-101/{caltech.INNER}": part})
    refused(entries, str(given / "caltech-101.zip"), AGAIN)


@pytest.mark.parametrize("offset, value", [(8, 1), (8, 32), (10, 99)])
def test_an_archive_that_zipfile_does_not_understand(offset, value, given, entries):
    """Encrypted, patched, or compressed in an unknown way, says the table at its end."""
    an_archive(given, FILES)
    content = bytearray((given / "caltech101.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + offset] = value
    (given / "caltech101.zip").write_bytes(content)
    refused(entries, str(given / "caltech101.zip"), AGAIN)


def test_any_broken_archive_is_a_data_error_or_whole(tmp_path):
    """Bytes changed anywhere: never another error, never another image."""
    files = small_set({"a": 2, "b": 2}, sizes=[(8, 8)])
    entries, rng = manifest_of(files, tmp_path), random.Random(0)
    tar = gzip.decompress(tarred(below(TOP, files)))
    archive, outcomes = tmp_path / "archive.zip", collections.Counter()

    def changed(content):
        content = bytearray(content)
        for _ in range(rng.choice([1, 1, 2, 5])):
            content[rng.randrange(len(content))] = rng.choice([0, 255, 57, rng.randrange(256)])
        return bytes(content)

    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, None):
        zipped(archive, below(TOP, files), compression or zipfile.ZIP_STORED)
        whole = archive.read_bytes()
        for _ in range(60):
            if compression is None:
                inner = gzip.compress(changed(tar), 1)
                zipped(archive, {f"caltech-101/{caltech.INNER}": inner})
            else:
                archive.write_bytes(changed(whole))
            try:
                with caltech._opened(archive, entries) as read:
                    found = [caltech._checked(str(archive), entry, read) for entry in entries]
                assert found == [files[entry.file] for entry in entries]
                outcomes["whole"] += 1
            except data.DataError as error:
                one_line = "\n" not in str(error) and caltech.PAGE in str(error)
                outcomes["refused" if one_line else str(error)] += 1
    assert set(outcomes) == {"whole", "refused"}
    assert outcomes["refused"] > 100 and outcomes["whole"] > 0


OUTSIDE = [
    "../escaped.jpg",
    f"{TOP}/../../escaped.jpg",
    f"{TOP}/accordion/..",
    "/tmp/escaped.jpg",
    "..\\escaped.jpg",
    f"{TOP}\\..\\..\\escaped.jpg",
    "\\escaped.jpg",
    "\\\\server\\share\\escaped.jpg",
    "C:/escaped.jpg",
    "C:escaped.jpg",
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_member_outside_the_folder_is_refused(name, given, entries, tmp_path):
    told = (repr(name), "points outside the folder; refused", AGAIN)
    zipped(given / "caltech101.zip", below(TOP, FILES) | {name: jpeg(1)})
    refused(entries, *told)
    (given / "caltech101.zip").unlink()
    inner = tarred(below(TOP, FILES) | {name: jpeg(1)})
    zipped(given / "caltech-101.zip", {f"caltech-101/{caltech.INNER}": inner})
    refused(entries, *told)
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_and_devices_are_refused(kind, given, entries):
    info = tarfile.TarInfo(f"{TOP}/accordion/image_0001.jpg\nand more")
    info.type, info.linkname = getattr(tarfile, kind), "/etc/passwd"
    inner = tarred(below(TOP, FILES), [info])
    zipped(given / "caltech-101.zip", {f"caltech-101/{caltech.INNER}": inner})
    refused(entries, repr(info.name), "link or a device; refused", AGAIN)


def test_an_image_that_is_a_link_to_another_file_is_told_by_its_sum(given, entries, tmp_path):
    a_folder(given, FILES)
    image = given / "caltech101" / "accordion" / "image_0001.jpg"
    image.unlink()
    (tmp_path / "secret").write_bytes(b"secret")
    image.symlink_to(tmp_path / "secret")
    refused(entries, "accordion/image_0001.jpg is broken", AGAIN)
    image.unlink()
    image.symlink_to(tmp_path / "nothing")
    refused(entries, "accordion/image_0001.jpg", AGAIN)


# The data set


def test_load_gives_the_data_set(given, entries, expected, monkeypatch):
    an_archive(given, FILES | OTHERS)
    monkeypatch.setattr(caltech, "read_manifest", lambda: entries)
    found = data.load("caltech101")
    assert found.name == "caltech101"
    assert found.train_images.shape == (20, 3, 224, 224) and found.test_images.shape[0] == 6
    assert found.train_images.dtype == found.test_images.dtype == torch.uint8
    assert np.array_equal(torch.cat([found.train_images, found.test_images]), expected)
    assert found.classes == ("Faces", "Faces_easy", "accordion", "car_side", "schooner")
    labels = [*found.train_labels, *found.test_labels]
    assert [found.classes[i] for i in labels] == [entry.file.split("/")[0] for entry in entries]
    assert found.train_labels.dtype == torch.int64
    test = caltech.stratified_test(FILES)
    assert found.test_labels.bincount().tolist() == [
        sum(file.startswith(f"{name}/") for file in test) for name in found.classes
    ]
    assert found.classes[found.test_labels[found.example]] == "schooner"
    assert "schooner" not in [found.classes[i] for i in found.test_labels[: found.example]]
    assert found.identity == caltech.identity(entries)
    assert found.split == f"stratified-{caltech.split_identity(entries)}"


def test_the_test_images_of_the_committed_split_hold_a_schooner():
    ships = [e for e in caltech.read_manifest() if e.part == "test" and e.label == "schooner"]
    assert len(ships) == 13


# The real archive


def test_the_real_archive_has_the_images_of_the_manifest():
    with zipfile.ZipFile(at_hand("caltech101.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
    found = collections.Counter(name.split("/")[-2] for name in names)
    assert found.pop(caltech.BACKGROUND) == 467
    assert found == collections.Counter(entry.label for entry in caltech.read_manifest())


def test_real_images_are_decoded_as_torchvision_would(monkeypatch):
    archive = at_hand("caltech101.zip")
    if (REAL / "caltech101").exists():
        pytest.skip("$SPARSECONV_DATA has a folder that goes before the archive")
    monkeypatch.setenv("SPARSECONV_DATA", str(REAL))
    listed = caltech.read_manifest()
    grey = next(i for i, entry in enumerate(listed) if entry.label == "car_side")
    some = tuple(listed[i] for i in sorted({grey, *range(0, len(listed), 450)}))
    with zipfile.ZipFile(archive) as file:
        contents = [file.read(f"{TOP}/{entry.file}") for entry in some]
    assert len(some) == 21 and np.array_equal(load(some), resized(contents))


@pytest.mark.parametrize("page", ["README.md", "book/reproduce.md"])
def test_the_size_of_the_decoded_images_is_as_told(page):
    size = len(caltech.read_manifest()) * 3 * caltech.SIDE**2
    assert f"{size / 1e9:.1f} GB" in (paths.ROOT / page).read_text("utf-8")
