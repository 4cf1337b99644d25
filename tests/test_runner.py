"""The runner: a page's trainings, in this process or in workers, on generated images."""

import dataclasses
import os

import numpy as np
import pytest
import torch
from test_records import seven_digits

from sparseconv_lib.networks import NETWORKS
from sparseconv_lib.study import (
    data,
    examples,
    figures,
    images,
    provenance,
    records,
    runner,
    training,
)
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.protocol import ParameterError, Protocol, preset
from sparseconv_lib.study.records import Key

TINY = Protocol(epochs=1, batch_size=8)
IMAGES = data.synthetic("mnist", images=32)
KEYS = [Key("mnist", "as_written", network, 0.5, 0) for network in NETWORKS[:3]]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    for name in ("STAGE", "PAGE", "PROCESSES", "COMMIT"):
        monkeypatch.delenv(f"SPARSECONV_{name}", raising=False)
    monkeypatch.setenv("SPARSECONV_COMMIT", "0" * 40)


@pytest.fixture
def stage(monkeypatch, tmp_path):
    monkeypatch.setenv("SPARSECONV_STAGE", str(tmp_path / "stage"))
    monkeypatch.setenv("SPARSECONV_PAGE", "book/runs/mnist/a.ipynb")
    return tmp_path / "stage"


def untimed(record):
    """A record's content without what differs between two equal trainings."""
    content = record.content
    return {
        **content,
        "epochs": [{**epoch, "seconds": 0} for epoch in content["epochs"]],
        "provenance": {**content["provenance"], "seconds": 0, "started": ""},
    }


def count_trainings(monkeypatch):
    """Counts the trainings of this process from now on."""
    trained, train_one = [], runner.train_one

    def counted(key, *arguments):
        trained.append(key)
        return train_one(key, *arguments)

    monkeypatch.setattr(runner, "train_one", counted)
    return trained


def test_what_a_page_is_asked_for():
    asked = runner.asked(
        "caltech", 0, "as_written, epochs=9", "ConvNet, SparseConvNet", 3, 2, "train"
    )
    keys, knobs, training_now = asked
    assert [(key.seed, key.network) for key in keys] == [
        (3, "ConvNet"), (3, "SparseConvNet"), (4, "ConvNet"), (4, "SparseConvNet"),
    ]  # fmt: skip
    assert {(key.experiment, key.protocol, key.sparsity) for key in keys} == {
        ("caltech", "as_written, epochs=9", 0.0)
    }
    assert knobs == preset("as_written, epochs=9", "caltech101") and training_now
    assert runner.asked("mnist", 0.5, "fair", ["ConvNet"], 0, 1, "records")[2] is False


@pytest.mark.parametrize(
    "changes, named",
    [
        (dict(sparsity=1), "sparsity is 1"),
        (dict(protocol="as_wrote"), "protocol is 'as_wrote'"),
        (dict(protocol="as_written, held_out=60000"), "held_out is 60,000, but mnist has 60,000"),
        (dict(networks="LeNet"), "network 'LeNet' does not exist"),
        (dict(seed=-1), "seed is -1"),
        (dict(seeds=0), "seeds is 0"),
        (dict(source="disk"), "source is 'disk'"),
    ],
)
def test_what_no_page_can_do_stops_before_anything_slow(changes, named):
    fine = dict(sparsity=0.5, protocol="fair", networks="ConvNet", seed=0, seeds=1, source="train")
    with pytest.raises(ParameterError, match=named):
        runner.asked("mnist", **{**fine, **changes})


def test_records_are_the_same_in_this_process_and_in_workers():
    here = runner.run(KEYS, TINY, IMAGES, processes=1)
    there = runner.run(KEYS, TINY, IMAGES, processes=2)
    assert list(here) == list(there) == KEYS
    for key in KEYS:
        assert here[key].key == key
        assert untimed(here[key]) == untimed(there[key])
    assert len({here[key].content["epochs"][0]["loss"] for key in KEYS}) == len(KEYS)


def test_a_record_says_what_was_trained_and_where():
    started = torch.get_num_threads()
    (record,) = runner.run(KEYS[:1], TINY, IMAGES).values()
    assert torch.get_num_threads() == started
    content = record.content
    assert records.validated(content, "here") == record
    assert record.protocol == TINY
    assert content["images"] == {"train": 32, "test": 8}
    assert content["identity"]["data"] == IMAGES.identity
    assert content["identity"]["code"] == provenance.code_identity()
    assert content["provenance"]["page"] == "none"
    assert content["provenance"]["commit"] == "0" * 40
    assert len(content["epochs"]) == 1 and len(content["curve"]) == 4  # 32 images in eights
    outcome = training.fit(
        TINY,
        KEYS[0].network,
        0.5,
        0,
        Images(IMAGES.train_images, IMAGES.train_labels),
        Images(IMAGES.test_images, IMAGES.test_labels),
        device="cpu",
    )
    assert list(content["accuracy"]) == ["0.5"]
    if not torch.cuda.is_available():
        assert content["provenance"]["threads"] == 1
        assert record.accuracy == outcome.accuracy[0.5]


def test_masks_are_paired_across_networks_and_differ_with_seed_and_sparsity():
    keys = [*KEYS[:2], Key("mnist", "as_written", "ConvNet", 0.5, 1)]
    keys.append(Key("mnist", "as_written", "ConvNet", 0.6, 0))
    found = runner.run(keys, TINY, IMAGES, processes=1)
    masks = [found[key].content["identity"]["masks"] for key in keys]
    assert masks[0] == masks[1]
    assert len(set(masks[1:])) == 3


def test_by_hand_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(os.listdir(records.RESULTS))
    runner.run(KEYS[:1], TINY, IMAGES)
    assert list(tmp_path.iterdir()) == []
    assert set(os.listdir(records.RESULTS)) == before


def test_what_is_staged_is_not_trained_again(stage, monkeypatch, capsys):
    trained = count_trainings(monkeypatch)
    first = runner.run(KEYS[:2], TINY, IMAGES, processes=1)
    assert trained == KEYS[:2]
    assert records.load("mnist", folder=stage) == [
        records.Record(seven_digits(first[key].content)) for key in sorted(KEYS[:2])
    ]
    assert all(record.page == "book/runs/mnist/a.ipynb" for record in first.values())
    capsys.readouterr()
    again = runner.run(KEYS, TINY, IMAGES, processes=1)
    assert trained == KEYS  # the third only, now
    assert list(again) == KEYS
    assert [again[key].content for key in KEYS[:2]] == [
        seven_digits(first[key].content) for key in KEYS[:2]
    ]
    told = capsys.readouterr()
    assert told.out.count("trained before, at") == 2
    assert str(KEYS[0]) in told.out and str(KEYS[2]) not in told.out


def test_what_was_staged_under_another_protocol_of_that_name_is_trained_again(stage, monkeypatch):
    runner.run(KEYS[:2], TINY, IMAGES, processes=1)
    trained = count_trainings(monkeypatch)
    changed = dataclasses.replace(TINY, learning_rates=(0.5,))
    again = runner.run(KEYS[:2], changed, IMAGES, processes=1)
    assert trained == KEYS[:2]
    assert all(record.protocol == changed for record in again.values())
    assert {record.protocol for record in records.load("mnist", folder=stage)} == {changed}


def test_each_training_is_kept_as_it_ends(stage, monkeypatch):
    train_one = runner.train_one

    def fail_at_the_second(key, *arguments):
        if key == KEYS[1]:
            raise MemoryError
        return train_one(key, *arguments)

    monkeypatch.setattr(runner, "train_one", fail_at_the_second)
    with pytest.raises(MemoryError):
        runner.run(KEYS, TINY, IMAGES, processes=1)
    assert [record.key for record in records.load("mnist", folder=stage)] == KEYS[:1]


def test_a_staged_record_that_was_cut_stops_the_page(stage):
    (record,) = runner.run(KEYS[:1], TINY, IMAGES).values()
    path = record.key.path(stage)
    path.write_text(path.read_text()[:-50])
    with pytest.raises(records.RecordError, match="not a whole record"):
        runner.run(KEYS[:1], TINY, IMAGES)


def test_seed_0_leaves_an_example_and_other_seeds_do_not(stage):
    keys = [KEYS[2], Key("mnist", "as_written", "ConvNet", 0.5, 1)]
    runner.run(keys, TINY, IMAGES, processes=1)
    assert [path.name for path in stage.rglob("*.npz")] == ["SparseConvNet-p0.50-seed0.npz"]
    path = KEYS[2].path(stage).with_suffix(".npz")
    assert path.stat().st_size < 40_000
    with np.load(path, allow_pickle=False) as example:
        content = {name: example[name] for name in example.files}
    test = Images(IMAGES.test_images, IMAGES.test_labels)
    mask = draw_masks(TINY, test, 0.5, 0, "test")[0, 0].numpy()
    assert np.array_equal(content["image"], IMAGES.test_images[0].numpy())
    assert np.array_equal(content["mask"], mask)
    assert content["label"] == int(IMAGES.test_labels[0])
    assert content["probabilities"].shape == (10,)
    assert content["probabilities"].sum() == pytest.approx(1, abs=1e-5)
    maps = content["maps"]
    assert maps.dtype == np.uint8 and maps.ndim == 3 and maps.shape[1:] == (28, 28)
    for name in ("maps_low", "maps_high"):
        assert content[name].shape == maps.shape[:1]
    varied = content["maps_high"] > content["maps_low"]
    assert varied.any()
    assert (maps[varied].min((1, 2)) == 0).all() and (maps[varied].max((1, 2)) == 255).all()


def test_a_bar_is_drawn_where_somebody_looks(monkeypatch, capsys, tmp_path):
    """A bar draws only as often as twice a second, but once when it begins."""
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    runner.run(KEYS[:1], TINY, IMAGES)
    assert capsys.readouterr().err == ""  # no terminal: each step would stay in a saved notebook
    monkeypatch.setenv("JPY_SESSION_NAME", "mnist.ipynb")
    runner.run(KEYS[:1], TINY, IMAGES)
    assert "0 %|" in capsys.readouterr().err
    monkeypatch.setenv("SPARSECONV_STAGE", str(tmp_path))
    runner.run(KEYS[:1], TINY, IMAGES)
    told = capsys.readouterr()
    assert told.err == "" and told.out == ""


def test_the_bar_ends_full(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "mnist.ipynb")
    progress = runner._Progress(KEYS[:2])
    shown = []
    monkeypatch.setattr(progress.bar, "update", lambda n: shown.append(n))
    with progress:
        progress.bar.n = 0
        progress.show(KEYS[0], 0.5)
        progress.show(KEYS[1], 1.0)
    assert shown == [50, 150]


def test_the_number_of_processes(monkeypatch):
    asked = []

    def stand_in(keys, protocol, dataset, processes, progress, stage):
        asked.append(processes)
        return {key: key for key in keys}

    monkeypatch.setattr(runner, "_train_in_processes", stand_in)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(runner, "usable_cores", lambda: 7)
    runner.run(KEYS, TINY, IMAGES)
    monkeypatch.setenv("SPARSECONV_PROCESSES", "3")
    runner.run(KEYS, TINY, IMAGES)
    runner.run(KEYS, TINY, IMAGES, processes=2)
    assert asked == [7, 3, 2]


def test_one_training_on_photographs_has_a_process_that_keeps_freed_memory(monkeypatch):
    apart, stand_in = [], lambda keys, *_: apart.append(keys) or {key: key for key in keys}
    monkeypatch.setattr(runner, "_train_in_processes", stand_in)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    here = count_trainings(monkeypatch)
    monkeypatch.setattr(runner, "keeps_freed_memory", lambda: False)
    photographs = dataclasses.replace(IMAGES, mapped=True)
    runner.run(KEYS[:1], TINY, photographs)
    assert (apart, here) == ([KEYS[:1]], [])
    runner.run(KEYS[:1], TINY, IMAGES)  # digits fit the memory that is at hand
    assert (apart, here) == ([KEYS[:1]], KEYS[:1])
    monkeypatch.setattr(runner, "keeps_freed_memory", lambda: True)  # as in a sweep
    runner.run(KEYS[:1], TINY, photographs)
    assert (apart, here) == ([KEYS[:1]], KEYS[:1] * 2)


def test_a_worker_that_fails_fails_the_page():
    bad = dataclasses.replace(TINY, held_out=32)  # all the images there are
    with pytest.raises(ValueError, match="cannot hold out 32 of 32"):
        runner.run(KEYS[:2], bad, IMAGES, processes=2)


def test_masked_example_shows_what_the_test_sees():
    seen, masks, label, missing = runner.masked_example(IMAGES, TINY, 0, (0.0, 0.5, 0.8))
    for p, mask in masks.items():
        assert np.array_equal(seen[p], IMAGES.test_images[0].numpy() * mask)
    assert missing == "Missing pixels are blue here; the network sees 0."
    assert label == str(int(IMAGES.test_labels[0]))
    test = Images(IMAGES.test_images, IMAGES.test_labels)
    for p, mask in masks.items():
        assert np.array_equal(mask, draw_masks(TINY, test, p, 0, "test")[0, 0].numpy())
    assert masks[0.0].all() and (masks[0.8] <= masks[0.5]).all()


def test_a_photograph_leaves_a_small_example_and_which_images_were_right(stage):
    protocol = dataclasses.replace(
        preset("as_written", "caltech101"), epochs=1, drop_after=0, batch_size=8
    )
    made = data.synthetic("caltech101", images=12)
    photographs = dataclasses.replace(made, name="caltech101", example=2)
    keys = [Key("caltech", "as_written", "SparseConvNet-kept", 0.5, seed) for seed in (0, 1)]
    first, second = runner.run(keys, protocol, photographs, processes=1).values()
    path = keys[0].path(stage).with_suffix(".npz")
    assert list(stage.rglob("*.npz")) == [path] and path.stat().st_size < 60_000
    example = examples.read(path)
    test = Images(photographs.test_images, photographs.test_labels)
    assert np.array_equal(example.mask, draw_masks(protocol, test, 0.5, 0, "test")[2, 0].numpy())
    assert example.image.shape == (3, 224, 224) and example.image.dtype == np.uint8
    assert example.image.flags.writeable  # else torch warns, on the page
    told = example.image.astype(float) - photographs.test_images[2].numpy()
    assert np.abs(told).mean() < 40  # JPEG, of a picture that is mostly noise
    assert example.label == int(photographs.test_labels[2])
    for record in (first, second):
        assert record.correct_at(0.5).shape == (3,)
        assert record.correct_at(0.5).mean() == pytest.approx(record.accuracy)
        assert record.correct_at(0.8) is None
    assert examples.read(path.with_name("none.npz")) is None


def test_a_split_by_seed_leaves_neither(stage):
    protocol = dataclasses.replace(
        preset("as_coded", "caltech101"), epochs=1, drop_after=0, batch_size=8, compounding=False
    )
    key = Key("caltech", "as_coded", "ConvNet", 0.5, 0)
    (record,) = runner.run([key], protocol, data.synthetic("caltech101", images=8)).values()
    assert record.content["identity"]["split"] == "by_seed" and "correct" not in record.content
    assert not list(stage.rglob("*.npz"))


def test_workers_map_a_data_set_that_is_a_file(monkeypatch):
    """Its pixels would not fit through a pipe: each worker loads it by name."""
    asked = []
    monkeypatch.setattr(data, "load", lambda name: asked.append(name) or IMAGES)
    runner._start_worker("caltech101", None)
    assert asked == ["caltech101"] and runner._worker_dataset is IMAGES
    runner._start_worker(IMAGES, None)
    assert asked == ["caltech101"] and runner._worker_dataset is IMAGES


def test_of_compounding_masks_the_picture_shows_what_is_left():
    protocol = dataclasses.replace(TINY, compounding=True)
    _, masks, *_ = runner.masked_example(IMAGES, protocol, 0, (0.0, 0.5))
    assert masks[0.0].mean() == pytest.approx(0.7, abs=0.06)
    assert masks[0.5].mean() < 0.06  # 2.3 % by calculation


PHOTOGRAPHS = data.synthetic("caltech101", images=12)
CALTECH = preset("as_written", "caltech101")


def first_tested(protocol, seed, sparsity):
    """The first test image as `fit` shows it to a network, (3, 224, 224), and its class."""
    train = Images(PHOTOGRAPHS.train_images, PHOTOGRAPHS.train_labels)
    test = Images(PHOTOGRAPHS.test_images, PHOTOGRAPHS.test_labels)
    _, test = images.arrange(protocol, sparsity, seed, train, test)
    masks = draw_masks(protocol, test, sparsity, seed, "test")
    return images.prepare(test, masks, protocol)[0][0].numpy(), str(int(test.labels[0]))


@pytest.mark.parametrize("seed", range(4))  # of the two parts from which the first may come
@pytest.mark.parametrize("compounding", [False, True])
def test_of_a_split_by_seed_the_picture_shows_an_image_that_is_tested(seed, compounding):
    protocol = dataclasses.replace(CALTECH, split="by_seed", compounding=compounding)
    seen, masks, label, _ = runner.masked_example(PHOTOGRAPHS, protocol, seed, (0.5,))
    x, its_class = first_tested(protocol, seed, 0.5)
    assert np.array_equal(seen[0.5], (255 * x).round().astype(np.uint8)) and label == its_class
    assert not seen[0.5][:, ~masks[0.5]].any()


@pytest.mark.parametrize(
    "changes, colour, told",
    [
        ({}, (0, 0, 0), "are black; the network sees 0."),
        (dict(fill=0.2), (51, 51, 51), "are grey; the network sees 0.2."),
        (dict(fill=3.0), (255, 255, 255), "are white; the network sees 3."),
        (
            dict(scaling="imagenet"),
            (124, 116, 104),
            "have ImageNet's mean colour; the network sees 0.",
        ),
        (
            dict(scaling="imagenet", fill=-1.0),
            (65, 59, 46),  # 255 times mean minus deviation
            "have one colour; the network sees -1.",
        ),
    ],
)
def test_the_picture_shows_the_colour_that_the_network_sees(changes, colour, told):
    protocol = dataclasses.replace(CALTECH, **changes)
    seen, masks, _, missing = runner.masked_example(PHOTOGRAPHS, protocol, 0, (0.5,))
    observed, image = masks[0.5], PHOTOGRAPHS.test_images[0].numpy()
    assert np.abs(seen[0.5].astype(int) - image)[:, observed].max() <= 1
    assert {tuple(pixel) for pixel in seen[0.5][:, ~observed].T.tolist()} == {colour}
    assert missing == f"Missing pixels {told}"
    assert told in figures.masked_pictures(seen, masks, "x", missing)
