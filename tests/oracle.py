"""Eq. 1 of Uhrig et al. 2017 as plain loops over Python floats: the definition, and no PyTorch."""


def pair(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value, value)


def pads(padding, kernel, dilation):
    """Missing pixels added (before, after) along each axis. 'same' keeps the size at stride 1."""
    if padding == "valid":
        return [(0, 0), (0, 0)]
    if padding == "same":  # of an odd total, PyTorch adds the larger half behind
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return [(t // 2, t - t // 2) for t in totals]
    return [(p, p) for p in pair(padding)]


def sparse_convolution(
    x,
    mask,
    weight,
    bias=None,
    stride=1,
    padding=0,
    dilation=1,
    groups=1,
    scale="mean",
    gradient=None,
):
    """f = factor * sum over observed taps of x w, plus b; factor is 1 / (number observed).

    All arguments are nested lists. Returns y, the dilated mask and, where `gradient` (dL/dy) is
    given, dL/dx, dL/dw and dL/db, by the product rule, tap by tap.
    """
    stride, dilation = pair(stride), pair(dilation)
    images, height, width = len(x), len(x[0][0]), len(x[0][0][0])
    outputs, inputs = len(weight), len(weight[0])  # inputs: of one group
    kernel = len(weight[0][0]), len(weight[0][0][0])
    (top, bottom), (left, right) = pads(padding, kernel, dilation)
    rows = (height + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    columns = (width + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1

    y = zeros(images, outputs, rows, columns)
    new_mask = zeros(images, 1, rows, columns)
    dx, dw = zeros(images, len(x[0]), height, width), zeros(outputs, inputs, *kernel)
    db = [0.0] * outputs
    for n in range(images):
        for u in range(rows):
            for v in range(columns):
                taps = []
                for i in range(kernel[0]):
                    for j in range(kernel[1]):
                        row = u * stride[0] + i * dilation[0] - top
                        column = v * stride[1] + j * dilation[1] - left
                        inside = 0 <= row < height and 0 <= column < width
                        if inside and mask[n][0][row][column]:
                            taps.append((i, j, row, column))
                new_mask[n][0][u][v] = 1.0 if taps else 0.0
                if scale == "none":
                    factor = 1.0
                elif scale == "partial":
                    factor = kernel[0] * kernel[1] / len(taps) if taps else 0.0
                else:
                    factor = 1.0 / len(taps) if taps else 0.0
                for c in range(outputs):
                    first = c // (outputs // groups) * inputs  # this group's first input channel
                    total = 0.0
                    for i, j, row, column in taps:
                        for a in range(inputs):
                            total += x[n][first + a][row][column] * weight[c][a][i][j]
                            if gradient is not None:
                                g = gradient[n][c][u][v] * factor
                                dx[n][first + a][row][column] += g * weight[c][a][i][j]
                                dw[c][a][i][j] += g * x[n][first + a][row][column]
                    y[n][c][u][v] = factor * total + (bias[c] if bias is not None else 0.0)
                    if gradient is not None:
                        db[c] += gradient[n][c][u][v]
    return (y, new_mask) if gradient is None else (y, new_mask, dx, dw, db)


def max_pooling(mask, kernel, stride, padding):
    """1 where the window holds a 1; nested lists (N, 1, H, W)."""
    (height, width), (k_h, k_w), (s, t) = (len(mask[0][0]), len(mask[0][0][0])), kernel, stride
    rows = (height + 2 * padding[0] - k_h) // s + 1
    columns = (width + 2 * padding[1] - k_w) // t + 1
    pooled = zeros(len(mask), 1, rows, columns)
    for n in range(len(mask)):
        for u in range(rows):
            for v in range(columns):
                for row in range(u * s - padding[0], u * s - padding[0] + k_h):
                    for column in range(v * t - padding[1], v * t - padding[1] + k_w):
                        if 0 <= row < height and 0 <= column < width and mask[n][0][row][column]:
                            pooled[n][0][u][v] = 1.0
    return pooled


def zeros(*shape):
    if len(shape) == 1:
        return [0.0] * shape[0]
    return [zeros(*shape[1:]) for _ in range(shape[0])]
