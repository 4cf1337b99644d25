"""The sparse convolution (Uhrig et al. 2017, Eq. 1) and the mask's own pooling.

    f(x, o)[u, v] = sum_ij o[u+i, v+j] x[u+i, v+j] w[i, j] / sum_ij o[u+i, v+j]  +  b

The numerator is a convolution of the observed pixels. The denominator counts them; it is the same
for every output channel, so one 1 -> 1 convolution of the mask with ones, without parameters, is
enough. Pixels that zero padding adds are missing, not zero.
"""

import contextlib
import functools
import operator
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Scale = Literal["mean", "partial", "none"]
MaskUpdate = Literal["dilate", "keep"]

# Of x, and the whole numbers as wide.
_FLOATS = {
    torch.float16: torch.int16,
    torch.bfloat16: torch.int16,
    torch.float32: torch.int32,
    torch.float64: torch.int64,
}


def check_option(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; choose one of {', '.join(map(repr, allowed))}")


def _without_autocast(x: Tensor) -> contextlib.AbstractContextManager:
    # Entering autocast costs more than a small count itself, hence only where it is on.
    # The device "meta", which computes shapes alone, knows nothing of it.
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return contextlib.nullcontext()


def sparse_conv2d(
    x: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    *,
    scale: Scale = "mean",
    mask_update: MaskUpdate = "dilate",
) -> tuple[Tensor, Tensor]:
    """Eq. 1, with the arguments of `torch.nn.functional.conv2d` in their order.

    Without the paper's epsilon in the denominator: an empty window gives the bias.

    Args:
        x: (N, C_in, H, W). What missing pixels hold, NaN and infinity included, has no effect.
        mask: (N, 1, H, W), 1 where observed, 0 where missing; any dtype. Values are not checked:
            whatever is not 0 counts as observed, and no gradient flows into the mask.
        weight: (C_out, C_in / groups, k_h, k_w).
        bias: (C_out,), added after the division.
        stride, padding, dilation, groups: as in `conv2d`; padding is always with missing pixels.
        scale: "mean" divides by the number n of observed pixels in the window (Eq. 1); "partial"
            multiplies by k_h k_w / n (partial convolution, Liu et al. 2018); "none" does neither.
        mask_update: "dilate" marks an output pixel as observed if its window holds an observed
            pixel, which is the paper's max pooling of the mask; "keep" returns the mask as it
            came, as the source's code does, and needs an output as large as the input.

    Returns:
        y (N, C_out, H', W') and its mask (N, 1, H', W') in the dtype of `mask`. Where a window
        holds no observed pixel, y is the bias (0 without one), in every dtype. The sum is taken
        before the division, so in float16 it overflows where that of a convolution would.

    Raises:
        TypeError: for a mask that is no tensor.
        ValueError: for x of another shape or of another dtype than float16, bfloat16, float32 or
            float64, a mask or bias of another shape, an unknown option, or "keep" where the size
            changes.
    """
    check_option("scale", scale, get_args(Scale))
    check_option("mask_update", mask_update, get_args(MaskUpdate))
    if x.dim() != 4:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; it must be (N, C, H, W): of one image give x[None] and "
            "mask[None]"
        )
    if x.dtype not in _FLOATS:
        allowed = ", ".join(map(str, _FLOATS))
        raise ValueError(f"x is {x.dtype}; convert it into one of {allowed}")
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"mask is a {type(mask).__name__}; it must be a tensor of shape (N, 1, H, W): where no "
            "pixel is missing, ones"
        )
    if mask.shape != (x.shape[0], 1, *x.shape[2:]):
        raise ValueError(
            f"mask has shape {tuple(mask.shape)}; for x of shape {tuple(x.shape)} it must be "
            f"{(x.shape[0], 1, *x.shape[2:])}: one channel, 1 where observed and 0 where missing"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}; for {weight.shape[0]} output channels it must be "
            f"{tuple(weight.shape[:1])}"
        )
    observed = mask != 0
    y = F.conv2d(_masked(x, observed), weight, None, stride, padding, dilation, groups)
    if mask_update == "keep" and y.shape[2:] != x.shape[2:]:
        raise ValueError(
            f"mask_update='keep' needs an output as large as its input, but {tuple(x.shape[2:])} "
            f"became {tuple(y.shape[2:])}; use stride 1 and padding 'same', or 'dilate'"
        )

    factor, new_mask = None, mask
    if not (scale == "none" and mask_update == "keep"):  # else there is nothing to count
        with torch.no_grad(), _without_autocast(x):
            # In float32 or more: bfloat16 holds no whole number beyond 256.
            dtype = torch.promote_types(x.dtype, torch.float32)
            count = count_observed(observed, weight.shape[2:], stride, padding, dilation).to(dtype)
            if mask_update == "dilate":
                new_mask = count.clamp(max=1).to(mask.dtype)
            if scale != "none":
                # Where the count is 0 the factor is 0, so that an empty window gives the bias in
                # every dtype: the source's epsilon vanishes in half precision and leaves 0/0.
                factor = count.reciprocal_().nan_to_num_(posinf=0.0)
                if scale == "partial":
                    factor = factor.mul_(weight.shape[2:].numel())
                factor = factor.to(y.dtype)

    if bias is None:
        return (y if factor is None else y.mul_(factor)), new_mask
    bias = bias.to(y.dtype).view(1, -1, 1, 1)
    return (y + bias if factor is None else torch.addcmul(bias, y, factor)), new_mask


def _masked(x: Tensor, observed: Tensor) -> Tensor:
    """x where observed, else 0; a product would let NaN and infinity through."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if x.device.type == "cpu" and not traced:
        return _Masked.apply(x.resolve_neg(), _bits(observed, x))  # a lazy minus has no bits yet
    return x.where(observed, 0)  # which a compiler fuses with its neighbours


class _Masked(torch.autograd.Function):
    """x where all bits are 1 and 0 where all are 0; its gradient likewise, infinite ones included.

    As `x.where(observed, 0)`, which on a CPU takes four times as long for large images.
    """

    @staticmethod
    def forward(x: Tensor, bits: Tensor) -> Tensor:
        return (x.view(bits.dtype) & bits).view(x.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.save_for_forward(inputs[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (bits,) = ctx.saved_tensors
        try:
            return _Masked.apply(gradient, bits), None
        except RuntimeError:  # `is_grads_batched`: no rule tells it of a view in another dtype
            return gradient.where(bits != 0, 0), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:  # type: ignore[override]
        (bits,) = ctx.saved_tensors
        return tangent.where(bits != 0, 0)

    @staticmethod
    def vmap(  # not generated: until PyTorch 2.12 no rule told it of a view in another dtype
        info: Any, in_dims: tuple[int | None, int | None], x: Tensor, bits: Tensor
    ) -> tuple[Tensor, int]:
        x, bits = (
            tensor[None] if dim is None else tensor.movedim(dim, 0)
            for tensor, dim in zip((x, bits), in_dims, strict=True)
        )
        return _Masked.apply(x, bits), 0


def _bits(observed: Tensor, x: Tensor) -> Tensor:
    """A whole number as wide as x's own: all bits 1 where observed, else all 0."""
    return -observed.to(_FLOATS[x.dtype])


def count_observed(
    observed: Tensor,
    kernel_size: tuple[int, ...],
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """How many observed pixels every window of a convolution holds, exactly.

    observed: bool (N, 1, H, W). Returns (N, 1, H', W'), of whole numbers in some dtype.
    """
    if observed.device.type != "cpu":  # one kernel to launch
        ones = torch.ones(1, 1, *kernel_size, dtype=torch.float32, device=observed.device)
        # Rounded, since a convolution by Fourier transform leaves traces.
        return F.conv2d(observed.float(), ones, None, stride, padding, dilation).round_()
    # A convolution from one channel to one keeps a CPU's vector units idle; sums of bytes do not.
    taps = kernel_size[0] * kernel_size[1]
    numbers = observed.to(torch.uint8) if taps <= 255 else observed.int()
    return _over_windows(torch.add, numbers, kernel_size, stride, padding, dilation)


def _over_windows(
    combine: Callable[[Tensor, Tensor], Tensor],
    values: Tensor,
    kernel_size: int | tuple[int, ...],
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] | str,
    dilation: int | tuple[int, ...] = 1,
) -> Tensor:
    """All values of each window of (N, 1, H, W) combined, the borders padded with 0.

    The padded images stand row after row in one line of numbers, so that the pixels to the right
    or below are that line, shifted: k_h + k_w long sums, where a convolution takes k_h k_w short
    ones. What comes from beyond an image's border lands where no window begins.
    """
    (k_h, s_h, d_h), (k_w, s_w, d_w) = (
        [_at(argument, i) for argument in (kernel_size, stride, dilation)] for i in (0, 1)
    )
    span_h, span_w = d_h * (k_h - 1), d_w * (k_w - 1)
    if padding == "same":  # an odd pixel comes last
        edges = (span_w // 2, span_w - span_w // 2, span_h // 2, span_h - span_h // 2)
    else:
        p_h, p_w = (0, 0) if isinstance(padding, str) else (_at(padding, i) for i in (0, 1))
        edges = (p_w, p_w, p_h, p_h)
    padded = F.pad(values, edges) if any(edges) else values
    height, width = padded.shape[2:]
    if height <= span_h or width <= span_w:
        raise ValueError(
            f"a window of {span_h + 1} x {span_w + 1} pixels does not fit into {height} x {width}, "
            "padding included; use a smaller kernel, or more padding"
        )
    line = F.pad(padded.flatten(), (0, span_w + span_h * width))  # what the shifts will use up
    for k, step in ((k_w, d_w), (k_h, d_h * width)):
        # Not len(), which is a plain int: an exported program would then know one size alone.
        length = line.shape[0] - step * (k - 1)
        line = functools.reduce(combine, (line[i * step : i * step + length] for i in range(k)))
    return line.view(padded.shape)[:, :, : height - span_h : s_h, : width - span_w : s_w]


def _at(argument: int | tuple[int, ...], i: int) -> int:
    """Of rows (0) or of columns (1), for an argument that may give one number for both."""
    if isinstance(argument, tuple | list):
        argument = argument[i % len(argument)]
    return operator.index(argument)


class SparseConv2d(nn.Conv2d):
    """`nn.Conv2d` for images with missing pixels: Eq. 1 of Uhrig et al. 2017.

    Takes the arguments of `nn.Conv2d` in their order, holds the same parameters under the same
    names (a `state_dict` fits both), and maps `forward(x, mask) -> (y, mask)`; for shapes, and for
    the two options `scale` and `mask_update`, see `sparse_conv2d`.

    >>> conv = SparseConv2d(1, 6, kernel_size=5, padding="same")
    >>> y, mask = conv(torch.rand(4, 1, 28, 28), torch.ones(4, 1, 28, 28))
    >>> y.shape, mask.shape
    (torch.Size([4, 6, 28, 28]), torch.Size([4, 1, 28, 28]))

    Raises:
        ValueError: for an unknown option, or a `padding_mode` other than "zeros".
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: Literal["zeros"] = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        scale: Scale = "mean",
        mask_update: MaskUpdate = "dilate",
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(
                f"padding_mode is {padding_mode!r}; SparseConv2d knows only 'zeros', which pads "
                "with missing pixels: pad the image and its mask yourself for another mode"
            )
        check_option("scale", scale, get_args(Scale))
        check_option("mask_update", mask_update, get_args(MaskUpdate))
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            device,
            dtype,
        )
        self.scale: Scale = scale
        self.mask_update: MaskUpdate = mask_update

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """x (N, C_in, H, W), mask (N, 1, H, W) -> y (N, C_out, H', W'), mask (N, 1, H', W')."""
        return sparse_conv2d(
            x,
            mask,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            scale=self.scale,
            mask_update=self.mask_update,
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale!r}, mask_update={self.mask_update!r}"


def max_pool_mask(
    mask: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
) -> Tensor:
    """The mask beside a max pooling of the image: 1 where the window holds an observed pixel.

    mask (N, 1, H, W) of 0s and 1s, any dtype -> (N, 1, H', W') in the same dtype; the arguments
    are the first of `torch.nn.functional.max_pool2d`, whose dilation and ceil_mode it has not.

    Raises ValueError for a mask of another shape, for a kernel, stride or padding that
    `max_pool2d` would not take, and where no window fits.
    """
    if mask.dim() != 4 or mask.shape[1] != 1:
        raise ValueError(f"mask has shape {tuple(mask.shape)}; it must be (N, 1, H, W)")
    step = kernel_size if stride is None else stride
    for i in (0, 1):
        if _at(kernel_size, i) < 1:
            raise ValueError(f"kernel_size is {kernel_size}; it must be at least 1")
        if _at(step, i) < 1:
            raise ValueError(f"stride is {stride}; it must be at least 1")
        if not 0 <= 2 * _at(padding, i) <= _at(kernel_size, i):
            raise ValueError(f"padding is {padding}; it must be at most half of {kernel_size}")
    return _over_windows(torch.maximum, mask, kernel_size, step, padding)
