"""Images as people keep them: columns, separators, encodings, names of arrays, archives, tables, links."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scanner.base.errors import SourceError
from scanner.inputs import expansion, formats, gzipped
from scanner.inputs.decode import decode
from scanner.inputs.items import Source, UnreadableInput
from scanner.inputs.source import open_source
from scanner.inputs.spec import PreprocessSpec

pyarrow = pytest.importorskip("pyarrow")

NAMES = [f"{index:03}.png" for index in range(40)]
LABELS = ["cat" if index % 2 else "dog" for index in range(40)]


def pixels(index: int) -> np.ndarray:
    return np.random.default_rng(index).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def png(index: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels(index)).save(file, "PNG")
    return file.getvalue()


SPEC = PreprocessSpec((6, 5), 3, None, "bilinear", False, 1 / 255, (0.0,) * 3, (1.0,) * 3)


def assert_all_forty(source: Source) -> None:
    """Every image in order, pixel for pixel as it was made, with its label."""
    assert len(source.items) == 40
    assert source.class_names == ("cat", "dog")
    for index, item in enumerate(source.items):
        number = index
        assert item.label == LABELS[number]
        np.testing.assert_array_equal(decode(source.read(item), SPEC), pixels(number))


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(NAMES):
        (folder / name).write_bytes(png(index))


# --- manifests ---


@pytest.mark.parametrize(
    ("name_column", "label_column", "said"),
    [
        ("file_name", "label", "a manifest with 2 labels"),
        ("filename", "Label", "from its column 'Label'"),
        ("image_path", " label", "from its column ' label'"),
        ("Path", "class", "from its column 'class'"),
        ("image", "target", "from its column 'target'"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_manifests(
    tmp_path: Path, name_column: str, label_column: str, said: str, separator: str, encoding: str
) -> None:
    write_images(tmp_path / "img")
    rows = [separator.join((label_column, "width", name_column))]
    rows += [separator.join((label, "5", f"img\\{name}")) for name, label in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "m.csv").write_bytes("\r\n".join(rows).encode(encoding))
    source = open_source(tmp_path / "m.csv")
    assert_all_forty(source)
    assert said in source.layout
    assert source.items[3].id == "img/003.png"


def test_columns_that_could_be_labels_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,class,label\na.png,x,1\nb.png,y,2\n")
    source = open_source(tmp_path / "m.csv")
    assert source.class_names == ("1", "2")
    assert source.layout == "a manifest with 2 labels (its column 'class' not used)"
    (tmp_path / "m.csv").write_text("path,Label,LABEL\na.png,x,1\n")
    with pytest.raises(SourceError, match="two columns 'label'"):
        open_source(tmp_path / "m.csv")


def test_lines_of_json_have_the_same_names(tmp_path: Path) -> None:
    write_images(tmp_path)
    rows = [{"image": name, "class": label, "x": 1} for name, label in zip(NAMES, LABELS, strict=True)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert_all_forty(open_source(tmp_path / "m.jsonl"))


def test_absolute_paths(tmp_path: Path) -> None:
    write_images(tmp_path / "in")
    rows = [f"{tmp_path}/in/{name},{label}" for name, label in zip(NAMES, LABELS, strict=True)]
    text = "file_name,label\n" + "\n".join(rows)
    (tmp_path / "m.csv").write_text(text)
    assert_all_forty(open_source(tmp_path / "m.csv"))
    (tmp_path / "elsewhere").mkdir()
    outside = tmp_path / "elsewhere" / "m.csv"
    outside.write_text(text)
    with pytest.raises(SourceError, match=r"leaves the manifest's folder.*--follow-links"):
        open_source(outside)
    assert_all_forty(open_source(outside, follow_links=True))
    outside.write_text("file_name\nC:\\\\images\\a.png\n")
    with pytest.raises(SourceError, match="leaves"):
        open_source(outside, follow_links=True)


# --- folders ---


def test_files_in_a_folder_that_could_be_given_in_its_place_are_named(tmp_path: Path) -> None:
    for name in ("data-000000.tar", "data-000001.tar", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=r"holds 2 lists, archives or tables .*'data-000000.tar'.*Give one"):
        open_source(tmp_path)
    write_images(tmp_path)
    assert open_source(tmp_path).layout == "a folder of images without class folders, and so without labels"
    (tmp_path / "metadata.csv").write_text("file_name,label")
    source = open_source(tmp_path)
    assert source.layout.endswith("('metadata.csv' in it is not read; give that file to have its labels)")
    assert (len(source.items), source.ignored) == (40, 4)


def test_images_without_a_suffix_are_told_by_content(tmp_path: Path) -> None:
    for index, label in enumerate(LABELS):
        folder = tmp_path / label
        folder.mkdir(exist_ok=True)
        (folder / f"{index:03}{('', '.jfif', '.0001', '.JPE')[index % 4]}").write_bytes(png(index))
        (folder / "README").write_text("BM is how a bitmap starts")
        (folder / "notes.txt").write_text("no image")
    source = open_source(tmp_path)
    assert len(source.items) == 40
    assert source.ignored == 4
    one = next(item for item in source.items if item.id == "cat/005.jfif")
    np.testing.assert_array_equal(decode(source.read(one), SPEC), pixels(5))
    assert len(open_source(tmp_path / "dog" / "000").items) == 1


@pytest.mark.parametrize(
    ("head", "is_image"),
    [
        (b"\xff\xd8\xff\xe0" + bytes(12), True),
        (b"RIFF\0\0\0\0WEBPVP8 ", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"BM\x36\0\0\0\0\0\0\0" + bytes(6), True),
        (b"BMW is a car....", False),
        (b"P6 5 6 255 .....", True),
        (b"PK\x03\x04" + bytes(12), False),
        (b"\0\0\0\x1cftypavif\0\0\0\0", True),
        (b"", False),
    ],
)
def test_magic(head: bytes, is_image: bool) -> None:
    assert formats.has_image_magic(head) is is_image


def linked(tmp_path: Path) -> Path:
    """Class folders that are links to folders elsewhere."""
    for index, label in enumerate(LABELS):
        (tmp_path / "store" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / label / NAMES[index]).write_bytes(png(index))
    (tmp_path / "ref").mkdir()
    for label in set(LABELS):
        (tmp_path / "ref" / label).symlink_to(tmp_path / "store" / label)
    return tmp_path / "ref"


def test_linked_class_folders_are_refused_with_the_option_and_followed_with_it(tmp_path: Path) -> None:
    root = linked(tmp_path)
    with pytest.raises(SourceError, match=r"2 links to folders.*--follow-links"):
        open_source(root)
    source = open_source(root, follow_links=True)
    assert (source.class_names, len(source.items)) == (("cat", "dog"), 40)
    item = next(item for item in source.items if item.id == "cat/007.png")
    np.testing.assert_array_equal(decode(source.read(item), SPEC), pixels(7))


def test_linked_images_outside_are_followed_only_if_asked(tmp_path: Path) -> None:
    write_images(tmp_path / "store")
    (tmp_path / "in").mkdir()
    for name in NAMES:
        (tmp_path / "in" / name).symlink_to(tmp_path / "store" / name)
    source = open_source(tmp_path / "in", labels=False)
    with pytest.raises(UnreadableInput, match="--follow-links") as caught:
        source.read(source.items[0])
    assert caught.value.reason == "outside-source"
    source = open_source(tmp_path / "in", labels=False, follow_links=True)
    assert [source.read(item) for item in source.items] == [png(index) for index in range(40)]


def test_loops_of_links_end(tmp_path: Path) -> None:
    root = linked(tmp_path)
    (tmp_path / "store" / "cat" / "up").symlink_to(tmp_path)
    (tmp_path / "store" / "cat" / "self").symlink_to(tmp_path / "store" / "cat")
    assert len(open_source(root, labels=False, follow_links=True).items) == 40


# --- arrays ---


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        *(("images", "labels"), ("X", "Y"), ("arr_0", "arr_1"), ("x_test", "y_test"), ("test_images", "test_labels")),
        *(("x_train", "y_train"), ("train_images", "train_labels")),
    ],
)
@pytest.mark.parametrize("form", ["flat", "column", "one-hot", "float"])
def test_arrays(tmp_path: Path, images: str, labels: str, form: str) -> None:
    codes = np.arange(40) % 2
    stored = {
        "flat": codes,
        "column": codes[:, None].astype(np.uint8),
        "one-hot": np.eye(2)[codes],
        "float": codes.astype(np.float64),
    }[form]
    np.savez(tmp_path / "a.npz", **{images: np.stack([pixels(index) for index in range(40)]), labels: stored})
    source = open_source(tmp_path / "a.npz")
    assert source.class_names == ("0", "1")
    for index, item in enumerate(source.items):
        assert item.label == str(index % 2)
        np.testing.assert_array_equal(decode(source.read(item), SPEC), pixels(index))


def test_of_several_parts_the_one_that_was_not_trained_on_is_read_and_named(tmp_path: Path) -> None:
    part = np.zeros((5, 8, 8), np.uint8)
    np.savez(
        tmp_path / "pathmnist.npz",
        **{f"{name}_images": part + number for number, name in enumerate(("train", "val", "test"))},
        **{f"{name}_labels": np.arange(5)[:, None] for name in ("train", "val", "test")},
    )
    source = open_source(tmp_path / "pathmnist.npz")
    assert source.read(source.items[0])[0, 0] == 2
    assert source.layout == "an array file with 5 labels, its part 'test_images' (not 'val_images', 'train_images')"


def test_several_findings_an_image_are_no_classes(tmp_path: Path) -> None:
    labels = np.array([[1, 1], [0, 1], [0, 0], [0, 1]])
    np.savez(tmp_path / "chest.npz", images=np.zeros((4, 8, 8), np.uint8), labels=labels)
    with pytest.raises(SourceError, match="not one class an image"):
        open_source(tmp_path / "chest.npz")


# --- archives ---


def members(labelled: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for index, (name, label) in enumerate(zip(NAMES, LABELS, strict=True)):
        key = name.removesuffix(".png")
        if labelled == "folders":
            found[f"data/{label}/{name}"] = png(index)
        else:
            found[f"{key}.png"] = png(index)
            beside = label if labelled == "cls" else json.dumps({"label": label})
            found[f"{key}.{labelled}"] = beside.encode()
    return found


def write_tar(path: Path, files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> None:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w", format=form) as archive:
        for name, data in reversed(files.items()):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


@pytest.mark.parametrize("labelled", ["folders", "cls", "json"])
@pytest.mark.parametrize("suffix", ["tar", "tar.gz", "tgz", "zip"])
def test_archives(tmp_path: Path, labelled: str, suffix: str) -> None:
    path = tmp_path / f"ref.{suffix}"
    (write_zip if suffix == "zip" else write_tar)(path, members(labelled))
    source = open_source(path)
    assert source.class_names == ("cat", "dog")
    assert [item.id for item in source.items] == sorted(item.id for item in source.items)
    for item in source.items:
        number = int(item.id[-7:-4])
        assert item.label == LABELS[number]
        np.testing.assert_array_equal(decode(source.read(item), SPEC), pixels(number))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_in_tar(tmp_path: Path, form: int) -> None:
    name = (
        "/".join(["d" * 40] * 5) + "/näme.png" if form != tarfile.USTAR_FORMAT else "d" * 90 + "/" + "n" * 60 + ".png"
    )
    write_tar(tmp_path / "a.tar", {name: png(0)}, form)
    source = open_source(tmp_path / "a.tar", labels=False)
    assert [item.id for item in source.items] == [name]
    assert source.read(source.items[0]) == png(0)


def test_links_in_a_tar_are_no_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "a.png"), (tarfile.LNKTYPE, "b.png"), (tarfile.FIFOTYPE, "c.png")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    assert len(open_source(tmp_path / "a.tar", labels=False).items) == 0


@given(st.binary(max_size=2000), st.integers(0, 1999))
@settings(max_examples=80, deadline=None)
def test_damaged_archives_are_errors_or_sources(noise: bytes, position: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        for write, name in ((write_tar, "a.tar"), (write_zip, "a.zip"), (write_tar, "a.tgz")):
            path = Path(folder) / name
            write(path, {"a.png": png(0), "b/c.png": png(1)})
            data = bytearray(path.read_bytes())
            data[position : position + len(noise)] = noise
            path.write_bytes(data)
            try:
                source = open_source(path, labels=False)
            except SourceError:
                continue
            for item in source.items:
                with contextlib.suppress(UnreadableInput):
                    source.read(item)


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tgz").write_bytes(gzip.compress(bytes(2**23)))
    for module, bound, value in (
        (gzipped, "MAX_UNPACKED", 2**20),
        (expansion, "ALWAYS", 2**20),
        (gzipped, "LEFT_FREE", 2**60),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, bound, value)
            with pytest.raises(SourceError, match=r"unpacks to more|on the disk of temporary files"):
                open_source(tmp_path / "a.tgz")
    monkeypatch.setattr("scanner.inputs.zipped.MAX_FILE_BYTES", 2**20)
    write_zip(tmp_path / "a.zip", {"a.png": bytes(2**23)})
    source = open_source(tmp_path / "a.zip", labels=False)
    with pytest.raises(UnreadableInput, match="too-large"):
        source.read(source.items[0])


def test_the_end_of_a_compressed_archive(tmp_path: Path) -> None:
    """Several parts and zeros behind them are as usual; one that is cut off would lose images without a word."""
    write_tar(tmp_path / "a.tar", {"a.png": png(0), "b.png": png(1)})
    data = (tmp_path / "a.tar").read_bytes()
    whole = gzip.compress(data[:700]) + gzip.compress(data[700:])
    (tmp_path / "a.tgz").write_bytes(whole + bytes(1000))
    assert len(open_source(tmp_path / "a.tgz", labels=False).items) == 2
    for cut in (whole[:-1], whole[:-9], whole[:100], whole + b"x"):
        (tmp_path / "a.tgz").write_bytes(cut)
        with pytest.raises(SourceError, match="damaged gzip"):
            open_source(tmp_path / "a.tgz", labels=False)


def test_every_image_of_an_archive_has_a_label_or_none(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"0.png": png(0), "1.png": png(1), "1.cls": b"3"})
    with pytest.raises(SourceError, match=r"no label for '0\.png'"):
        open_source(tmp_path / "a.tar")


# --- tables ---


def table(plain: bool) -> pyarrow.Table:
    images = [png(index) if plain else {"bytes": png(index), "path": None} for index in range(40)]
    found = pyarrow.table({"image": images, "label": [1 - index % 2 for index in range(40)]})
    features = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    return found.replace_schema_metadata({"huggingface": json.dumps(features)})


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("form", ["parquet", "stream", "file"])
def test_tables(tmp_path: Path, plain: bool, form: str) -> None:
    import pyarrow.parquet

    path = tmp_path / ("a.parquet" if form == "parquet" else "a.arrow")
    if form == "parquet":
        pyarrow.parquet.write_table(table(plain), path, row_group_size=7)
    else:
        opened: Callable[..., object] = pyarrow.ipc.new_stream if form == "stream" else pyarrow.ipc.new_file
        with opened(str(path), table(plain).schema) as writer:
            writer.write_table(table(plain), max_chunksize=7)
    source = open_source(path)
    assert_all_forty(source)
    assert source.items[3].id == f"{path.name}[3]"
    assert source.layout == "a table with 2 labels"


@given(st.binary(min_size=1, max_size=60), st.integers(0, 3000))
@settings(max_examples=40, deadline=None)
def test_damaged_tables_are_errors_or_sources(noise: bytes, position: int) -> None:
    import tempfile

    import pyarrow.parquet

    with tempfile.TemporaryDirectory() as folder:
        small = table(False).slice(0, 4)
        path = Path(folder) / "a.parquet"
        pyarrow.parquet.write_table(small, path)
        data = bytearray(path.read_bytes())
        data[position % len(data) : position % len(data) + len(noise)] = noise
        path.write_bytes(data)
        try:
            source = open_source(path, labels=False)
            for item in source.items:
                source.read(item)
        except (SourceError, UnreadableInput):
            pass


def test_rows_without_an_image(tmp_path: Path) -> None:
    import pyarrow.parquet

    rows = pyarrow.table({"image": [{"bytes": None, "path": "a.png"}, {"bytes": b"", "path": None}]})
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet")
    reasons = []
    for item in source.items:
        with pytest.raises(UnreadableInput) as caught:
            source.read(item)
        reasons.append(caught.value.reason)
    assert reasons == ["missing", "empty"]
    pyarrow.parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="no column of images"):
        open_source(tmp_path / "b.parquet")


# --- formats that need more ---


def test_avif_and_heic_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scanner.inputs.decode.box_formats", tuple)
    for brand in (b"avif", b"heic"):
        with pytest.raises(UnreadableInput, match=r"latentscan\[heif\]"):
            decode(b"\0\0\0\x1cftyp" + brand + bytes(40), SPEC)


@pytest.mark.parametrize("form", ["AVIF", "HEIF"])
def test_avif_and_heic_are_read_where_their_decoder_is_installed(form: str) -> None:
    pytest.importorskip("pillow_heif")
    assert formats.box_formats()
    if form not in formats.box_formats():
        pytest.skip("Pillow was built without it")
    file = io.BytesIO()
    Image.fromarray(np.full((6, 5, 3), 200, np.uint8)).save(file, form, quality=100)
    expected = np.asarray(Image.open(io.BytesIO(file.getvalue())).convert("RGB"))
    np.testing.assert_array_equal(decode(file.getvalue(), SPEC), expected)


def test_names_that_are_no_utf8_keep_their_bytes(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"caf\udce9.png": png(0)}, tarfile.GNU_FORMAT)
    source = open_source(tmp_path / "a.tar", labels=False)
    assert [item.id for item in source.items] == ["caf\\xe9.png"]
    assert os.fsencode(source.items.paths[0]) == b"caf\xe9.png"
