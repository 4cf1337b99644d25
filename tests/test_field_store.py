"""Fields that are kept: each drawn once, the oldest given up, and those ahead in other threads."""

import threading

import pytest
import torch

from sparseconv_lib.study import data, field_store, images
from sparseconv_lib.study.field_store import FieldStore
from sparseconv_lib.study.images import Images, draw_masks
from sparseconv_lib.study.protocol import Protocol

CPU = torch.device("cpu")


def drawing(asked, name, size=4):
    def draw():
        asked.append((name, threading.current_thread()))
        return torch.full((size,), float(ord(name)))

    return draw


def test_a_field_is_drawn_once():
    asked, store = [], FieldStore(limit=100)
    first = store.get("a", drawing(asked, "a"), CPU)
    assert store.get("a", drawing(asked, "b"), CPU) is first
    assert [name for name, _ in asked] == ["a"]
    assert store.bytes == 16


def test_what_was_used_last_is_kept():
    asked, store = [], FieldStore(limit=32)  # two of them
    for name in "abac":
        store.get(name, drawing(asked, name), CPU)
    assert store.bytes == 32
    store.get("a", drawing(asked, "a"), CPU)
    store.get("b", drawing(asked, "b"), CPU)  # given up for c
    assert [name for name, _ in asked] == ["a", "b", "c", "b"]


def test_one_that_is_larger_than_the_limit_is_given_all_the_same():
    store = FieldStore(limit=1)
    assert store.get("a", drawing([], "a"), CPU).shape == (4,)
    assert store.bytes == 16


def test_fields_ahead_are_drawn_in_other_threads_and_not_again():
    asked, store = [], FieldStore(limit=100)
    store.ahead({name: drawing(asked, name) for name in "ab"})
    store.ahead({"a": drawing(asked, "a")})
    assert store.get("a", drawing(asked, "x"), CPU)[0] == ord("a")
    assert store.get("b", drawing(asked, "x"), CPU)[0] == ord("b")
    assert sorted(name for name, _ in asked) == ["a", "b"]
    assert all(thread is not threading.current_thread() for _, thread in asked)


def test_no_more_are_drawn_ahead_than_there_are_cores(monkeypatch):
    monkeypatch.setattr(field_store, "usable_cores", lambda: 2)
    asked, store = [], FieldStore(limit=100)
    for _ in range(2):
        store.ahead({name: drawing(asked, name) for name in "abcd"})
    for name in "abcd":  # those that were not begun are drawn when they are asked for
        assert store.get(name, drawing(asked, name), CPU)[0] == ord(name)
    store.ahead({name: drawing(asked, name) for name in "ef"})  # there is room again
    store._pool.shutdown()
    assert sorted(name for name, _ in asked) == list("abcdef")


def test_a_draw_that_fails_tells_so_where_the_field_is_asked_for():
    def broken():
        raise ValueError("no such field")

    store = FieldStore(limit=100)
    with pytest.raises(ValueError, match="no such field"):
        store.get("a", broken, CPU)
    assert store.get("a", drawing([], "a"), CPU).shape == (4,)


def test_cleared_it_holds_nothing():
    store = FieldStore(limit=100)
    store.get("a", drawing([], "a"), CPU)
    busy, done = threading.Event(), []
    for _ in range(field_store.usable_cores()):
        store._pool.submit(busy.wait)
    store.ahead({"b": drawing(done, "b")})  # waits for its turn
    store.clear()
    busy.set()
    store._pool.shutdown()
    assert store.bytes == 0 and done == []


def from_a_kept_field(store, protocol, some, sparsity, seed, use):
    """`draw_masks` as on a GPU, with fields that are kept on the CPU."""
    key, draw = images._field(protocol, some, seed, use)
    return images._cut(store.get(key, draw, CPU), sparsity)


@pytest.mark.parametrize("kind", ["bernoulli", "block", "scan_line"])
def test_masks_of_a_kept_field_are_those_drawn_a_part_at_a_time(kind):
    made = data.synthetic("mnist", images=5000, seed=0)  # more than one part
    some = Images(made.train_images, made.train_labels)
    protocol, store = Protocol(mask_kind=kind), FieldStore(limit=1 << 30)
    mixed = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    for p in (0.0, 0.3, 0.95, mixed):
        masks = from_a_kept_field(store, protocol, some, p, 7, "test")
        assert torch.equal(masks, draw_masks(protocol, some, p, 7, "test"))
    assert store.bytes == 4 * 5000 * 28 * 28  # one field for all four


def test_a_kept_field_is_told_by_all_that_it_depends_on():
    some = Images(torch.zeros(6, 1, 4, 4, dtype=torch.uint8), torch.zeros(6))
    store = FieldStore(limit=1 << 30)
    asked = [
        (Protocol(), some, 0.5, 8, "test"),
        (Protocol(), some, 0.5, 7, "training epoch 0"),
        (Protocol(mask_kind="block"), some, 0.5, 7, "test"),
        (Protocol(), some[:5], 0.5, 7, "test"),
        (Protocol(), some, 0.5, 7, "test"),
    ]
    for arguments in asked:
        masks = from_a_kept_field(store, *arguments)
        assert torch.equal(masks, draw_masks(*arguments))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", ["bernoulli", "block", "scan_line"])
def test_masks_on_a_gpu_are_those_on_the_cpu(kind):
    made = data.synthetic("mnist", images=5000, seed=0)
    some, protocol = Images(made.train_images, made.train_labels), Protocol(mask_kind=kind)
    there = some.to(torch.device("cuda"))
    mixed = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    for p in (0.0, 0.1, 0.3, 0.95, mixed):
        masks = draw_masks(protocol, there, p, 7, "test")
        assert masks.is_cuda
        assert torch.equal(masks.cpu(), draw_masks(protocol, some, p, 7, "test"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_has_one_store_of_a_share_of_its_memory():
    device = torch.device("cuda", torch.cuda.current_device())
    assert field_store.store_of(device) is field_store.store_of(device)
    total = torch.cuda.get_device_properties(device).total_memory
    assert field_store.store_of(device).limit == int(field_store.SHARE * total)
