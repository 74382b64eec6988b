"""Each source delivers the same arrays its files hold, and one clear error where they don't."""

import io
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar_model.cifar_files import CIFAR10_CLASSES, TRAIN_BATCHES
from cifar_model.errors import InputError
from cifar_model.sources import load_source


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pixels():
    """Sixty training and twenty test images with labels, as CIFAR-10 has them."""
    rng = np.random.default_rng(0)
    return {
        split: (rng.integers(0, 256, (n, 32, 32, 3), np.uint8), np.resize(np.arange(10), n))
        for split, n in (("train", 60), ("test", 20))
    }


def write_parquet(folder, pixels, *, column="img", labels=None):
    folder.mkdir(exist_ok=True)
    for split, (images, own) in pixels.items():
        cells = [{"bytes": png(image), "path": None} for image in images]
        table = pa.table({column: cells, "label": own if labels is None else labels[: len(own)]})
        pq.write_table(table, folder / f"{split}-00000-of-00001.parquet")


def write_batches(folder, pixels):
    folder.mkdir()
    images, labels = pixels["train"]
    parts = [*zip(TRAIN_BATCHES, np.split(images, 5), np.split(labels, 5), strict=True)]
    for name, data, own in [*parts, ("test_batch", *pixels["test"])]:
        flat = data.transpose(0, 3, 1, 2).reshape(len(data), 3072)
        content = {b"data": flat, b"labels": own.tolist()}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {b"label_names": [name.encode() for name in CIFAR10_CLASSES]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=2))


def assert_is_pixels(dataset, pixels):
    for part, (images, labels) in (
        (dataset.train, pixels["train"]),
        (dataset.test, pixels["test"]),
    ):
        assert part.images.dtype == np.uint8 and part.labels.dtype == np.int64
        assert (part.images == images).all() and (part.labels == labels).all()
    assert dataset.class_names == CIFAR10_CLASSES


def test_digits_need_no_files():
    dataset = load_source("digits")
    assert dataset.class_names == tuple("0123456789")
    assert len(dataset.train) + len(dataset.test) == 1797
    assert dataset.train.images.shape[1:] == (32, 32, 3)
    assert dataset.train.images.max() == 255


def test_image_size_is_that_of_the_arrays():
    assert load_source("digits", image_size=48).image_size == 48


@pytest.mark.parametrize("column", ["img", "image"])
def test_cifar10_from_parquet(tmp_path, monkeypatch, pixels, column):
    write_parquet(tmp_path / "cifar", pixels, column=column)
    monkeypatch.setenv("CIFAR10_DIR", str(tmp_path / "cifar"))
    assert_is_pixels(load_source("cifar10"), pixels)


@pytest.mark.parametrize("place", ["folder", "parent", "archive", "folder of archive"])
def test_cifar10_from_the_official_batches(tmp_path, monkeypatch, pixels, place):
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder, pixels)
    archive = tmp_path / "there" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    where = {
        "folder": folder,
        "parent": tmp_path,
        "archive": archive,
        "folder of archive": archive.parent,
    }[place]
    monkeypatch.setenv("CIFAR10_DIR", str(where))
    assert_is_pixels(load_source("cifar10"), pixels)


def test_a_batch_that_would_run_code_is_refused(tmp_path, monkeypatch, pixels):
    class Trap:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder, pixels)
    (folder / "data_batch_3").write_bytes(pickle.dumps({b"data": Trap()}, protocol=2))
    monkeypatch.setenv("CIFAR10_DIR", str(folder))
    with pytest.raises(InputError, match=r"data_batch_3.*refused to load"):
        load_source("cifar10")
    assert not (tmp_path / "sprung").exists()


def test_cifar10_errors_say_what_was_looked_for_and_where(tmp_path, monkeypatch, pixels):
    def fails(words, where=tmp_path):
        monkeypatch.setenv("CIFAR10_DIR", str(where))
        with pytest.raises(InputError, match=words):
            load_source("cifar10")

    fails("nothing at", tmp_path / "absent")
    fails("holds neither")
    write_parquet(tmp_path, pixels)
    test = tmp_path / "test-00000-of-00001.parquet"
    whole = test.read_bytes()
    test.write_bytes(whole[: len(whole) // 2])
    fails("damaged parquet")
    test.unlink()
    fails(r"no test-\*\.parquet under")
    write_parquet(tmp_path, pixels, column="picture")
    fails("has columns picture, label")
    write_parquet(tmp_path, pixels, labels=np.full(60, 11))
    fails("label 11 in the training set, but the 10 classes")
    write_parquet(tmp_path, pixels, labels=np.full(60, 3))
    fails("no image of class airplane")
    write_parquet(tmp_path, {"train": pixels["train"], "test": pixels["test"]})
    table = pq.read_table(test)
    cells = table["img"].to_pylist()
    cells[7]["bytes"] = cells[7]["bytes"][:40]
    pq.write_table(table.set_column(0, "img", pa.array(cells)), test)
    fails(r"row 7 of row group 0 in .*test-00000-of-00001\.parquet can't be read")


def test_a_damaged_archive_and_a_missing_batch_are_named(tmp_path, monkeypatch, pixels):
    folder = tmp_path / "cifar-10-batches-py"
    write_batches(folder, pixels)
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    whole = archive.read_bytes()
    monkeypatch.setenv("CIFAR10_DIR", str(archive))
    half = len(whole) // 2
    # Some bytes that differ break the compression, others only what comes out of it.
    overwritten = [whole[:at] + bytes(16) + whole[at + 16 :] for at in range(half, half + 320, 16)]
    for damaged in (whole[:5], whole[:30], whole[:9000], *overwritten):
        archive.write_bytes(damaged)
        with pytest.raises(InputError, match="damaged or truncated"):
            load_source("cifar10")
    (folder / "data_batch_2").unlink()
    monkeypatch.setenv("CIFAR10_DIR", str(folder))
    with pytest.raises(InputError, match="lacks data_batch_2"):
        load_source("cifar10")


def test_a_folder_without_a_test_set_is_split(picture_folder):
    dataset = load_source(f"folder:{picture_folder}")
    assert dataset.class_names == ("blue", "red")
    assert (len(dataset.train), len(dataset.test)) == (19, 5)
    assert dataset.train.images.shape[1:] == (32, 32, 3)
    reds = dataset.train.images[dataset.train.labels == 1]
    assert (reds[..., 0].mean(axis=(1, 2)) > reds[..., 2].mean(axis=(1, 2))).all()


def test_a_folder_with_train_and_test_keeps_them(picture_folder):
    (picture_folder / "test").mkdir()
    (picture_folder / "train").mkdir()
    for name in ("red", "blue"):
        (picture_folder / name).rename(picture_folder / "train" / name)
        (picture_folder / "test" / name).mkdir()
        moved = picture_folder / "train" / name / "0.png"
        moved.rename(picture_folder / "test" / name / "0.png")
    dataset = load_source(f"folder:{picture_folder}")
    assert (len(dataset.train), len(dataset.test)) == (22, 2)


def test_a_picture_is_turned_upright_and_cropped_to_its_centre(tmp_path):
    # Left half white, right half black; EXIF says it must be turned a quarter clockwise.
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:, :32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png", exif=exif)
    image = load_source(f"folder:{tmp_path}").train.images[0]
    assert image[:12].mean() > 250 and image[20:].mean() < 5


def test_a_class_of_one_picture_cannot_be_split(picture_folder):
    for picture in (picture_folder / "red").glob("[1-9]*.png"):
        picture.unlink()
    with pytest.raises(InputError, match="one picture of class red; expected two or more"):
        load_source(f"folder:{picture_folder}")


def test_folder_errors_say_what_was_looked_for_and_where(picture_folder):
    def fails(words, path=picture_folder):
        with pytest.raises(InputError, match=words):
            load_source(f"folder:{path}")

    fails("no folder at", picture_folder / "absent")
    fails("has 0 class folders", picture_folder / "red")
    (picture_folder / "red" / "7.png").write_bytes(b"not a picture")
    fails(r"red/7\.png can't be read as a picture: its bytes are of no known format$")
    for file in (picture_folder / "red").iterdir():
        file.unlink()
    fails("class 'red' has no picture in")
    for name in ("Train", "TEST"):
        (picture_folder.parent / "capitals" / name).mkdir(parents=True)
    fails("would be TEST and Train; .* rename them", picture_folder.parent / "capitals")
    (picture_folder / "train" / "blue").mkdir(parents=True)
    fails("found train/ without test/")
    (picture_folder / "train" / "red").mkdir()
    (picture_folder / "test" / "blue").mkdir(parents=True)
    (picture_folder / "test" / "green").mkdir(parents=True)
    fails("class green, red is in only one of train/ and test/")


@pytest.mark.parametrize("spec", ["cifar100", "folder", "folder:", "", "digits:"])
def test_an_unknown_source_is_refused(spec):
    with pytest.raises(InputError, match="expected cifar10, digits, folder:PATH or parquet:PATH"):
        load_source(spec)


@pytest.mark.parametrize("size", [0, 8, 30, -32])
def test_an_image_size_that_does_not_fit_is_refused(size):
    with pytest.raises(InputError, match="multiple of 8"):
        load_source("digits", image_size=size)
