"""The sparsity slider: what it shows is what the runs left."""

import base64
import io

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image
from test_records import a_record

from sparseconv_lib.networks import TABLE_1, TABLE_2, ClassificationNet
from sparseconv_lib.study import data, examples, records, report_slider
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.records import Key
from sparseconv_lib.study.stepper import stepper

LEFT = {"mnist": (0.0, 0.5, 0.9), "caltech": (0.2, 0.8)}
KEPT = "SparseConvNet-kept"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Examples that untrained networks left; SparseConvNet only at p = 0.5 of MNIST."""
    top = tmp_path_factory.mktemp("examples")
    for experiment, task, architecture in (
        ("mnist", "mnist", TABLE_1),
        ("caltech", "caltech101", TABLE_2),
    ):
        made = data.synthetic(task, images=4)
        one = Images(made.test_images[:1], made.test_labels[:1])
        side = one.pixels.shape[-1]
        field = torch.rand(1, 1, side, side, generator=torch.Generator().manual_seed(0))
        for p in LEFT[experiment]:
            networks = ["ConvNet", KEPT] + ["SparseConvNet"] * (experiment == "mnist" and p == 0.5)
            for network in networks:
                torch.manual_seed(0)
                net = ClassificationNet(network, architecture)
                path = Key(experiment, "as_written", network, p, 0).path(top).with_suffix(".npz")
                examples.leave(path, net, preset("as_written", task), one, field >= p)
    return top


@pytest.fixture
def left(folder, monkeypatch):
    def place(experiment, protocol, network, sparsity):
        return Key(experiment, protocol, network, sparsity, 0).path(folder).with_suffix(".npz")

    monkeypatch.setattr(report_slider, "example_path", place)
    made = {}

    def find(key, folder=None):
        if key.experiment != "mnist":
            return None
        return made.setdefault(key, a_record(key.network, key.sparsity, key.seed))

    monkeypatch.setattr(records, "find", find)
    return place


def soup(text):
    return BeautifulSoup(text, "html.parser")


def pixels(address):
    head, _, code = address.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("RGBA"))


def test_a_panel_for_each_sparsity_that_was_run_and_a_word_on_the_others(left):
    page = soup(report_slider.slider("mnist", "as_written"))
    panels = page.select(".stepper-panel")
    assert [panel["aria-label"] for panel in panels] == ["p = 0", "p = 0.5", "p = 0.9"]
    # Without script stand p = 0 and 0.5 of the three that are meant for print.
    assert [panel.has_attr("hidden") for panel in panels] == [False, False, True]
    assert page.select_one("[type=range]")["value"] == "1" and page.output.text == "p = 0.5"
    assert page.label["for"] == page.input["id"] == page.output["for"][0]
    assert "Not run yet: p = 0.05, 0.1, 0.2" in page.figcaption.text
    assert [len(panel.select(".slider-maps img")) for panel in panels] == [2, 3, 2]


def test_the_picture_under_its_mask_is_what_the_network_saw(left):
    page = soup(report_slider.slider("mnist", "as_written"))
    example = examples.read(left("mnist", "as_written", "ConvNet", 0.5))
    style = page.figure["style"]
    assert style.startswith("--picture:url(") and style.endswith(")")
    assert np.array_equal(pixels(style[len("--picture:url(") : -1])[..., 0], example.image[0])
    image, mask = page.select(".stepper-panel")[1].select(".slider-seen img")
    assert image["src"] == mask["src"]
    assert np.array_equal(pixels(mask["src"])[..., 3] == 0, example.mask)
    share = f"{100 * example.mask.mean():.0f} %"
    assert share in image["alt"] and share in mask["alt"] and "p = 0.5" in mask["alt"]


def test_a_missing_pixel_of_a_photograph_has_the_colour_of_its_fill(left):
    page = soup(report_slider.slider("caltech", "as_written"))
    example = examples.read(left("caltech", "as_written", "ConvNet", 0.8))
    over = pixels(page.select(".stepper-panel")[1].select_one(".slider-seen img")["src"])
    assert np.array_equal(over[..., 3] == 255, ~example.mask)
    assert (over[~example.mask] == (0, 0, 0, 255)).all()


def test_maps_are_the_first_convolutions_each_between_its_own_ends(left):
    example = examples.read(left("mnist", "as_written", KEPT, 0.9))
    page = soup(report_slider.slider("mnist", "as_written"))
    picture = page.select(".stepper-panel")[2].select(".slider-maps img")[1]
    told = f"{example.maps.min():.2f} to {example.maps.max():.2f}".replace("-", "−")
    assert KEPT in picture["alt"] and told in picture["alt"] and "p = 0.9" in picture["alt"]
    row = pixels(picture["src"]).astype(int)
    count, height, width = example.maps.shape
    assert row.shape[:2] == (height, count * width + (count - 1) * report_slider.GAP)
    for i, one in enumerate(example.maps):
        start = i * (width + report_slider.GAP)
        blue = row[:, start : start + width, 2] - row[:, start : start + width, 0]
        # From cividis's dark blue to its yellow, as the values grow.
        assert np.corrcoef(blue.flatten(), one.flatten())[0, 1] < -0.95


def test_an_examples_maps_are_those_of_the_network(folder):
    torch.manual_seed(0)
    net = ClassificationNet("ConvNet", TABLE_1).eval()
    example = examples.read(Key("mnist", "as_written", "ConvNet", 0.5, 0).path(folder)
                            .with_suffix(".npz"))  # fmt: skip
    x = torch.from_numpy(example.image * example.mask)[None] / 255
    with torch.no_grad():
        maps = net.convolutions[0](x)[0].numpy()
        probabilities = net(x, torch.from_numpy(example.mask)[None, None]).softmax(1)[0].numpy()
    assert np.abs(example.maps - maps).max() <= np.ptp(maps, (1, 2)).max() / 255
    assert np.allclose(example.probabilities, probabilities, atol=1e-6)


def test_probabilities_are_those_of_the_examples(left):
    page = soup(report_slider.slider("mnist", "as_written"))
    table = page.select(".stepper-panel")[0].table
    by = [examples.read(left("mnist", "as_written", n, 0.0)) for n in ("ConvNet", KEPT)]
    assert [th.text for th in table.thead.find_all("th")] == ["class", "ConvNet", KEPT]
    rows = table.tbody.find_all("tr")
    assert len(rows) == 10
    for i, row in enumerate(rows):
        assert row.th.text == f"{i}{' (right)' * (i == by[0].label)}"
        for cell, example in zip(row.find_all("td"), by, strict=True):
            share = f"{100 * example.probabilities[i]:.1f}"
            assert cell.text == f"{share}\u00a0%" and cell["style"] == f"--share:{share}%"
            assert (cell.get("class") == ["answer"]) == (i == example.probabilities.argmax())
    reached = [cell.text for cell in table.tfoot.find_all("td")]
    assert reached == [
        f"{100 * a_record(n, 0.0, 0).accuracy:.2f}\u00a0%" for n in ("ConvNet", KEPT)
    ]


def test_of_many_classes_the_right_one_stands_first_and_then_the_most_probable(left):
    page = soup(report_slider.slider("caltech", "as_written"))
    rows = page.select(".stepper-panel")[0].table.tbody.find_all("tr")
    by = [examples.read(left("caltech", "as_written", n, 0.2)) for n in ("ConvNet", KEPT)]
    most = np.max([example.probabilities for example in by], axis=0)
    most[by[0].label] = 0
    names = report_slider.class_names("caltech")
    expected = [names[i] for i in np.argsort(-most)[:4]]
    assert rows[0].th.text == f"{names[by[0].label]} (right)"
    assert [row.th.text for row in rows[1:]] == expected
    assert page.tfoot.td.text == "–"  # no record there


def test_with_nothing_left_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(report_slider, "example_path", lambda *_: tmp_path / "none.npz")
    assert "has left an example yet" in report_slider.slider("mnist", "as_written")


@pytest.mark.parametrize("experiment", ["mnist", "caltech"])
def test_what_is_published_stays_small(experiment):
    text = report_slider.slider(experiment, "as_written")
    found = report_slider.left_examples(experiment, "as_written")
    assert found and len(text) < 250_000
    assert len(soup(text).select(".stepper-panel")) == len(found)


def test_a_slider_stands_where_it_can():
    with pytest.raises(ValueError, match="p = 2 is none of p = 0, p = 1"):
        stepper("a", "b", {"p = 0": "", "p = 1": ""}, "p = 2", [])
