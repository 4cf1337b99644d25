"""Masks: their structure, their share of missing pixels, and that a seed fixes them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparseconv_lib.masks import (
    FIELDS,
    bernoulli_field,
    block_field,
    observe,
    observed,
    scan_line_field,
)

kinds = pytest.mark.parametrize("kind", sorted(FIELDS))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_three_kinds():
    assert FIELDS == {
        "bernoulli": bernoulli_field,
        "block": block_field,
        "scan_line": scan_line_field,
    }


@kinds
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), p=st.floats(0, 0.999), q=st.floats(0, 0.999))
def test_masks_of_one_field_nest_as_the_sparsity_grows(kind, seed, p, q):
    p, q = sorted((p, q))
    field = FIELDS[kind](3, 7, 9, seeded(seed))
    denser, sparser = observed(field, p), observed(field, q)
    assert denser.dtype == torch.bool and denser.shape == (3, 1, 7, 9)
    assert not (sparser & ~denser).any()
    assert observed(field, 0.0).all()


@kinds
def test_fields_lie_in_the_unit_interval(kind):
    field = FIELDS[kind](50, 12, 10, seeded())
    assert field.dtype == torch.float32 and field.shape == (50, 1, 12, 10)
    assert field.min() >= 0 and field.max() < 1


@kinds
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**40), k=st.integers(0, 8), more=st.integers(0, 8))
def test_the_first_images_do_not_depend_on_how_many_follow(kind, seed, k, more):
    few = FIELDS[kind](k, 9, 6, seeded(seed))
    many = FIELDS[kind](k + more, 9, 6, seeded(seed))
    assert torch.equal(few, many[:k])


@kinds
def test_drawn_in_parts_the_images_are_the_same(kind):
    generator = seeded(5)
    parts = [FIELDS[kind](n, 9, 6, generator) for n in (3, 4)]
    assert torch.equal(torch.cat(parts), FIELDS[kind](7, 9, 6, seeded(5)))


@kinds
def test_a_seed_fixes_the_field_and_another_changes_it(kind):
    draw = FIELDS[kind]
    state = torch.get_rng_state()
    assert torch.equal(draw(4, 8, 8, seeded(1)), draw(4, 8, 8, seeded(1)))
    assert not torch.equal(draw(4, 8, 8, seeded(1)), draw(4, 8, 8, seeded(2)))
    assert torch.equal(torch.get_rng_state(), state)  # only its own generator
    field = draw(2, 8, 8, seeded(1))
    assert not torch.equal(field[0], field[1])


# Independent choices: pixels, squares that no other square shares, or rows.
CHOICES = {"bernoulli": 1000 * 16 * 16, "block": 1000, "scan_line": 1000 * 16}


@kinds
@pytest.mark.parametrize("p", [0.05, 0.5, 0.8, 0.95])
def test_the_share_of_missing_pixels_is_near_the_sparsity(kind, p):
    missing = ~observed(FIELDS[kind](1000, 16, 16, seeded(7)), p)
    if kind == "block":  # one pixel an image: the others may lie in its square
        missing = missing[:, 0, 5, 9]
    # 4.5 standard deviations of a binomial share: one seed in 150,000 lies outside.
    assert abs(missing.double().mean().item() - p) < 4.5 * math.sqrt(p * (1 - p) / CHOICES[kind])


def test_bernoulli_pixels_are_independent():
    field = bernoulli_field(200, 12, 12, seeded())
    assert field.unique().numel() > 0.99 * field.numel()
    for a, b in ((field[..., 1:], field[..., :-1]), (field[..., 1:, :], field[..., :-1, :])):
        a, b = a.flatten() - 0.5, b.flatten() - 0.5
        correlation = (a @ b / (a.norm() * b.norm())).item()
        assert abs(correlation) < 4.5 / math.sqrt(a.numel())


@pytest.mark.parametrize("block", [1, 3, 4, 20])
def test_block_fields_are_squares_on_a_shifted_grid(block):
    height, width = 10, 13
    field = block_field(300, height, width, seeded(), block)[:, 0]
    grids = set()
    for image in field:
        # A border between squares is where neighbouring values differ; a side apart, all of it.
        rows = [i for i in range(1, height) if not torch.equal(image[i], image[i - 1])]
        columns = [j for j in range(1, width) if not torch.equal(image[:, j], image[:, j - 1])]
        for borders, size in ((rows, height), (columns, width)):
            first = borders[0] if borders else size
            assert first <= block
            assert borders == list(range(first, size, block))
        for top, bottom in zip([0, *rows], [*rows, height], strict=True):
            for left, right in zip([0, *columns], [*columns, width], strict=True):
                assert image[top:bottom, left:right].unique().numel() == 1
        assert image.unique().numel() == (len(rows) + 1) * (len(columns) + 1)
        grids.add((rows[0] % block if rows else -1, columns[0] % block if columns else -1))
    if block in (3, 4):  # every offset comes up
        assert len(grids) == block**2


@pytest.mark.parametrize("height, width, block", [(10, 13, 4), (8, 8, 4), (5, 7, 3), (3, 3, 9)])
def test_block_fields_are_drawn_as_records_remember(height, width, block):
    """By loops over the numbers of one draw: other draws would be other masks of the same seed."""
    rows, columns = math.ceil(height / block) + 1, math.ceil(width / block) + 1
    draws = torch.rand(3, rows * columns + 2, generator=seeded(4)).tolist()
    field = block_field(3, height, width, seeded(4), block)
    for image, numbers in zip(field[:, 0].tolist(), draws, strict=True):
        *squares, down, right = numbers
        for i in range(height):
            for j in range(width):
                square = (i + int(down * block)) // block * columns + (
                    j + int(right * block)
                ) // block
                assert image[i][j] == squares[square]
    if block == 4:  # which is what nobody has to ask for
        assert torch.equal(field, block_field(3, height, width, seeded(4)))


def test_a_block_without_a_side_raises():
    with pytest.raises(ValueError, match=r"block is 0; give the side of a square.* at least 1"):
        block_field(1, 4, 4, seeded(), block=0)


def test_scan_lines_are_whole_rows():
    field = scan_line_field(20, 9, 7, seeded())
    assert (field == field[..., :1]).all()
    assert field[..., 0].unique().numel() == 20 * 9


@pytest.mark.parametrize("p", [1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_a_sparsity_out_of_range_raises(p):
    with pytest.raises(ValueError, match=r"sparsity is .*; it must be at least 0 and below 1"):
        observed(torch.rand(1, 1, 2, 2, generator=seeded()), p)


def test_a_pixel_is_observed_from_the_sparsity_up():
    field = torch.tensor([0.0, 0.25, 0.5, 0.75])
    assert observed(field, 0.5).tolist() == [False, False, True, True]


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float32])
@pytest.mark.parametrize("fill", [0.0, 0.5])
def test_observe_fills_whatever_lies_underneath(dtype, fill):
    mask = torch.tensor([[1, 0], [0, 1]], dtype=dtype).view(1, 1, 2, 2)
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 4.0]]).expand(1, 3, 2, 2)
    x = x.clone().requires_grad_()
    y = observe(x, mask, fill)
    assert y.tolist() == [[[[1.0, fill], [fill, 4.0]]] * 3]
    y.sum().backward()
    assert torch.equal(x.grad, mask.float().expand_as(x))


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 4, 5), (1, 1, 4, 5), (4, 5), (2, 1, 5, 4)])
def test_observe_refuses_a_mask_of_another_shape(shape):
    message = r"^mask has shape .*; for x of shape \(2, 3, 4, 5\) it must be \(2, 1, 4, 5\)$"
    with pytest.raises(ValueError, match=message):
        observe(torch.ones(2, 3, 4, 5), torch.ones(shape))
    with pytest.raises(ValueError, match=r"it must be \(1, 4, 5\)$"):
        observe(torch.ones(3, 4, 5), torch.ones(4, 5))
    message = r"^x has shape \(4, 5\); it must be \(N, C, H, W\) or \(C, H, W\)$"
    with pytest.raises(ValueError, match=message):
        observe(torch.ones(4, 5), torch.ones(1, 4, 5))


def test_observe_keeps_the_dtype_that_can_hold_the_fill():
    mask = torch.tensor([[1, 0]]).view(1, 1, 1, 2)
    for dtype, fill, its in ((torch.uint8, 0, torch.uint8), (torch.uint8, 0.0, torch.float32),
                             (torch.float16, 0.5, torch.float16)):  # fmt: skip
        y = observe(torch.ones(1, 1, 1, 2, dtype=dtype), mask, fill)
        assert (y.dtype, y.flatten().tolist()) == (its, [1, fill])


def test_observe_takes_one_image_alone_and_a_vmap_over_several():
    x, mask = torch.rand(2, 3, 4, 5), torch.rand(2, 1, 4, 5) > 0.5
    want = x * mask
    assert torch.equal(observe(x[0], mask[0]), want[0])
    assert torch.equal(torch.vmap(observe)(x, mask), want)


def test_observe_fills_with_zero_unless_told():
    assert observe(torch.ones(1, 2, 3, 3), torch.zeros(1, 1, 3, 3)).eq(0).all()
