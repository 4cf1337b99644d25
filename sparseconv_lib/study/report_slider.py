"""One test image from whole to nearly nothing: what networks make of it, under a slider."""

import base64
import html
import io

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image

from sparseconv_lib.study import examples, numbers, records
from sparseconv_lib.study.examples import Example
from sparseconv_lib.study.grid import EXPERIMENTS, grid_of, task_of
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.protocol import Protocol, preset
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.report import NO_BREAK, class_names, example_path, percent
from sparseconv_lib.study.stepper import stepper

NETWORKS = ("ConvNet", "SparseConvNet-kept", "SparseConvNet")
FIRST = 0.5
STILL = (0.0, 0.5, 0.8)  # those that stand in print
MOST_CLASSES = 10  # more than these are not all listed
GAP = 2  # pixels between maps
Found = dict[float, dict[str, Example]]


def slider(experiment: str, protocol: str) -> str:
    """The image, its mask, maps of the first convolution and class probabilities, for each p."""
    found = left_examples(experiment, protocol)
    if not found:
        return f"<p>No run of {html.escape(protocol)} has left an example yet.</p>"
    named = {f"p = {p:g}": _panel(experiment, protocol, p, by) for p, by in found.items()}
    still = [f"p = {p:g}" for p in STILL if p in found] or list(named)
    first = f"p = {min(found, key=lambda p: abs(p - FIRST)):g}"
    knobs = preset(protocol, task_of(experiment))
    one = next(iter(next(iter(found.values())).values()))
    classes = class_names(experiment)
    grid = grid_of(experiment, protocol) or EXPERIMENTS[experiment].grids[0]
    waiting = [f"{p:g}" for p in grid.sparsities if p not in found]
    lacking = f" Not run yet: p = {', '.join(waiting)}." if waiting else ""
    told = (
        f"One test image, of class {classes[one.label]}, from p = {min(found):g} to "
        f"{max(found):g}. At each p the networks are others: trained at that p under {protocol}, "
        f"seed 0. {examples.missing_in_words(knobs)} Maps are those of the first convolution, each "
        "channel between its own least value (dark) and its greatest (bright); networks start from "
        f"the same weights.{lacking}"
    )
    return (
        f'<figure class="slider" style="--picture:url({_picture(one)})">'
        f"{stepper(f'slider-{experiment}', 'Sparsity', named, first, still)}"
        f"<figcaption>{html.escape(told)}</figcaption></figure>"
    )


def left_examples(experiment: str, protocol: str) -> Found:
    """Sparsity -> network -> what its run of seed 0 left, of what has been run; by sparsity."""
    grid = grid_of(experiment, protocol) or EXPERIMENTS[experiment].grids[0]
    found: Found = {}
    for p in sorted(grid.sparsities):
        for network in NETWORKS:
            path = example_path(experiment, protocol, network, p)
            if example := examples.read(path):
                found.setdefault(p, {})[network] = example
    return found


def _panel(experiment: str, protocol: str, sparsity: float, by: dict[str, Example]) -> str:
    one = next(iter(by.values()))
    name = class_names(experiment)[one.label]
    mask = _mask(one, preset(protocol, task_of(experiment)))
    digit = " pixelated" if len(one.image) == 1 else ""
    side = 6 * one.mask.shape[0] if digit else one.mask.shape[0]  # a multiple: no pixel is blurred
    size = f'width="{side}" height="{side}"'
    observed = f"{100 * one.mask.mean():.0f} %"
    rows = "".join(_maps(network, sparsity, example, digit) for network, example in by.items())
    return (
        '<div class="slider-sides"><div class="slider-pictures"><div class="slider-seen">'
        f'<img class="slider-picture slider-image{digit}" src="{mask}" {size} '
        f'alt="{name} with {observed} of its pixels observed">'
        f'<img class="slider-picture{digit}" src="{mask}" {size} '
        f'alt="The mask at p = {sparsity:g}: white where one of the {observed} observed pixels is">'
        f"<span>the image, and its mask: {observed} observed</span></div>"
        f'<div class="slider-maps">{rows}</div></div>'
        f"{_probabilities(experiment, protocol, sparsity, by)}</div>"
    )


def _maps(network: str, sparsity: float, example: Example, digit: str) -> str:
    """A network's maps beside each other in one picture."""
    maps = example.maps
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    shares = (maps - low) / np.maximum(high - low, 1e-12)
    colours = np.rint(255 * colormaps["cividis"](shares)).astype(np.uint8)  # (C, H, W, 4)
    apart = np.pad(colours, ((0, 0), (0, 0), (0, GAP), (0, 0)))
    row = np.concatenate(list(apart), axis=1)[:, :-GAP]
    src = _webp(row) if digit else _webp(row, lossless=False, quality=30)
    told = f"values from {low.min():.2f} to {high.max():.2f}".replace("-", "−")
    height, width = row.shape[:2]
    return (
        f'<div><span>{network}, {told}</span><img class="slider-picture{digit}" src="{src}" '
        f'width="{2 * width}" height="{2 * height}" alt="{len(maps)} feature maps of {network} at '
        f'p = {sparsity:g}, {told}"></div>'
    )


def _probabilities(experiment: str, protocol: str, sparsity: float, by: dict[str, Example]) -> str:
    """A row for each class, or for the right one and the four most probable others."""
    classes = class_names(experiment)
    right = next(iter(by.values())).label
    shown = list(range(len(classes)))
    if len(classes) > MOST_CLASSES:
        most = np.max([example.probabilities for example in by.values()], axis=0)
        others = [int(i) for i in np.argsort(-most, kind="stable") if i != right]
        shown = [right, *others[:4]]
    head = "".join(
        f'<th scope="col">{network.replace("C", "<wbr>C").replace("-", "-<wbr>")}</th>'
        for network in by
    )
    body = []
    for i in shown:
        name = html.escape(classes[i])
        told = f"<strong>{name}</strong> (right)" if i == right else name
        cells = []
        for example in by.values():
            share = 100 * float(example.probabilities[i])
            answer = " class=answer" if i == example.probabilities.argmax() else ""
            cells.append(f'<td{answer} style="--share:{share:.1f}%">{share:.1f}{NO_BREAK}%</td>')
        body.append(f'<tr><th scope="row">{told}</th>{"".join(cells)}</tr>')
    reached = []
    for network in by:
        record = records.find(Key(experiment, protocol, network, sparsity, 0))
        reached.append(f"<td>{numbers.as_html(percent(record.accuracy)) if record else '–'}</td>")
    return (
        '<div class="table-scroll"><table class="shares" aria-label="Probabilities at '
        f'p = {sparsity:g}"><thead><tr><th scope="col">class</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody><tfoot><tr>"
        "<th scope=row>right, of all test images, seed 0</th>"
        f"{''.join(reached)}</tr></tfoot></table></div>"
    )


def _picture(one: Example) -> str:
    """The whole image, of which a page holds one copy."""
    image = one.image.transpose(1, 2, 0)
    return _webp(image[..., 0]) if len(one.image) == 1 else _webp(image, False, 40)


def _mask(one: Example, protocol: Protocol) -> str:
    """The mask as a picture to lay over the image: clear where a pixel is observed.

    A missing pixel has a colour that no digit has, or, over a photograph, that of its fill.
    """
    colour: np.ndarray | tuple[int, int, int] = (0, 60, 110)
    if len(one.image) == 3:
        images = Images(torch.from_numpy(one.image)[None], torch.tensor([one.label]))
        nothing = torch.zeros(1, 1, *one.mask.shape, dtype=torch.bool)
        colour = examples.as_seen(images, nothing, protocol)[:, 0, 0]
    over = np.zeros((*one.mask.shape, 4), np.uint8)
    over[~one.mask] = (*colour, 255)
    return _webp(over)


def _webp(pixels: np.ndarray, lossless: bool = True, quality: int = 100) -> str:
    """uint8 (H, W), (H, W, 3) or (H, W, 4) as a data address."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, format="webp", lossless=lossless, quality=quality, method=6
    )
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
