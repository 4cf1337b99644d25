"""One photograph's way through ResNet18: what is kept of it, and how it is shown."""

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from sparseconv_lib.study import data, ladder, report, report_walk, stages
from sparseconv_lib.study.images import Images, draw_masks, prepare, shrink
from sparseconv_lib.study.protocol import preset
from sparseconv_lib.study.training import build

DATA = data.synthetic("caltech101", images=4)
KNOBS = preset("reduced", "resnet18")


def walked(network="SparseConvNet-kept", sparsity=0.9, protocol=KNOBS):
    one = shrink(Images(DATA.test_images[:1], DATA.test_labels[:1]), protocol.side)
    mask = draw_masks(protocol, one, sparsity, 0, "test")
    net = build(protocol, network, 0)
    return net, one, mask, stages.walk(net, protocol, one, mask)


@pytest.mark.parametrize("network", ["ConvNet", "SparseConvNet", "SparseConvNet-kept"])
def test_a_walk_tells_what_the_network_computed(network):
    net, one, mask, walk = walked(network)
    x, seen = prepare(one, mask, KNOBS)
    with torch.no_grad():
        want = list(net.eval().stages(x, seen))
        probabilities = net(x, seen).softmax(1)[0]
    assert [stage.name for stage in walk.stages] == [name for name, _, _ in want]
    for stage, (_, activations, stage_mask) in zip(walk.stages, want, strict=True):
        assert (stage.channels, stage.size) == activations.shape[1:3]
        assert stage.scale == pytest.approx(float((activations**2).mean() ** 0.5), rel=1e-5)
        if network == "ConvNet":
            assert stage.valid is None
        else:
            assert stage.valid == pytest.approx(float(stage_mask.mean()), abs=1e-6)
    assert walk.guess == int(probabilities.argmax())
    assert walk.confidence == pytest.approx(float(probabilities.max()), abs=1e-6)
    assert np.array_equal(walk.mask, mask[0, 0].numpy())
    assert np.array_equal(walk.image, one.pixels[0].numpy())


def test_a_walk_comes_back_from_its_file(tmp_path):
    _, _, _, walk = walked()
    stages.write(tmp_path / "a" / "walk.npz", walk)
    again = stages.read(tmp_path / "a" / "walk.npz")
    assert np.array_equal(again.image, walk.image) and np.array_equal(again.mask, walk.mask)
    assert (again.label, again.guess) == (walk.label, walk.guess)
    for a, b in zip(again.stages, walk.stages, strict=True):
        assert (a.name, a.size, a.channels) == (b.name, b.size, b.channels)
        assert a.scale == pytest.approx(b.scale) and a.valid == pytest.approx(b.valid)
        spread = b.maps.max((1, 2)) - b.maps.min((1, 2))
        assert (np.abs(a.maps - b.maps).max((1, 2)) <= spread / 255).all()
    assert stages.read(tmp_path / "none.npz") is None
    assert (tmp_path / "a" / "walk.npz").stat().st_size < 30_000


@pytest.fixture
def left(tmp_path, monkeypatch):
    """Walks of three networks at two sparsities, where the chapter looks for them."""

    def place(experiment, protocol, network, sparsity):
        name = f"{protocol}-{network}-{sparsity}".replace(" ", "")
        return tmp_path / f"{name}.npz"

    monkeypatch.setattr(report, "example_path", place)
    for network in ("ConvNet", "SparseConvNet-kept"):
        stages.write(place("", "reduced", network, 0.8), walked(network, 0.8)[3])
    code = ladder.trained_as("reduced", ladder.CODE)
    for protocol, network in ((code, ladder.NETWORK), ("reduced", "ConvNet")):
        stages.write(place("", protocol, network, 0.0), walked(network, 0.0)[3])


def test_a_panel_for_each_sparsity_that_was_run(left):
    soup = BeautifulSoup(report_walk.panels((0.0, 0.5, 0.8)), "html.parser")
    whole, sparse = panels = soup.find_all(class_="stepper-panel")
    assert [panel["aria-label"] for panel in panels] == ["p = 0", "p = 0.8"]
    assert not any(panel.has_attr("hidden") for panel in panels)  # without script all stand there
    assert (soup.input["min"], soup.input["max"], soup.output.text) == ("0", "1", "p = 0")
    assert whole.img["alt"] and whole.img["src"].startswith("data:image/webp")
    firsts = [row.td.text for row in whole.tbody.find_all("tr")]
    assert firsts == ["the source's code", "", "ConvNet", ""]
    told = [cell.text.replace("\u00a0", " ") for cell in whole.tbody.tr.find_all("td")]
    assert told[2:9] == ["100 %"] * 7  # at p = 0 the mask is full everywhere
    dense = sparse.tbody.find_all("tr")[0].find_all("td")
    assert [cell.text for cell in dense[3:9]] == ["–"] * 6
    kept = sparse.tbody.find_all("tr")[2].find_all("td")
    shares = [float(cell.text.split("\u00a0")[0]) for cell in kept[2:9]]
    assert 15 < shares[0] < 25 and shares == sorted(shares)


def test_without_any_run_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "example_path", lambda *_: tmp_path / "none.npz")
    assert "No run has left" in report_walk.panels((0.0,))
