"""Which folders are classes: wrappers, parts, mixtures, folders of folders, and labels that say nothing."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scanner.base.errors import SourceError
from scanner.inputs.layout import MAX_WRAPPERS
from scanner.inputs.source import open_source


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"x")


LABELLED = {
    "class folders": (("cat/a.png", "dog/b.png"), "2 class folders", ["cat", "dog"]),
    "a wrapper": (("clean/cat/a.png", "clean/dog/b.png"), "2 class folders in 'clean/'", ["cat", "dog"]),
    "two wrappers": (("x/y/cat/a.png", "x/y/dog/b.png"), "2 class folders in 'x/y/'", ["cat", "dog"]),
    "one part of a data set": (("train/cat/a.png", "train/dog/b.png"), "2 class folders in 'train/'", ["cat", "dog"]),
    "files that are no images": (
        ("README.md", "clean/notes.txt", "clean/cat/a.png", "clean/dog/b.png", ".git/x.png"),
        "2 class folders in 'clean/'",
        ["cat", "dog"],
    ),
    "an empty folder beside": (("other/", "clean/cat/a.png", "clean/dog/b.png"), "2 class folders in 'clean/'", None),
    "a folder in each class": (("cat/images/a.png", "dog/images/b.png"), "2 class folders", ["cat", "dog"]),
    "folders in classes with images": (
        ("cat/a.png", "cat/new/b.png", "cat/old/c.png", "dog/new/d.png"),
        "2 class folders",
        ["cat", "cat", "cat", "dog"],
    ),
    "many wrappers": (
        ("w/" * MAX_WRAPPERS + "cat/a.png", "w/" * MAX_WRAPPERS + "dog/b.png"),
        "2 class folders in " + repr("w/" * MAX_WRAPPERS),
        ["cat", "dog"],
    ),
}


@pytest.mark.parametrize("case", LABELLED)
def test_class_folders_are_found(case: str, tmp_path: Path) -> None:
    names, layout, labels = LABELLED[case]
    make(tmp_path, *names)
    source = open_source(tmp_path)
    assert (source.kind, source.layout) == ("class-folders", layout)
    assert [item.label for item in source.items] == (labels or ["cat", "dog"])
    assert all((tmp_path / item.id).is_file() and source.read(item) == b"x" for item in source.items)


UNLABELLED = {
    "images alone": (("a.png", "b.png"), "a folder of images without class folders, and so without labels"),
    "a wrapper": (("images/a.png", "images/b.png"), "one folder of images, 'images/', which is the same as no labels"),
    "two wrappers": (("x/y/a.png",), "one folder of images, 'x/y/', which is the same as no labels"),
    "one class beside an empty one": (
        ("cat/a.png", "dog/"),
        "one folder of images, 'cat/', which is the same as no labels",
    ),
    "one class beside one without images": (
        ("cat/a.png", "dog/b.txt"),
        "one folder of images, 'cat/', which is the same as no labels",
    ),
}


@pytest.mark.parametrize("case", UNLABELLED)
def test_one_label_is_none(case: str, tmp_path: Path) -> None:
    names, layout = UNLABELLED[case]
    make(tmp_path, *names)
    source = open_source(tmp_path)
    assert (source.kind, source.class_names, source.layout) == ("folder", None, layout)
    assert {item.label for item in source.items} == {None}


REFUSED = {
    "loose images": (("cat/a.png", "dog/b.png", "c.png"), "mixes class folders such as 'cat/' with loose images"),
    "loose images in a wrapper": (("w/cat/a.png", "w/c.png"), "'w/cat/' with loose images such as 'w/c.png'"),
    "an image beside a wrapper": (("c.png", "w/cat/a.png", "w/dog/b.png"), "mixes class folders such as 'w/'"),
    "parts": (("train/cat/a.png", "val/cat/b.png"), "holds the parts of a data set (train, val), not classes"),
    "parts in a wrapper": (("w/Train/cat/a.png", "w/test/cat/b.png"), "holds the parts of a data set (Train, test)"),
    "classes in sites": (
        ("site1/cat/a.png", "site1/dog/b.png", "site2/cat/c.png", "site2/dog/d.png"),
        "holds folders of folders, such as 'site1/cat/' and 'site1/dog/': the classes could be either",
    ),
    "classes in groups": (
        ("animal/cat/a.png", "vehicle/car/c.png", "vehicle/ship/d.png"),
        "holds folders of folders, such as 'vehicle/car/' and 'vehicle/ship/'",
    ),
    "too many wrappers": (
        ("w/" * (MAX_WRAPPERS + 1) + "a.png",),
        f"more than {MAX_WRAPPERS} folders within each other",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_says_neither_is_refused_with_what_was_found(case: str, tmp_path: Path) -> None:
    names, message = REFUSED[case]
    make(tmp_path, *names)
    with pytest.raises(SourceError, match=re.escape(message)) as caught:
        open_source(tmp_path)
    assert caught.value.hint
    assert caught.value.where == str(tmp_path)
    source = open_source(tmp_path, labels=False)
    assert [item.id for item in source.items] == sorted(names, key=str.encode)
    assert source.layout == "labels are not used"


def test_the_part_to_point_at_is_named(tmp_path: Path) -> None:
    make(tmp_path, "w/train/cat/a.png", "w/val/cat/b.png")
    with pytest.raises(SourceError) as caught:
        open_source(tmp_path)
    assert str(tmp_path / "w" / "train") in str(caught.value.hint)


def test_a_folder_behind_a_link_is_one_whose_content_is_unknown(tmp_path: Path) -> None:
    make(tmp_path, "elsewhere/a.png", "ref/images/a.png")
    (tmp_path / "ref" / "more").symlink_to(tmp_path / "elsewhere")
    assert open_source(tmp_path / "ref").class_names == ("images", "more")
    make(tmp_path, "alone/")
    (tmp_path / "alone" / "images").symlink_to(tmp_path / "elsewhere")
    source = open_source(tmp_path / "alone")
    assert (source.class_names, source.layout) == (None, "nothing but 'images', a folder that cannot be entered")


def test_names_are_quoted_and_bounded(tmp_path: Path) -> None:
    make(tmp_path, "\x1b[31mred/a.png")
    assert open_source(tmp_path).layout == r"one folder of images, '\x1b[31mred/', which is the same as no labels"
    make(tmp_path / "long", "x" * 200 + "/a.png")
    assert len(open_source(tmp_path / "long").layout) < 130


names = st.text(st.characters(exclude_characters="/\0.", exclude_categories=["Cs"]), min_size=1, max_size=6)


@given(st.lists(names, max_size=MAX_WRAPPERS), st.sets(names, min_size=1, max_size=4), st.integers(1, 3))
@settings(deadline=None, max_examples=40)
def test_any_wrappers_around_any_classes(wrappers: list[str], classes: set[str], count: int) -> None:
    """Wrappers change no label, and one class in them is none; without labels, nothing depends on folders."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        if any(name.lower() in ("train", "val", "test", "dev", "valid") for name in classes) and len(classes) > 1:
            return
        if len(classes) == 1 and len(wrappers) == MAX_WRAPPERS:
            return
        paths = ["/".join([*wrappers, name, f"{i}.png"]) for name in classes for i in range(count)]
        make(root, *paths)
        source = open_source(root)
        expected = sorted(paths, key=str.encode)
        assert [item.id for item in source.items] == expected
        labels = [path.split("/")[-2] if len(classes) > 1 else None for path in expected]
        assert [item.label for item in source.items] == labels
        assert [item.id for item in open_source(root, labels=False).items] == expected


# --- manifests and arrays ---


def test_a_manifest_with_one_label_has_none(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("file_name,label\na.png,cat\nb.png,cat\n")
    source = open_source(path)
    assert (source.class_names, [item.label for item in source.items]) == (None, [None, None])
    assert source.layout == "a manifest in which every image has the label 'cat', which is the same as no labels"
    path.write_text("file_name,label\na.png,cat\nb.png,dog\n")
    assert open_source(path).layout == "a manifest with 2 labels"
    assert open_source(path, labels=False).layout == "labels are not used"
    path.write_text("file_name\na.png\n")
    assert open_source(path).layout == "a manifest without labels"


def test_an_array_with_one_label_has_none(tmp_path: Path) -> None:
    images = np.zeros((4, 8, 8), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.full(4, 7))
    source = open_source(tmp_path / "a.npz")
    assert (source.class_names, source.items[0].label) == (None, None)
    assert source.layout == "an array file in which every image has the label '7', which is the same as no labels"
    np.savez(tmp_path / "b.npz", images=images, labels=np.arange(4))
    assert open_source(tmp_path / "b.npz").layout == "an array file with 4 labels"
    np.save(tmp_path / "c.npy", images)
    assert open_source(tmp_path / "c.npy").layout == "an array file without labels"
