"""Folders, manifests and arrays: order, labels, and files made to do harm."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import pickle
import struct
import tempfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import SourceError
from scanner.inputs import files, npy
from scanner.inputs.files import FolderReader
from scanner.inputs.items import REASONS, Item, Source, UnreadableInput, natural_order
from scanner.inputs.source import open_source, require_images


def touch(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))


def ids(source: Source) -> list[str]:
    return [item.id for item in source.items]


@contextlib.contextmanager
def memory_below(limit: float) -> Iterator[None]:
    """Fail if more than ``limit`` bytes are allocated at any time inside."""
    gc.collect()
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def reason(source: Source, item_id: str) -> str:
    with pytest.raises(UnreadableInput) as caught:
        source.read(source.items[ids(source).index(item_id)])
    assert caught.value.reason in REASONS
    assert caught.value.detail
    return caught.value.reason


# --- folders ---


def test_class_folders_have_labels_in_natural_order_and_items_in_bytewise_order(tmp_path: Path) -> None:
    touch(tmp_path, "10/a.png", "2/b.JPG", "2/deep/er/c.webp", "B/d.gif", "a/e.tiff", "2/Z.bmp")
    source = open_source(tmp_path)
    assert source.kind == "class-folders"
    assert source.class_names == ("2", "10", "B", "a")
    assert ids(source) == ["10/a.png", "2/Z.bmp", "2/b.JPG", "2/deep/er/c.webp", "B/d.gif", "a/e.tiff"]
    assert [item.label for item in source.items] == ["10", "2", "2", "2", "B", "a"]
    assert [item.index for item in source.items] == list(range(6))
    assert [source.read(item) for item in source.items] == [name.encode() for name in ids(source)]


def test_without_labels_every_image_is_walked(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "loose.png", "x/y/z.ppm")
    source = open_source(tmp_path, labels=False)
    assert (source.kind, source.class_names) == ("folder", None)
    assert [(item.id, item.label) for item in source.items] == [
        ("cat/a.png", None),
        ("loose.png", None),
        ("x/y/z.ppm", None),
    ]


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    touch(tmp_path, "b.png", "a.png")
    source = open_source(tmp_path)
    assert (source.kind, source.class_names, ids(source)) == ("folder", None, ["a.png", "b.png"])


def test_mixed_layout_is_an_error_with_labels(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.png", "loose.png")
    with pytest.raises(SourceError, match=r"mixes class folders such as 'cat/' with loose images such as 'loose\.png'"):
        open_source(tmp_path)


def test_parts_of_a_data_set_are_not_classes(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.png", "val/cat/b.png")
    with pytest.raises(SourceError, match="parts of a data set") as caught:
        open_source(tmp_path)
    assert str(tmp_path / "train") in str(caught.value.hint)
    assert len(open_source(tmp_path, labels=False).items) == 2


def test_other_files_are_counted_and_clutter_is_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "notes.txt", "README", "x/data.csv", ".DS_Store", "Thumbs.db", "._a.png", "desktop.ini")
    source = open_source(tmp_path, labels=False)
    assert ids(source) == ["a.png"]
    assert source.ignored == 3


def test_a_hidden_image_is_an_input_and_a_hidden_folder_one_ignored_entry(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", ".hidden.png", ".git/b.png", ".git/c.png")
    source = open_source(tmp_path, labels=False)
    assert ids(source) == [".hidden.png", "a.png"]
    assert source.ignored == 1


@pytest.mark.parametrize("names", [(), ("notes.txt",)])
def test_a_folder_without_images_is_empty_and_can_be_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    touch(tmp_path, *names)
    source = open_source(tmp_path)
    assert (len(source.items), source.ignored, source.class_names) == (0, len(names), None)
    with pytest.raises(SourceError, match="contains no image") as caught:
        require_images(source)
    assert caught.value.hint
    assert (len(names) == 0) == ("other" not in str(caught.value))


def test_manifests_and_arrays_may_be_empty(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("file_name,label\n")
    (tmp_path / "m.jsonl").write_text("")
    np.save(tmp_path / "a.npy", np.zeros((0, 8, 8), np.uint8))
    np.savez(tmp_path / "a.npz", images=np.zeros((0, 8, 8, 3), np.float32), labels=np.zeros(0, np.int64))
    np.savez_compressed(tmp_path / "b.npz", images=np.zeros((0, 8, 8), np.uint8))
    for name in ("m.csv", "m.jsonl", "a.npy", "a.npz", "b.npz"):
        source = open_source(tmp_path / name)
        assert len(source.items) == 0, name
        with pytest.raises(SourceError, match="contains no image"):
            require_images(source)


@pytest.mark.parametrize("name", ["nothing", "nothing.csv", "a\0b", "x" * 5000])
def test_a_missing_path_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError):
        open_source(tmp_path / name)


def test_a_single_image_and_one_behind_a_link(tmp_path: Path) -> None:
    touch(tmp_path, "store/blob.png")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "photo.png").symlink_to(tmp_path / "store" / "blob.png")
    for path in (tmp_path / "store" / "blob.png", tmp_path / "in" / "photo.png"):
        source = open_source(path)
        assert (source.kind, ids(source), source.root) == ("file", [path.name], path)
        assert source.read(source.items[0]) == b"store/blob.png"


def test_a_file_that_is_no_image_by_name_is_an_error(tmp_path: Path) -> None:
    touch(tmp_path, "model.pt")
    with pytest.raises(SourceError, match="is no image, manifest, array, archive or table") as caught:
        open_source(tmp_path / "model.pt")
    assert ".jsonl" in str(caught.value.hint)


def test_a_fifo_or_device_as_source_is_an_error_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(SourceError, match="neither a file nor a folder"):
            open_source(path)


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8)))
@settings(deadline=None, max_examples=30)
def test_order_is_bytewise_whatever_the_names(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in names:
            (root / f"x{name}.png").write_bytes(b"x")
        if names:
            found = ids(open_source(root))
            assert found == sorted({f"x{name}.png" for name in names}, key=str.encode)


def test_names_that_are_not_utf8_or_hold_control_characters(tmp_path: Path) -> None:
    touch(tmp_path, "esc\x1b[31m\n.png", os.fsdecode(b"cat\xff/raw\xfe.png"))
    source = open_source(tmp_path, labels=False)
    assert ids(source) == [r"cat\xff/raw\xfe.png", "esc\x1b[31m\n.png"]
    assert source.read(source.items[0]) == b"cat\xff/raw\xfe.png"
    json.dumps(ids(source), ensure_ascii=False).encode()


def test_natural_order() -> None:
    assert natural_order(["10", "2", "1", "a10b", "a9b", "2"]) == ("1", "2", "10", "a9b", "a10b")
    assert natural_order(["", "01", "1", "x"]) == ("", "01", "1", "x")
    # Superscripts are digits to str.isdigit, but not numbers.
    assert set(natural_order(["²", "1", "٣"])) == {"²", "1", "٣"}


# --- links and special files ---


def test_links_inside_are_followed_and_links_outside_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "outside.png", "root/real.png", "root-twin/x.png")
    root = tmp_path / "root"
    (root / "inside.png").symlink_to("real.png")
    (root / "absolute.png").symlink_to(root / "real.png")
    (root / "hop.png").symlink_to("inside.png")
    (root / "leak.png").symlink_to("../outside.png")
    (root / "twin.png").symlink_to("../root-twin/x.png")
    (root / "broken.png").symlink_to("nothing.png")
    (root / "loop.png").symlink_to("loop.png")
    (root / "device.png").symlink_to("/dev/zero")
    source = open_source(root)
    assert source.kind == "folder"
    for name in ("inside.png", "absolute.png", "hop.png"):
        assert source.read(source.items[ids(source).index(name)]) == b"root/real.png"
    assert reason(source, "leak.png") == "outside-source"
    assert reason(source, "twin.png") == "outside-source"
    assert reason(source, "device.png") == "outside-source"
    assert reason(source, "broken.png") == "missing"
    assert reason(source, "loop.png") == "symlink-loop"


def test_linked_folders_are_rows_and_not_entered(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/secret.png", "root/cat/a.png")
    root = tmp_path / "root"
    (root / "cat" / "up").symlink_to("..")
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "self").symlink_to("self")
    source = open_source(root)
    assert ids(source) == ["cat/a.png", "cat/up", "dog", "self"]
    assert source.class_names == ("cat", "dog", "self")
    assert reason(source, "cat/up") == "not-a-file"
    assert reason(source, "dog") == "outside-source"
    assert reason(source, "self") == "symlink-loop"


def test_special_files_are_rows_and_do_not_block(tmp_path: Path) -> None:
    touch(tmp_path, "a.png", "empty.png")
    (tmp_path / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.png")
    source = open_source(tmp_path, labels=False)
    assert reason(source, "pipe") == "not-a-file"
    assert reason(source, "pipe.png") == "not-a-file"
    assert reason(source, "empty.png") == "empty"


def test_a_folder_that_cannot_be_listed_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "open/a.png", "locked/b.png")
    scandir = os.scandir

    def deny(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", deny)
    assert ids(open_source(tmp_path, labels=False)) == ["locked", "open/a.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_permission(tmp_path: Path) -> None:
    touch(tmp_path, "a.png")
    (tmp_path / "a.png").chmod(0)
    assert reason(open_source(tmp_path), "a.png") == "permission"


def test_files_that_vanish_grow_or_are_swapped_for_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "root/a.png", "root/b.png", "root/c.png", "secret.png")
    source = open_source(tmp_path / "root")
    (tmp_path / "root" / "a.png").unlink()
    assert reason(source, "a.png") == "missing"
    (tmp_path / "root" / "b.png").unlink()
    (tmp_path / "root" / "b.png").symlink_to("../secret.png")
    assert reason(source, "b.png") == "outside-source"

    fstat = os.fstat

    def append_first(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        with (tmp_path / "root" / "c.png").open("ab") as file:
            file.write(b"more")
        return status

    monkeypatch.setattr(files.os, "fstat", append_first)
    assert reason(source, "c.png") == "changed"


def test_size_limit(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"12345")
    assert FolderReader(tmp_path, limit=5).read("a.png") == b"12345"
    with pytest.raises(UnreadableInput, match="too-large"):
        FolderReader(tmp_path, limit=4).read("a.png")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**40)
    assert reason(open_source(tmp_path), "sparse.png") == "too-large"


@pytest.mark.parametrize("name", ["nul\0.png", "n" * 300 + ".png"])
def test_names_the_system_refuses(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnreadableInput, match="bad-name"):
        FolderReader(tmp_path).read(name)


def test_many_files_take_little_memory(tmp_path: Path) -> None:
    count = 20_000
    manifest = tmp_path / "many.csv"
    manifest.write_text("file_name,label\n" + "".join(f"d/{i:06}.png,{i % 7}\n" for i in range(count)))
    gc.collect()
    tracemalloc.start()
    source = open_source(manifest)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept / count < 120  # the path itself and four bytes for the label
    assert source.items[-1] == Item(count - 1, f"d/{count - 1:06}.png", str((count - 1) % 7))
    assert [item.index for item in source.items[5:9:2]] == [5, 7]
    with pytest.raises(IndexError):
        source.items[count]


# --- manifests ---


def manifest(tmp_path: Path, name: str, text: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", '\ufefflabel,file_name,note\r\ncat,b.png,"x, y"\r\n\r\n10,./a.png,\r\n'),
        ("m.jsonl", '{"file_name": "b.png", "label": "cat"}\n\n{"file_name": "a.png", "label": 10, "z": [1]}\n'),
    ],
)
def test_manifest_rows_are_sorted_and_labelled(tmp_path: Path, name: str, text: str) -> None:
    touch(tmp_path, "a.png", "b.png")
    source = open_source(manifest(tmp_path, name, text))
    assert source.kind == "manifest"
    assert [(item.id, item.label) for item in source.items] == [("a.png", "10"), ("b.png", "cat")]
    assert source.class_names == ("10", "cat")
    assert source.read(source.items[1]) == b"b.png"
    plain = open_source(tmp_path / name, labels=False)
    assert (plain.class_names, plain.items[0].label) == (None, None)


def test_manifest_without_labels(tmp_path: Path) -> None:
    assert open_source(manifest(tmp_path, "m.csv", "file_name\na.png\n")).class_names is None
    assert open_source(manifest(tmp_path, "n.csv", "file_name,label\na.png,\n")).class_names is None


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "", "no single column"),
        ("m.csv", "name\na.png\n", "no single column"),
        ("m.csv", "file_name,file_name\na,b\n", "no single column"),
        ("m.csv", "file_name\n../a.png\n", "line 2: .* leaves"),
        ("m.csv", "file_name\nx/../../a.png\n", "leaves"),
        ("m.csv", "file_name\n/etc/passwd\n", "leaves"),
        ("m.csv", "file_name\na\0.png\n", "line 2"),
        ("m.csv", "file_name\n.\n", "not a file name"),
        ("m.csv", "file_name\n" + "x" * 5000 + "\n", "not a file name"),
        ("m.csv", "file_name\na.png\n./a.png\n", "named on line 2 already"),
        ("m.csv", "file_name,label\na.png,1\nb.png,\n", "labels 1 of 2 rows, not line 3"),
        ("m.csv", "file_name,label\na.png\n", "has 1 fields, the header 2"),
        ("m.csv", "file_name,label\na.png," + "x" * 300 + "\n", "1 to 256 characters"),
        ("m.csv", 'file_name\n"a.png\n', "not valid CSV"),
        ("m.csv", "file_name\n" + "x" * (2**20 + 1), "longer than"),
        ("m.csv", b"file_name\n\xff.png\n", "not UTF-8"),
        ("m.jsonl", "[1]\n", "no text 'file_name'"),
        ("m.jsonl", '{"file_name": 3}\n', "no text 'file_name'"),
        ("m.jsonl", '{"file_name": "a.png"\n', "not valid JSON"),
        ("m.jsonl", "[" * 100_000 + "\n", "not valid JSON"),
        ("m.jsonl", '{"file_name": "a.png", "label": ' + "9" * 5000 + "}\n", "not valid JSON"),
        ("m.jsonl", '{"file_name": "a.png", "label": true}\n', "neither text nor an integer"),
        ("m.jsonl", '{"file_name": "a.png", "label": ""}\n', "1 to 256"),
        ("m.jsonl", '{"file_name": "a\\ud800.png"}\n', "not a file name"),
        ("m.jsonl", '{"file_name": "a\\u0000.png"}\n', "not a file name"),
        ("m.jsonl", '{"file_name": "../a.png"}\n', "leaves"),
    ],
)
def test_invalid_manifests_are_errors_of_one_line(tmp_path: Path, name: str, text: str | bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        open_source(manifest(tmp_path, name, text))
    assert caught.value.where == str(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_a_manifest_names_is_read_inside_its_folder_only(tmp_path: Path) -> None:
    touch(tmp_path, "secret/x.png", "set/a.png")
    (tmp_path / "set" / "leak.png").symlink_to("../secret/x.png")
    (tmp_path / "set" / "dir").symlink_to("../secret")
    (tmp_path / "set" / "folder").mkdir()
    text = "file_name\na.png\nleak.png\ndir/x.png\nmissing.png\nfolder\na.png/b.png\n"
    source = open_source(manifest(tmp_path / "set", "m.csv", text))
    assert reason(source, "leak.png") == "outside-source"
    assert reason(source, "dir/x.png") == "outside-source"
    assert reason(source, "missing.png") == "missing"
    assert reason(source, "a.png/b.png") == "missing"
    assert reason(source, "folder") == "not-a-file"
    assert source.read(source.items[ids(source).index("a.png")]) == b"set/a.png"


# --- arrays ---

RNG = np.random.default_rng(0)
HWC = RNG.integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)
GREY = HWC[..., 0]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (HWC, HWC),
        (HWC.transpose(0, 3, 1, 2), HWC),
        (GREY, GREY),
        (GREY[:, None], GREY[..., None]),
        (GREY[..., None], GREY[..., None]),
        ((HWC / 255).astype(np.float32), HWC),
        ((HWC / 255).astype(">f4"), HWC),
        ((HWC / 255).transpose(0, 3, 1, 2), HWC),
        (GREY[:1], GREY[:1]),
    ],
)
@pytest.mark.parametrize("how", ["npy", "stored", "compressed"])
def test_arrays_give_the_pixels_whatever_the_layout(
    tmp_path: Path, array: np.ndarray, expected: np.ndarray, how: str
) -> None:
    path = tmp_path / ("images.npy" if how == "npy" else "images.npz")
    array = np.ascontiguousarray(array)
    {
        "npy": np.save,
        "stored": lambda p, a: np.savez(p, images=a),
        "compressed": lambda p, a: np.savez_compressed(p, x=a),
    }[how](path, array)
    source = open_source(path)
    assert (source.kind, source.class_names, len(source.items)) == ("array", None, len(expected))
    for index, item in enumerate(source.items):
        pixels = source.read(item)
        assert isinstance(pixels, np.ndarray)
        assert pixels.flags.c_contiguous
        assert item.id == f"{path.name}[{index}]"
        np.testing.assert_array_equal(pixels, expected[index])


@pytest.mark.parametrize(
    ("labels", "names", "third"),
    [
        (np.array([3, 1, 10, 3, 1]), ("1", "3", "10"), "10"),
        (np.array([[3], [1], [10], [3], [1]], np.uint8), ("1", "3", "10"), "10"),
        (np.array([-1, 0, 0, 0, -1]), ("0", "-1"), "0"),
        (np.array(["cat", "dog", "dög", "cat", "cat"]), ("cat", "dog", "dög"), "dög"),
        (np.array([b"a", b"b", b"c", b"c", b"c"]), ("a", "b", "c"), "c"),
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_array_labels(tmp_path: Path, labels: np.ndarray, names: tuple[str, ...], third: str, save: object) -> None:
    path = tmp_path / "a.npz"
    save(path, x=HWC, y=labels)  # type: ignore[operator]
    source = open_source(path)
    assert source.class_names is not None
    assert set(source.class_names) == set(names)
    assert source.items[2].label == third
    unlabelled = open_source(path, labels=False)
    assert (unlabelled.class_names, unlabelled.items[2].label) == (None, None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": HWC}, "no array named"),
        ({"x": HWC, "images": HWC}, "several of the arrays"),
        ({"x": HWC, "y": np.arange(4)}, "5 images and 4 labels"),
        ({"x": HWC, "y": np.ones((5, 2))}, "not one class an image"),
        ({"x": HWC, "y": np.arange(5) / 2}, "fractions"),
        ({"x": HWC, "y": np.array(["a", "", "b", "b", "b"])}, "empty labels"),
        ({"x": HWC, "y": np.array([b"\xff"] * 5)}, "not UTF-8"),
        ({"x": HWC, "y": np.array(["x" * 300] * 5)}, "labels of shape"),
        ({"x": HWC.astype(np.int64)}, "type int64"),
        ({"x": HWC.astype(np.float16)}, "type float16"),
        ({"x": HWC > 3}, "type bool"),
        ({"x": np.zeros((3, 4, 5, 2), np.uint8)}, "does not tell the axis"),
        ({"x": np.zeros((3, 3, 5, 1), np.uint8)}, "does not tell the axis"),
        ({"x": np.zeros((8, 8, 3), np.uint8)}, "does not tell the axis"),
        ({"x": np.zeros((3, 8, 8), np.uint8)}, "does not tell the axis"),
        ({"x": np.zeros((8, 8), np.uint8)}, "not a stack"),
        ({"x": np.zeros((4, 0, 8), np.uint8)}, "not a stack"),
        ({"x": np.asfortranarray(HWC)}, "column by column"),
        ({"x": HWC.astype(np.float32)}, "out of range"),
        ({"x": np.full((4, 8, 8), np.nan, np.float32)}, "out of range"),
        ({"x": np.zeros(4, [("a", "u1")])}, "not numbers"),
        ({"x": np.array([{}, []], object)}, "Python objects"),
    ],
)
def test_arrays_that_are_no_images_are_errors(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "a.npz", allow_pickle=True, **arrays)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (marker,)

    np.save(tmp_path / "a.npy", np.array([Bomb()], object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", images=HWC, labels=np.array([Bomb()] * 5, object), allow_pickle=True)
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Bomb()))
    for name in ("a.npy", "b.npz", "c.npy"):
        with pytest.raises(SourceError):
            open_source(tmp_path / name)
    assert not marker.exists()


def test_a_bad_float_is_one_unreadable_row(tmp_path: Path) -> None:
    values = np.full((20, 4, 4), 0.5, np.float32)
    values[3, 0, 0] = np.nan
    values[4, 0, 0] = 1.5
    values[5, 0, 0] = -np.inf
    values[6, 0, 0] = 1 + 1e-6
    np.save(tmp_path / "a.npy", values)
    source = open_source(tmp_path / "a.npy")
    for index in (3, 4, 5):
        assert reason(source, f"a.npy[{index}]") == "bad-values"
    assert source.read(source.items[6])[0, 0] == 255


def header_of(shape: str, descr: str = "'|u1'", version: bytes = b"\x01\x00") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not numpy",
        header_of("(1000000000, 1000, 1000)"),
        header_of("(99999999999999999999999, 8, 8)"),
        header_of("(2, 2, 2)")[:40],
        header_of("(2, 9, 9)") + b"x" * 100,
        header_of("(-2, 9, 9)") + b"x" * 400,
        header_of("(2, 9, 9)", descr="'|O'") + b"x" * 400,
        header_of("(2, 9, 9)", descr="(" * 5000),
        header_of("(2, 9, 9)", descr="__import__('os')"),
        header_of("(2, 9, 9)", version=b"\x07\x00") + b"x" * 400,
        header_of("'ab'") + b"x" * 400,
    ],
)
def test_hostile_headers_are_errors_and_allocate_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with zipfile.ZipFile(tmp_path / "b.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    for name in ("a.npy", "b.npz"):
        with memory_below(10 * 2**20), pytest.raises(SourceError) as caught:
            open_source(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_zip_bombs_are_refused_before_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = header_of("(32, 1024, 1024)") + bytes(32 * 2**20)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", data)
    with memory_below(4 * 2**20), pytest.raises(SourceError, match="200 times"):
        open_source(tmp_path / "bomb.npz")
    monkeypatch.setattr(npy, "MAX_UNPACKED_BYTES", 1000)
    np.savez_compressed(tmp_path / "large.npz", images=HWC[:, :, :, :].repeat(3, 0))
    with pytest.raises(SourceError, match="unpacks to"):
        open_source(tmp_path / "large.npz")


def test_mostly_black_images_may_compress_well(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((50, 28, 28), np.uint8))
    assert len(open_source(tmp_path / "a.npz").items) == 50


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_compression_is_refused(tmp_path: Path, method: int) -> None:
    buffer = io.BytesIO()
    np.save(buffer, HWC)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
        archive.writestr("images.npy", buffer.getvalue())
    with pytest.raises(SourceError, match="unusual"):
        open_source(tmp_path / "a.npz")


@given(st.integers(0, 600), st.integers(0, 255), st.sampled_from(["stored", "compressed", "npy"]))
@settings(deadline=None, max_examples=150)
def test_damage_anywhere_is_an_error_or_a_source(position: int, value: int, how: str) -> None:
    buffer = io.BytesIO()
    small = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    if how == "npy":
        np.save(buffer, small)
    else:
        (np.savez if how == "stored" else np.savez_compressed)(buffer, images=small, labels=np.arange(2))
    content = bytearray(buffer.getvalue())
    content[position % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.npy" if how == "npy" else "a.npz")
        path.write_bytes(content)
        # Nothing else may escape, and what opens may be read.
        with contextlib.suppress(SourceError):
            source = open_source(path)
            for item in source.items[:10]:
                with contextlib.suppress(UnreadableInput):
                    assert isinstance(source.read(item), np.ndarray)


@pytest.mark.parametrize("how", ["npy", "stored"])
def test_an_array_file_that_shrinks_or_changes_gives_rows_and_does_not_crash(tmp_path: Path, how: str) -> None:
    path = tmp_path / ("a.npy" if how == "npy" else "a.npz")
    np.save(path, HWC) if how == "npy" else np.savez(path, images=HWC)
    source = open_source(path)
    assert source.read(source.items[0]) is not None
    os.truncate(path, 300)
    assert reason(source, f"{path.name}[4]") == "changed"


def test_array_files_stay_on_disk(tmp_path: Path) -> None:
    with (tmp_path / "big.npy").open("wb") as file:
        file.write(header_of("(40000, 100, 100)"))
        file.truncate(len(header_of("(40000, 100, 100)")) + 40_000 * 10_000)
    with memory_below(2**20):
        source = open_source(tmp_path / "big.npy")
        assert np.shape(source.read(source.items[-1])) == (100, 100)


def test_descriptors_are_closed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=HWC)
    np.save(tmp_path / "b.npy", HWC)
    np.save(tmp_path / "c.npy", HWC.astype(np.int64))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        open_source(tmp_path / "a.npz")
        open_source(tmp_path / "b.npy")
        with pytest.raises(SourceError):
            open_source(tmp_path / "c.npy")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_compressed_member_with_a_wrong_checksum_is_an_error(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=HWC)
    content = (tmp_path / "a.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        crc = archive.infolist()[0].CRC
    (tmp_path / "a.npz").write_bytes(content.replace(struct.pack("<I", crc), struct.pack("<I", zlib.crc32(b""))))
    with pytest.raises(SourceError, match="CRC"):
        open_source(tmp_path / "a.npz")
