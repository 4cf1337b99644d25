"""Maps: the tiles and frames are those of the files, and training and test lie apart."""

import io
import zipfile

import numpy as np
import pytest
import torch
from matplotlib import cbook
from PIL import Image

from sparseconv_lib.study import data, fields
from sparseconv_lib.study.data_error import DataError
from sparseconv_lib.study.images import Images
from sparseconv_lib.study.paths import data_folder
from sparseconv_lib.study.protocol import MAPS, TRAINING_IMAGES

here = data_folder()
needs_depth = pytest.mark.skipif(
    here is None or not (here / fields.DEPTH_FILE).exists(),
    reason=f"no {fields.DEPTH_FILE} in $SPARSECONV_DATA",
)


def test_elevations_are_tiles_of_the_field_in_metres():
    field = cbook.get_sample_data("jacksboro_fault_dem.npz")["elevation"]
    found = data.load("elevation")
    assert found.train_images.shape == (234, 1, 64, 64)
    assert found.test_images.shape == (10, 1, 64, 64)
    assert found.train_images.dtype == torch.float32
    # Rows 0, 16, ..., 272 by columns 0, 16, ..., 192: 18 × 13 tiles, row after row.
    for n in (0, 1, 13, 120, 233):
        row, column = 16 * (n // 13), 16 * (n % 13)
        expected = field[row : row + 64, column : column + 64]
        assert np.array_equal(found.train_images[n, 0].numpy(), expected)
    for n in range(10):
        row, column = 64 * (n // 2), 275 + 64 * (n % 2)
        expected = field[row : row + 64, column : column + 64]
        assert np.array_equal(found.test_images[n, 0].numpy(), expected)
    assert (found.name, found.classes, found.split) == ("elevation", ("map",), "blocks")


def test_no_test_elevation_is_near_a_training_one():
    last_trained = max(column + 63 for column in range(0, 193, 16))
    assert last_trained == 255
    assert fields.TEST_COLUMN - last_trained - 1 >= 19


def test_another_field_is_refused(monkeypatch):
    monkeypatch.setattr(fields, "ELEVATION_SHA256", "0" * 64)
    with pytest.raises(DataError, match="constraints.txt"):
        fields.elevation()


def test_a_matplotlib_without_its_sample_data_is_a_line_with_its_remedy(monkeypatch):
    def missing(name):
        raise FileNotFoundError(2, "No such file", name)

    monkeypatch.setattr(cbook, "get_sample_data", missing)
    with pytest.raises(DataError, match="sample data.*constraints.txt") as error:
        fields.elevation()
    assert "\n" not in str(error.value)


@needs_depth
def test_depth_is_in_metres_and_what_was_clipped_is_not_known():
    found = data.load("depth_reduced")
    assert found.train_images.shape == (160, 1, 120, 160)
    assert found.test_images.shape == (60, 1, 120, 160)
    with zipfile.ZipFile(here / fields.DEPTH_FILE) as archive:
        for number, image in ((0, found.train_images[0]), (180, found.test_images[0]),
                              (239, found.test_images[59])):  # fmt: skip
            content = archive.read(f"depthmap/depth_frame{number:03}.png")
            frame = np.array(Image.open(io.BytesIO(content))).astype(float)[::4, ::4]
            got = image[0].numpy()
            assert np.array_equal(np.isnan(got), frame == 10_000)
            assert np.allclose(got[frame < 10_000], frame[frame < 10_000] / 1000)
    assert len(found.train_labels) == 160 and not found.train_labels.any()


@needs_depth
def test_the_identities_of_the_maps_differ():
    assert fields.depth(4)[2] != fields.elevation()[2]


def test_depth_that_is_not_there_or_broken_is_a_line_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("SPARSECONV_DATA", raising=False)
    with pytest.raises(DataError, match="SPARSECONV_DATA is not set.*ibaiGorordo"):
        fields.depth()
    monkeypatch.setenv("SPARSECONV_DATA", str(tmp_path))
    with pytest.raises(DataError, match="has no such file.*package registry"):
        fields.depth()
    (tmp_path / fields.DEPTH_FILE).write_bytes(b"PK cut")
    with pytest.raises(DataError, match="sha256") as error:
        fields.depth()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", MAPS)
def test_generated_maps_are_repeatable_and_named_otherwise(name):
    one, two, other = (data.synthetic(name, 8, seed) for seed in (0, 0, 1))
    assert one.name == f"synthetic-{name}" and one.identity == two.identity != other.identity
    assert torch.equal(one.train_images.nan_to_num(-1), two.train_images.nan_to_num(-1))
    assert (len(one.train_images), len(one.test_images)) == (8, 2)
    assert one.train_images.isnan().any() == (name != "elevation")
    assert len(Images(one.train_images, one.train_labels)) == 8


@pytest.mark.parametrize("name", MAPS)
def test_a_protocol_knows_how_many_there_are(name):
    parts = {"elevation": 234}.get(name, fields.TRAINED_FRAMES)
    assert TRAINING_IMAGES[name] == parts
