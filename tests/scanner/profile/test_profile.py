"""The profile survives a round trip, and a hostile file does not get anywhere."""

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pydantic
import pytest
from h5py import h5d, h5p, h5s, h5t
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from profile_samples import names, profiles, sample_header, sample_profile

from scanner.base.errors import OutputError, ProfileError
from scanner.profile import header as header_module
from scanner.profile.content import Profile, quote, unquote
from scanner.profile.header import ModelInfo, Part, ProfileHeader, canonical_json
from scanner.profile.reader import read_profile
from scanner.profile.writer import write_profile


def reference_digest(path):
    """The digest as docs/profile-format.md describes it, from the file alone."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    digest = hashlib.sha256(b"latentscan profile 2\n")
    for name in sorted(found):
        values = np.asarray(found[name])
        digest.update(f"{name}\n{values.dtype}\n{','.join(str(side) for side in values.shape)}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


@pytest.fixture
def path(tmp_path):
    write_profile(tmp_path / "profile.h5", sample_profile())
    return tmp_path / "profile.h5"


def refused(path, match):
    """Reading fails with one line of reason and advice, quickly, and without allocating what the file claims."""
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ProfileError, match=match) as caught:
        read_profile(path)
    assert time.process_time() - start < 5
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert caught.value.hint
    assert str(caught.value).isprintable()


# Round trips


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(profiles())
def test_round_trip(tmp_path_factory, profile):
    path = tmp_path_factory.mktemp("profile") / "profile.h5"
    write_profile(path, profile)
    back = read_profile(path)
    assert back.header == profile.header
    assert back.graph == profile.graph
    np.testing.assert_array_equal(back.weights, profile.weights)
    ours, theirs = profile.calibration, back.calibration
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert ours[name].shape == theirs[name].shape
        assert ours[name].tobytes() == theirs[name].tobytes()
    assert back.digest == profile.digest == reference_digest(path)


@given(names)
def test_link_names(name):
    assert unquote(quote(name)) == name
    assert quote(name).isascii()
    assert quote(name).isprintable()
    assert "/" not in quote(name)


def test_the_same_content_gives_the_same_bytes(tmp_path):
    write_profile(tmp_path / "a.h5", sample_profile())
    time.sleep(1.1)  # HDF5 time stamps count seconds
    write_profile(tmp_path / "b.h5", read_profile(tmp_path / "a.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_digest_is_pinned():
    """A change of this value breaks every profile in use: raise the format's version with it."""
    old = sample_profile(schema_version="2.0")
    assert old.digest == "03708cb37d3b8ead9ddbb8eb0b8d77b6a383bde3da8cc0a575afcd4bf0ba4eb1"
    assert sample_profile().digest == "882b7ef63a6e80ba116cd119c816439c21bb17f58cea79c706b7cd69e3c2a752"


def test_the_digest_covers_everything():
    profile = sample_profile()
    parts = {
        "header": profile.header,
        "graph": profile.graph,
        "weights": profile.weights,
        "calibration": profile.calibration,
    }
    combined, other = (profile.calibration[name] for name in ("combined", "layer1:max:precision"))
    changes = [
        {},
        {"header": sample_header(seed=1)},
        {"graph": profile.graph + b"\0"},
        {"weights": profile.weights[:-1]},
        {"calibration": {}},
        {"calibration": {"combined": combined.reshape(2, 150)}},
        {"calibration": {"combined": np.nextafter(combined, 1)}},
        {"calibration": {"combine": combined}},
        {"calibration": profile.calibration | {"combined": other, "layer1:max:precision": combined}},
        {"gallery": np.zeros(1, np.uint8)},
        {"unit_values": np.zeros(1, np.uint8)},
        {"unit_images": np.zeros(1, np.uint8)},
    ]
    digests = {Profile(**(parts | change)).digest for change in changes}
    assert len(digests) == len(changes)


def test_big_endian_and_strided_arrays_are_the_same_content(tmp_path):
    profile = sample_profile()
    combined = profile.calibration["combined"]
    other = Profile(
        profile.header,
        profile.graph,
        np.repeat(profile.weights, 2)[::2],
        profile.calibration | {"combined": np.repeat(combined.astype(">f8"), 3)[::3]},
    )
    assert other.digest == profile.digest
    write_profile(tmp_path / "p.h5", other)
    assert read_profile(tmp_path / "p.h5").digest == profile.digest


def test_names_that_are_not_unicode(tmp_path):
    name = os.fsdecode(b"caf\xe9.onnx")
    model = sample_header().model.model_copy(update={"name": name})
    header = sample_header(model=ModelInfo(**model.model_dump()), class_names=(name, "\ud800", "frog"))
    assert header.model.name == r"caf\xe9.onnx"
    assert header.class_names[1] == r"\ud800"
    write_profile(tmp_path / name, Profile(header, b"", np.zeros(0, np.uint8), {}))
    assert read_profile(tmp_path / name).header == header


def test_reading_needs_no_heavy_library():
    code = (
        "import sys, scanner.profile.reader; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'onnx', 'scipy', 'sklearn', 'rich')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# The header


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 4}, "3 class names for 4 classes"),
        ({"class_order": {"source": "given", "assignment": (0, 0)}}, "one to one"),
        ({"class_order": {"source": "given", "assignment": (3,)}}, "one to one"),
        ({"taps": sample_header().taps * 2}, "one tap name"),
        ({"scores": sample_header().scores[1:]}, "no score enters"),
        ({"descriptors": [sample_header().descriptors[0].model_copy(update={"tap": "layer2"})]}, "unknown taps"),
        ({"scores": [sample_header().scores[0].model_copy(update={"descriptor": "x"})]}, "unknown descriptors"),
        ({"class_names": ("cat", "dog", "x" * 1025)}, "at most 1024"),
        ({"detector": {"family": "tied", "parameters": {"x": float("nan")}, "own_densities": 3}}, "NaN|nan"),
        ({"detector": {"family": "tied", "parameters": {"x": "y" * 70_000}, "own_densities": 3}}, "65536 bytes"),
        ({"detector": {"family": "tied", "parameters": {}}}, "own_densities"),
        ({"calibration": {**sample_header().calibration.model_dump(), "method": "cross-fit"}}, "cross-conformal"),
        ({"self_checks": ({**sample_header().self_checks[0].model_dump(), "statistic": float("inf")},)}, "finite"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"surprise": 1}, "not permitted"),
    ],
)
def test_inconsistent_headers(changes, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        sample_header(**changes)


def test_every_field_of_the_header_is_described():
    parts = [part for part in vars(header_module).values() if isinstance(part, type) and issubclass(part, Part)]
    assert ProfileHeader in parts
    fields = [(part.__name__, name, field.description) for part in parts for name, field in part.model_fields.items()]
    assert [field for field in fields if not field[2]] == []


def test_every_field_of_the_header_is_documented():
    text = (Path(__file__).parents[3] / "docs" / "profile-format.md").read_text()
    assert [name for name in ProfileHeader.model_fields if f"`{name}`" not in text] == []


@pytest.mark.parametrize(("per_class", "smallest"), [({"cat": 7, "dog": 3, "frog": 9}, 3), ({"cat": 7, "dog": 3}, 0)])
def test_smallest_class(per_class, smallest):
    reference = sample_header().reference
    assert sample_header(reference=reference.model_copy(update={"per_class": per_class})).smallest_class == smallest


# Files that are not profiles


def test_not_a_file(tmp_path):
    refused(tmp_path / "absent.h5", "there is no such profile")
    refused(tmp_path, "is a folder")
    os.mkfifo(tmp_path / "fifo")
    refused(tmp_path / "fifo", "not a regular file")
    refused(tmp_path / "nul\0", "not a valid path")
    (tmp_path / "loop").symlink_to("loop")
    refused(tmp_path / "loop", "cannot be read")


@pytest.mark.parametrize("content", [b"text", b"\x80\x04\x95 pickle", b"PK\x03\x04", b"\0" * 5000])
def test_not_hdf5(tmp_path, content):
    (tmp_path / "p.h5").write_bytes(content)
    refused(tmp_path / "p.h5", "not an HDF5 file")


def test_empty(tmp_path):
    (tmp_path / "p.h5").touch()
    refused(tmp_path / "p.h5", "is empty")


def test_every_truncation_is_refused(path):
    content = path.read_bytes()
    for size in [*range(1, 200), *range(200, len(content), 97), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(ProfileError):
            read_profile(path)
    path.write_bytes(content[: len(content) // 2])
    refused(path, "is truncated")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_damage_is_refused_or_without_effect(tmp_path_factory, data):
    """Whatever bytes change, reading ends in `ProfileError` or in the very same content."""
    folder = tmp_path_factory.mktemp("damage")
    write_profile(folder / "p.h5", sample_profile())
    content = bytearray((folder / "p.h5").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (folder / "p.h5").write_bytes(content)
    try:
        profile = read_profile(folder / "p.h5")
    except ProfileError:
        return
    assert profile.digest == sample_profile().digest


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "keras.h5", "w") as file:
        file["model_weights"] = np.zeros(3)
    refused(tmp_path / "keras.h5", "not a profile")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("3.0", "profile format 3.0, this version reads 2.5"),
        ("2.6", "profile format 2.6, this version reads 2.5"),
        ("1.1", "profile format 1.1, this version reads 2.5"),
        ("0.9", "format 0.9"),
        ("one", "no version"),
    ],
)
def test_other_versions(path, version, message):
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = np.bytes_(version)
    refused(path, message)


@pytest.mark.parametrize(("version", "advice"), [("1.1", "Run 'modelscan fit' again"), ("2.6", "Upgrade latentscan")])
def test_what_to_do_about_another_version(path, version, advice):
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = np.bytes_(version)
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    assert caught.value.hint == advice


def test_densities_are_in_the_graph_alone(path):
    """Format 1 held them once more, beside the graph, where nothing read them."""
    with h5py.File(path, "r+") as file:
        file.create_group("detector")
    refused(path, "does not hold what a profile holds")


@pytest.mark.parametrize(
    "value", ["variable length", np.bytes_("x" * 1000), 3.0, np.array([b"a", b"b"]), h5py.Empty("S5"), h5py.Reference()]
)
@pytest.mark.parametrize("name", ["format", "schema_version", "sha256"])
def test_strange_attributes(path, name, value):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
        if isinstance(value, h5py.Reference):
            value = file.ref
        file.attrs[name] = value
    refused(path, "attribute")


@pytest.mark.parametrize("name", ["format", "schema_version", "sha256"])
def test_missing_attributes(path, name):
    with h5py.File(path, "r+") as file:
        del file.attrs[name]
    refused(path, "not a profile|has no attribute")


# Content that was changed


@pytest.mark.parametrize("name", ["weights", "graph", "calibration/combined", "calibration/constant"])
def test_changed_values(path, name):
    with h5py.File(path, "r+") as file:
        values = np.atleast_1d(file[name][()])
        values[0] += 1
        file[name][...] = values.reshape(file[name].shape)
    refused(path, "altered or damaged")


def replace_header(path, text):
    with h5py.File(path, "r+") as file:
        del file["header"]
        file["header"] = np.frombuffer(text, np.uint8)
    sign(path)


def sign(path):
    digest = reference_digest(path)
    with h5py.File(path, "r+") as file:
        file.attrs["sha256"] = np.bytes_(digest)


def test_a_change_with_a_new_digest_reads(path):
    """The digest guards against damage. It is no signature, and the documentation says so."""
    replace_header(path, sample_header(seed=7).to_json())
    assert read_profile(path).header.seed == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text[:-10], "invalid header"),
        (lambda text: b"\xff" + text, "invalid header"),
        (lambda text: b"[" * 100_000, "invalid header"),
        (lambda text: text.replace(b'"seed":0', b'"seed":"0"'), "seed"),
        (lambda text: text.replace(b'"seed":0', b'"seed":NaN'), "seed"),
        (lambda text: text.replace(b'"seed":0', b'"seed":0,"extra":1'), "extra"),
        (lambda text: text.replace(b'"seed":0,', b""), "seed"),
        (lambda text: text.replace(b"0.995", b"1e999"), "invalid header"),
        (lambda text: text.replace(b'"seed":0', b'"seed":1,"seed":0'), "canonical"),
        (lambda text: text.replace(b":", b": "), "canonical"),
        (lambda text: b'{"tool":' + text[1:].replace(b'"tool":', b'"tool_":'), "invalid header"),
        (lambda text: text.replace(b'"seed":0', b'"seed":' + b"9" * 5000), "invalid header"),
        (lambda text: text.replace(b'"seed":0', b'"se\\u001bed":0'), "invalid header"),
    ],
)
def test_strange_headers(path, change, message):
    replace_header(path, change(sample_header().to_json()))
    refused(path, message)


def test_a_field_that_is_absent_keeps_the_digest(path, tmp_path):
    """As a version wrote it that did not know the field 'bayesian': the digest is that of the text as it is stored."""
    text = sample_header().to_json()
    assert b'"bayesian":null,' in text
    replace_header(path, text.replace(b'"bayesian":null,', b""))
    back = read_profile(path)
    assert back.header == sample_header()
    assert back.digest == reference_digest(path) != sample_profile().digest
    write_profile(tmp_path / "copy.h5", back)
    assert read_profile(tmp_path / "copy.h5").digest == back.digest == reference_digest(tmp_path / "copy.h5")
    with h5py.File(path, "r+") as file:
        del file["header"]
        file["header"] = np.frombuffer(back.header.to_json(), np.uint8)
    refused(path, "altered or damaged")


@pytest.mark.parametrize("stated", ["1.1", "2.0", "2.6"])
def test_the_attribute_and_the_header_state_one_version(path, stated):
    replace_header(
        path, sample_header().to_json().replace(b'"schema_version":"2.5"', f'"schema_version":"{stated}"'.encode())
    )
    refused(path, "schema_version|states profile format 2.5, and its header 2.0")


@pytest.mark.parametrize("field", ["self_checks", "calibration", "scores"])
def test_a_header_lacks_nothing_that_decides(path, field):
    values = json.loads(sample_header().to_json())
    del values[field]
    replace_header(path, canonical_json(values))
    refused(path, field)


def test_a_header_of_many_megabytes(path):
    replace_header(path, b" " * (17 * 2**20))
    refused(path, "too large a header")


def test_nan_in_the_calibration(path, tmp_path):
    with h5py.File(path, "r+") as file:
        file["calibration/combined"][3] = np.nan
    sign(path)
    refused(path, "NaN")
    profile = sample_profile()
    bad = Profile(profile.header, profile.graph, profile.weights, {"combined": np.array([np.nan])})
    with pytest.raises(ProfileError, match="NaN"):
        write_profile(tmp_path / "bad.h5", bad)
    assert not (tmp_path / "bad.h5").exists()


# Content that no profile holds


def add(name):
    """A decorator: the hostile member that the function makes takes the place of `name`."""

    def mark(make):
        def hostile(file):
            if name in file:
                del file[name]
            make(file, name)

        hostile.__name__ = make.__name__
        HOSTILE.append(hostile)
        return hostile

    return mark


HOSTILE = []


@add("weights")
def external_link(file, name):
    file[name] = h5py.ExternalLink("/etc/passwd", "/weights")


@add("weights")
def soft_link(file, name):
    file[name] = h5py.SoftLink("/graph")


@add("calibration/layer")
def soft_link_in_a_group(file, name):
    file[name] = h5py.SoftLink("/calibration/constant")


@add("calibration")
def dangling_link(file, name):
    file[name] = h5py.SoftLink("/nowhere")


@add("calibration/self")
def cycle(file, name):
    file[name] = file["/"]


@add("weights")
def a_group_for_a_dataset(file, name):
    file.create_group(name)


@add("calibration")
def a_dataset_for_a_group(file, name):
    file[name] = np.zeros(3)


@add("calibration/type")
def committed_type(file, name):
    file[name] = np.dtype("f8")


@add("calibration")
def deep_nesting(file, name):
    file.create_group(name + "/a" * 1000)


@add("surprise")
def unknown_member(file, name):
    file[name] = np.zeros(3)


@add("graph")
def missing_member(file, name):
    pass


@add("calibration/%2f")
def improper_name(file, name):
    file[name] = np.zeros(3)


@add("calibration/\N{SNOWMAN}")
def name_beyond_ascii(file, name):
    file[name] = np.zeros(3)


@add("weights")
def virtual(file, name):
    layout = h5py.VirtualLayout(shape=(100,), dtype=np.uint8)
    layout[:] = h5py.VirtualSource("/etc/passwd", "weights", shape=(100,))
    file.create_virtual_dataset(name, layout)


@add("calibration/x")
def virtual_without_end(file, name):
    layout = h5py.VirtualLayout(shape=(100,), dtype=np.float64, maxshape=(None,))
    layout[: h5s.UNLIMITED] = h5py.VirtualSource("other.h5", "x", shape=(100,), maxshape=(None,))[: h5s.UNLIMITED]
    file.create_virtual_dataset(name, layout)


@add("weights")
def external_storage(file, name):
    file.create_dataset(name, (100,), np.uint8, external=[("/etc/passwd", 0, 100)])


@add("weights")
def gzip(file, name):
    file.create_dataset(name, data=np.zeros(10_000_000, np.uint8), compression="gzip")


@add("weights")
def chunked(file, name):
    file.create_dataset(name, data=np.zeros(100, np.uint8), chunks=(10,))


@add("calibration/x")
def unknown_filter(file, name):
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_chunk((10,))
    properties.set_filter(32_099, h5py.h5z.FLAG_OPTIONAL)
    space = h5s.create_simple((10,))
    h5d.create(file.id, name.encode(), h5t.IEEE_F64LE, space, properties)


@add("calibration/x")
def compact(file, name):
    properties = h5p.create(h5p.DATASET_CREATE)
    properties.set_layout(h5d.COMPACT)
    h5d.create(file.id, name.encode(), h5t.IEEE_F64LE, h5s.create_simple((10,)), properties)


@add("calibration/x")
def absurd_shape(file, name):
    file.create_dataset(name, (2**40, 2**10), np.float64)


@add("calibration/x")
def absurd_chunked_shape(file, name):
    file.create_dataset(name, (2**62,), np.float64, chunks=(1024,))


@add("weights")
def two_dimensional_bytes(file, name):
    file[name] = np.zeros((3, 3), np.uint8)


@add("calibration/x")
def many_dimensions(file, name):
    file[name] = np.zeros((1,) * 5)


@add("calibration/x")
def no_shape(file, name):
    file[name] = h5py.Empty("f8")


@add("calibration/x")
def variable_strings(file, name):
    file.create_dataset(name, data=["a" * 1000], dtype=h5py.string_dtype())


@add("calibration/x")
def variable_arrays(file, name):
    file.create_dataset(name, (3,), dtype=h5py.vlen_dtype(np.float64))


@add("calibration/x")
def references(file, name):
    file.create_dataset(name, data=[file.ref], dtype=h5py.ref_dtype)


@add("calibration/x")
def compound(file, name):
    file[name] = np.zeros(3, [("a", "f8"), ("b", "f8")])


@add("calibration/x")
def opaque(file, name):
    file[name] = np.zeros(3, "V8")


@add("calibration/x")
def array_type(file, name):
    space = h5s.create_simple((2,))
    h5d.create(file.id, name.encode(), h5t.array_create(h5t.IEEE_F64LE, (1000, 1000)), space)


@add("calibration/x")
def single_precision(file, name):
    file[name] = np.zeros(3, np.float32)


@add("calibration/x")
def big_endian(file, name):
    file[name] = np.zeros(3, ">f8")


@add("weights")
def signed_bytes(file, name):
    file[name] = np.zeros(3, np.int8)


@add("calibration/x")
def one_array_under_many_names(file, name):
    file[name] = np.zeros(100_000)
    for index in range(500):
        file[f"{name}{index}"] = file[name]


@add("calibration/x")
def too_many_members(file, name):
    file[name] = np.zeros(0)
    for index in range(20_001):
        file[f"{name}{index}"] = file[name]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda hostile: hostile.__name__)
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_hostile_members(tmp_path, hostile, libver):
    path = tmp_path / "profile.h5"
    write_profile(path, sample_profile())
    with h5py.File(path, "r+", libver=libver) as file:
        hostile(file)
    refused(path, r"profile\.h5: (?!is a damaged)")


def test_a_sparse_file_of_terabytes(path):
    """The file really has the size that a data set claims, and costs its author nothing."""
    with h5py.File(path, "r+") as file:
        del file["weights"]
        file.create_dataset("weights", (2**36,), np.uint8)
        file["weights"][-1] = 1
    refused(path, "claims more data")


def test_no_other_file_is_opened(path, tmp_path, monkeypatch):
    """Not even to find out whether it exists: a FIFO in its place would block for ever."""
    os.mkfifo(tmp_path / "trap")
    with h5py.File(path, "r+") as file:
        del file["weights"]
        file["weights"] = h5py.ExternalLink("trap", "/weights")
        file.create_dataset("calibration/x", (2,), np.float64, external=[(str(tmp_path / "trap"), 0, 16)])
    refused(path, "profile")
    with h5py.File(path, "r+") as file:
        del file["weights"]
        file["weights"] = np.zeros(10, np.uint8)
    refused(path, "not stored plainly")


# Writing


def test_a_full_disk_leaves_nothing(tmp_path):
    profile = sample_profile()
    big = Profile(profile.header, profile.graph, np.zeros(2_000_000, np.uint8), profile.calibration)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (0, 100, 4096, 1_000_000, 2_000_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(OutputError, match="larger than"):
                write_profile(tmp_path / "p.h5", big)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert list(tmp_path.iterdir()) == []
    write_profile(tmp_path / "p.h5", big)
    assert read_profile(tmp_path / "p.h5").digest == big.digest


@pytest.mark.parametrize("failing_call", [1, 2, 3])
def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch, failing_call):
    """Ctrl-C arrives in the middle of writing."""
    monkeypatch.setattr("scanner.profile.writer._BLOCK", 1000)
    method = "write"
    calls = 0
    original = getattr(sys.modules["scanner.base.atomic"].io.BufferedRandom, method)

    class Interrupted(sys.modules["scanner.base.atomic"].io.BufferedRandom):
        pass

    def interrupted(self, *arguments):
        nonlocal calls
        calls += 1
        if calls == failing_call:
            raise KeyboardInterrupt
        return original(self, *arguments)

    setattr(Interrupted, method, interrupted)
    monkeypatch.setattr("scanner.base.atomic.io.BufferedRandom", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_profile(tmp_path / "p.h5", sample_profile())
    assert list(tmp_path.iterdir()) == []


def test_a_device_cannot_hold_a_profile():
    with pytest.raises(OutputError, match="device"):
        write_profile(Path("/dev/null"), sample_profile())


@pytest.mark.parametrize("arrays", [{"": np.zeros(1)}, {"x": np.zeros((1,) * 5)}, {"x" * 5000: np.zeros(1)}])
def test_content_that_no_reader_accepts_is_not_written(tmp_path, arrays):
    profile = sample_profile()
    with pytest.raises(ProfileError):
        write_profile(tmp_path / "p.h5", Profile(profile.header, profile.graph, profile.weights, arrays))
    assert list(tmp_path.iterdir()) == []
