"""What is listed is what would be loaded, and a listing tells changed data from unchanged."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cifar_model.dataset import limit_train
from cifar_model.errors import InputError
from cifar_model.listing import decode_named, load_listing, picture_decoder
from cifar_model.sources import list_source, load_source


def test_part_of_a_parquet_listing_loads_as_that_part_of_the_whole(picture_parquet):
    spec = f"parquet:{picture_parquet}"
    whole, listed = load_source(spec, image_size=16), list_source(spec)
    assert whole.class_names == listed.class_names == ("blue", "red")
    part = np.array([31, 0, 7, 20, 8])
    loaded = load_listing(listed.train.take(part), 16)
    assert (loaded.images == whole.train.images[part]).all()
    assert (loaded.labels == whole.train.labels[part]).all()


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_the_fingerprint_of_a_listing_is_of_files_and_choice(request, kind):
    root = request.getfixturevalue(f"picture_{kind}")
    spec = f"{kind}:{root}"
    before = list_source(spec)
    fingerprint = before.fingerprint()
    assert limit_train(before, 8, seed=0).fingerprint() != fingerprint
    assert list_source(spec).fingerprint() == fingerprint
    with next(file for file in sorted(root.rglob("*")) if file.is_file()).open("ab") as file:
        file.write(b"\0")
    if kind == "folder":
        assert list_source(spec).fingerprint() != fingerprint
    else:
        with pytest.raises(InputError, match="damaged parquet file"):
            list_source(spec)


def test_the_fingerprint_of_the_test_set_is_of_its_files_wherever_they_lie(picture_folder):
    root = picture_folder.parent / "split"
    for part in ("train", "test"):
        shutil.copytree(picture_folder, root / part)
    found = list_source(f"folder:{root}").test_fingerprint()
    shutil.copy(root / "train" / "red" / "0.png", root / "train" / "red" / "more.png")
    root = root.rename(root.with_name("moved"))
    assert list_source(f"folder:{root}").test_fingerprint() == found
    shutil.copy(root / "test" / "red" / "0.png", root / "test" / "red" / "more.png")
    assert list_source(f"folder:{root}").test_fingerprint() != found


def test_a_link_to_nothing_is_named(picture_folder):
    (picture_folder / "red" / "gone.jpg").symlink_to("nowhere.jpg")
    with pytest.raises(InputError, match=r"gone\.jpg can't be read: No such file"):
        list_source(f"folder:{picture_folder}")


def test_a_linked_subfolder_counts(picture_folder, tmp_path):
    shutil.copytree(picture_folder / "red", tmp_path / "elsewhere" / "deeper")
    (picture_folder / "red" / "more").symlink_to(tmp_path / "elsewhere")
    listed = list_source(f"folder:{picture_folder}")
    assert len(listed.train) + len(listed.test) == 36


@pytest.mark.parametrize("target", [".", "..", "../blue", "deep", "../blue/deep"])
def test_a_link_to_a_folder_that_is_there_already_is_refused(picture_folder, target):
    """Its pictures would count twice, be of two classes, or be in the test set too."""
    for name in ("red", "blue"):
        (picture_folder / name / "deep").mkdir()
    (picture_folder / "red" / "more").symlink_to(target)
    with pytest.raises(InputError, match="are one and the same; expected pictures of its own"):
        list_source(f"folder:{picture_folder}")


def test_what_is_hidden_below_a_class_folder_is_no_picture_of_it(picture_folder):
    before = list_source(f"folder:{picture_folder}")
    picture = (picture_folder / "red" / "0.png").read_bytes()
    (picture_folder / "red" / "album.png").mkdir()
    (picture_folder / "@eaDir").mkdir()
    for hidden in (
        ".ipynb_checkpoints/0-checkpoint.png", "more/.thumbnails/0.png", "._0.png",
        "@eaDir/0.png/thumb.png",
    ):  # fmt: skip
        path = picture_folder / "red" / hidden
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture)
    assert list_source(f"folder:{picture_folder}").fingerprint() == before.fingerprint()
    elsewhere = picture_folder.rename(picture_folder.with_name(".data"))
    assert len(list_source(f"folder:{elsewhere}").train) == len(before.train)


@pytest.mark.parametrize(
    ("link", "words"),
    [
        (".", "all is a link to .*data, which holds all classes"),
        ("..", "all is a link to .*, which holds all classes"),
        ("red", "all and .*red are one and the same"),
    ],
)
def test_a_class_folder_that_is_a_link_to_other_classes_is_refused(picture_folder, link, words):
    (picture_folder / "all").symlink_to(link)
    with pytest.raises(InputError, match=words):
        list_source(f"folder:{picture_folder}")


def test_a_class_folder_may_lie_elsewhere(picture_folder, tmp_path):
    before = list_source(f"folder:{picture_folder}")
    (picture_folder / "red").rename(tmp_path / "reds")
    (picture_folder / "red").symlink_to(tmp_path / "reds")
    assert list_source(f"folder:{picture_folder}").fingerprint() == before.fingerprint()


def test_a_test_set_that_is_a_link_to_the_training_pictures_is_refused(picture_folder):
    (picture_folder / "train").mkdir()
    for name in ("red", "blue"):
        (picture_folder / name).rename(picture_folder / "train" / name)
    (picture_folder / "test").symlink_to("train")
    with pytest.raises(InputError, match=r"train/blue and .*test/blue are one and the same"):
        list_source(f"folder:{picture_folder}")


def not_utf8(path):
    """The path in an encoding of old, as an old archive leaves it when it is unpacked."""
    return Path(os.fsdecode(os.fsencode(path.parent) + b"/" + path.name.encode("latin-1")))


def test_a_picture_may_have_a_name_of_any_bytes(picture_folder):
    before = list_source(f"folder:{picture_folder}")
    (picture_folder / "red" / "0.png").rename(not_utf8(picture_folder / "red" / "0é.png"))
    listed = list_source(f"folder:{picture_folder}")
    assert listed.fingerprint() != before.fingerprint()
    assert len(load_listing(listed.train, 16)) == len(before.train)


def test_a_class_or_a_data_folder_that_is_not_utf8_is_refused(picture_folder):
    moved = not_utf8(picture_folder.with_name("donées"))
    picture_folder.rename(moved)
    with pytest.raises(InputError, match=r"don\\udce9es' is not UTF-8"):
        list_source(f"folder:{moved}")
    moved.rename(picture_folder)
    (picture_folder / "red").rename(not_utf8(picture_folder / "été"))
    with pytest.raises(InputError, match=r"the name '\\udce9t\\udce9' is not UTF-8"):
        list_source(f"folder:{picture_folder}")


def test_a_parquet_file_whose_name_is_not_utf8_is_refused(picture_parquet):
    name = picture_parquet / "train-1-of-2.parquet"
    name.rename(not_utf8(picture_parquet / "train-é.parquet"))
    with pytest.raises(InputError, match=r"train-\\udce9.parquet' is not UTF-8; rename"):
        list_source(f"parquet:{picture_parquet}")


def name_classes(path, names):
    """Write the class names, or none, into a parquet file."""
    features = {"label": {"names": names}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    table = pq.read_table(path).replace_schema_metadata(metadata if names else None)
    pq.write_table(table, path)


def test_parquet_that_names_no_classes_is_numbered(picture_parquet):
    for path in picture_parquet.glob("*.parquet"):
        name_classes(path, None)
    assert list_source(f"parquet:{picture_parquet}").class_names == ("0", "1")
    for path in picture_parquet.glob("*.parquet"):
        name_classes(path, ["blue", "red", "green"])
    with pytest.raises(InputError, match="no image of class green in the training set"):
        list_source(f"parquet:{picture_parquet}")


@pytest.mark.parametrize("other", ["train-1-of-2.parquet", "test-0-of-1.parquet"])
def test_parquet_files_that_name_their_classes_otherwise_are_refused(picture_parquet, other):
    first = picture_parquet / "train-0-of-2.parquet"
    name_classes(picture_parquet / other, ["red", "blue"])
    with pytest.raises(InputError, match=rf"{other} names its classes.*{re.escape(str(first))}"):
        list_source(f"parquet:{picture_parquet}")
    name_classes(picture_parquet / other, None)
    assert list_source(f"parquet:{picture_parquet}").class_names == ("blue", "red")
    name_classes(first, None)
    name_classes(picture_parquet / other, ["red", "blue"])
    with pytest.raises(InputError, match="names its classes otherwise"):
        list_source(f"parquet:{picture_parquet}")


@pytest.mark.parametrize("stray", [5, 500_000, 10**15])
def test_parquet_labels_that_leave_numbers_out_and_have_no_names_are_refused(
    picture_parquet, stray
):
    for path in picture_parquet.glob("*.parquet"):
        table = pq.read_table(path).replace_schema_metadata(None)
        labels = table["label"].to_numpy().copy()
        labels[-1] = stray
        pq.write_table(table.set_column(1, "label", pa.array(labels)), path)
    gap = "2, 3, 4;" if stray == 5 else f"2, 3, 4, 5, 6 and {stray - 7:,} more;"
    with pytest.raises(
        InputError, match=rf"go up to {stray}, .* has label {gap} expected"
    ) as error:
        list_source(f"parquet:{picture_parquet}")
    assert len(str(error.value)) < 400


def test_a_parquet_row_that_has_only_a_path_is_named(picture_parquet):
    file = picture_parquet / "test-0-of-1.parquet"
    table = pq.read_table(file)
    cells = table["image"].to_pylist()
    cells[3] = {"bytes": None, "path": "3.png"}
    pq.write_table(table.set_column(0, "image", pa.array(cells)), file, row_group_size=7)
    with pytest.raises(InputError, match=r"row 3 of row group 0 in .* holds no picture"):
        load_source(f"parquet:{picture_parquet}", image_size=16)


def test_parquet_of_another_layout_is_refused(tmp_path):
    for split in ("train", "test"):
        path = tmp_path / f"{split}-0.parquet"
        pq.write_table(pa.table({"image": ["a.png"], "label": [0]}), path)
    with pytest.raises(InputError, match="column image is string, expected a struct"):
        list_source(f"parquet:{tmp_path}")
    with pytest.raises(InputError, match=r"no train-\*\.parquet under"):
        list_source(f"parquet:{tmp_path / 'absent'}")


@pytest.mark.parametrize("spec", ["digits", "cifar11", "folder:"])
def test_what_cannot_be_streamed_is_refused(spec):
    with pytest.raises(InputError, match="expected folder:PATH, parquet:PATH, or cifar10"):
        list_source(spec)


def test_a_picture_of_a_large_camera_is_taken_and_a_bomb_is_not(monkeypatch, tmp_path, recwarn):
    """Pillow warns from a limit on, and refuses from twice that."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    decode = picture_decoder(16)
    for side in (32, 48):
        Image.new("RGB", (side, side), "red").save(tmp_path / f"{side}.png")
    assert decode((tmp_path / "32.png").read_bytes()).shape == (16, 16, 3)
    assert not recwarn.list
    with pytest.raises(InputError, match="bomb"):
        decode_named((tmp_path / "48.png").read_bytes(), decode, "48.png")
