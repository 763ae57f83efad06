"""Hostile files, made when they are asked for: each with the command that meets it and the outcome that is right.

Payloads are harmless: they create one empty file, the canary, next to the case.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnx_graphs
from hostile_archives import archives_of_images
from hostile_case import ARCH, FIT, INSPECT, LAYERS, SCAN, Case
from hostile_images import slow_images
from hostile_pickles import more_pickles
from hostile_settings import settings
from hostile_shards import shards
from hostile_structures import structures
from onnx import TensorProto, helper, numpy_helper
from PIL import Image


def corpus() -> list[Case]:
    """Every case."""
    groups = (
        pickles,
        checkpoints,
        archives,
        other_models,
        onnx_files,
        images,
        folders,
        arrays,
        manifests,
        profiles,
        structures,
        more_pickles,
        settings,
        slow_images,
        archives_of_images,
        shards,
    )
    return [case for group in groups for case in group()]


def writes(name: str, data: bytes | Callable[[Path], bytes]) -> Callable[[Path, Path, Path], Path]:
    def make(folder: Path, canary: Path, _good: Path) -> Path:
        (folder / name).write_bytes(data(canary) if callable(data) else data)
        return folder / name

    return make


def sparse(path: Path) -> None:
    """A file of a terabyte that takes no room on the disk."""
    with path.open("wb") as file:
        file.truncate(2**40)


# --- pickles ----------------------------------------------------------------------------------------


class Calls:
    """Pickles as a call."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self._call  # type: ignore[return-value]


def short(text: str) -> bytes:
    return b"\x8c" + bytes((len(text),)) + text.encode()


def call(module: str, name: str, *arguments: str, how: str = "stack") -> bytes:
    """The instructions that import a function and call it with strings."""
    if how == "stack":
        imported = short(module) + short(name) + b"\x93"
    elif how == "global":
        imported = f"c{module}\n{name}\n".encode()
    elif how == "memo":
        imported = short(module) + b"\x94" + short(name) + b"\x940" + b"0h\x00h\x01\x93"
    else:
        raise ValueError(how)
    packed = b"(" + b"".join(b"X" + struct.pack("<I", len(a)) + a.encode() for a in arguments) + b"t"
    return imported + packed + b"R"


def payloads(canary: Path) -> dict[str, bytes]:
    """Pickles that create the canary when loaded, by name, without the protocol."""
    touch, code = f"touch {canary}", f"open({str(canary)!r}, 'w').close()"
    found = {}
    for how in ("stack", "global", "memo"):
        found[f"posix-system-{how}"] = call("posix", "system", touch, how=how)
        found[f"exec-{how}"] = call("builtins", "exec", code, how=how)
        found[f"eval-{how}"] = call("builtins", "eval", f"__import__('os').system({touch!r})", how=how)
    found["old-builtins"] = call("__builtin__", "exec", code, how="global")
    found["os-popen"] = call("os", "popen", touch)
    found["subprocess-getoutput"] = call("subprocess", "getoutput", touch)
    found["pty-spawn"] = call("pty", "spawn", "/bin/true")
    found["runpy"] = call("runpy", "_run_code", code)
    found["timeit"] = call("timeit", "timeit", code)
    found["cprofile"] = call("cProfile", "run", code)
    found["pdb"] = call("pdb", "run", code)
    found["code-interact"] = call("code", "interact", code)
    found["torch-model-dump"] = call("torch.utils.model_dump", "get_model_info", str(canary))
    found["torch-hub"] = call("torch.hub", "load", str(canary))
    found["numpy-runstring"] = call("numpy.testing._private.utils", "runstring", code)
    found["pip-main"] = call("pip", "main", "--version")
    found["uuid-getter"] = call("uuid", "_get_command_stdout", "touch", str(canary))
    found["attrgetter"] = call("operator", "attrgetter", "system")
    found["nested-attribute"] = call("torch.serialization", "os.system", touch)
    found["dotted-name"] = call("torch._utils", "os.system", touch)
    found["tensor-prefix"] = call("torch._utils._rebuild_", "system", touch)
    found["obfuscated"] = b"(" + short("posix") + short("system") + b"l0" + short("a") + b")\x93."
    found["inst"] = b"(" + b"X" + struct.pack("<I", len(touch)) + touch.encode() + b"iposix\nsystem\n"
    found["build"] = short("posix") + short("system") + b"\x93" + short("x") + b"b"
    found["extension"] = b"\x82\x01" + b")R"
    found["persistent"] = short("canary") + b"Q"
    found["second-stage"] = call("pickle", "loads", "x")
    found["getattr-chain"] = call("builtins", "getattr", "os", "system")
    return found


def pickles() -> Iterator[Case]:
    for name in payloads(Path("x")):
        for protocol in (2, 4):

            def raw(canary: Path, name: str = name, protocol: int = protocol) -> bytes:
                return bytes((0x80, protocol)) + payloads(canary)[name] + b"."

            yield Case(f"pickle-{name}-{protocol}", writes("model.pt", raw), INSPECT, 0, "which loading would run")
    for name in ("posix-system-stack", "obfuscated", "tensor-prefix", "build"):
        yield Case(
            f"fit-pickle-{name}",
            writes("model.pt", lambda canary, name=name: b"\x80\x04" + payloads(canary)[name] + b"."),
            FIT,
            2,
            "which loading would run",
        )
    bombs = {
        "billion-laughs": b"\x80\x02(lq\x00"
        + b"".join(b"(h" + bytes((i,)) * 2 + b"lq" + bytes((i + 1,)) for i in range(60))
        + b".",
        "huge-string": b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"x.",
        "huge-bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.",
        "huge-frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"N.",
        "huge-long": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
        "negative-long": b"\x80\x02\x8b" + struct.pack("<i", -1) + b".",
        "digits": b"\x80\x02I" + b"9" * 100_000 + b"\n.",
        "deep": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        "no-end": b"\x80\x04" + b"N0" * 50_000,
        "unknown-opcode": b"\x80\x04\xff\xff.",
        "only-protocol": b"\x80\x04",
        "protocol-5-buffers": b"\x80\x05\x97\x98.",
        "recursive": b"\x80\x02]q\x00h\x00a.",
        "control-characters": b"\x80\x02c\x1b[31mevil\n\x1b]0;owned\x07\n)R.",
        "long-name": b"\x80\x02c" + b"a" * 200_000 + b"\nb\n)R.",
        "not-utf8": b"\x80\x02c\xff\xfe\n\xff\n)R.",
    }
    for name, data in bombs.items():
        yield Case(f"pickle-bomb-{name}", writes("model.pt", data), INSPECT, 0, "content")


# --- PyTorch checkpoints: zip archives with a pickle --------------------------------------------------


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def state_pickle(canary: Path | None = None, extra: bytes = b"") -> bytes:
    """A state dict of one tensor whose storage is data/0, plus a payload."""
    storage = b"(" + short("storage") + b"ctorch\nFloatStorage\n" + short("0") + short("cpu") + b"K\x0ctQ"
    tensor = (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K\x00K\x04K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
    )
    return b"\x80\x02}(" + short("fc.weight") + tensor + extra + b"u."


def checkpoint(pickled: bytes, **more: bytes) -> dict[str, bytes]:
    return {"m/data.pkl": pickled, "m/data/0": bytes(48), "m/version": b"3\n", "m/byteorder": b"little", **more}


def checkpoints() -> Iterator[Case]:
    for name in payloads(Path("x")):
        if name == "persistent":  # what storages are referred to by, and so nothing that can be told from a look
            continue

        def wrapped(canary: Path, name: str = name) -> bytes:
            return archive(checkpoint(state_pickle(extra=short("x") + payloads(canary)[name])))

        yield Case(f"checkpoint-{name}", writes("model.pt", wrapped), INSPECT, 0, "which loading would run")
    touch = lambda canary: state_pickle(extra=short("x") + payloads(canary)["exec-global"])  # noqa: E731
    yield Case(
        "fit-checkpoint", writes("model.pt", lambda c: archive(checkpoint(touch(c)))), FIT, 2, "which loading would run"
    )
    yield Case(
        "checkpoint-wrong-storage-size",
        writes("model.pt", archive(checkpoint(state_pickle()) | {"m/data/0": b""})),
        ARCH,
        2,
        "error:",
    )
    yield Case(
        "checkpoint-no-storage",
        writes("model.pt", archive({"m/data.pkl": state_pickle(), "m/version": b"3\n"})),
        ARCH,
        2,
        "error:",
    )
    yield Case(
        "checkpoint-two-pickles",
        writes("model.pt", lambda c: archive(checkpoint(state_pickle(), **{"m/sub/data.pkl": touch(c)}))),
        ARCH,
        2,
        "error:",
    )

    def duplicate(canary: Path) -> bytes:
        """Readers disagree on which of two members counts: one is harmless, the other is not."""
        buffer = io.BytesIO()
        import warnings

        with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as file:
            warnings.simplefilter("ignore")
            file.writestr("m/data.pkl", touch(canary))
            for name, data in checkpoint(state_pickle()).items():
                file.writestr(name, data)
        return buffer.getvalue()

    persistent = state_pickle(extra=short("x") + payloads(Path("x"))["persistent"])
    yield Case("checkpoint-persistent", writes("model.pt", archive(checkpoint(persistent))), ARCH, 2, "error:")
    yield Case("checkpoint-duplicate-member", writes("model.pt", duplicate), ARCH, 2, "error:")
    yield Case("checkpoint-duplicate-seen", writes("model.pt", duplicate), INSPECT, 0, "share a name")
    yield Case(
        "checkpoint-shape-of-terabytes",
        writes(
            "model.pt",
            archive(checkpoint(state_pickle().replace(b"K\x04K\x03\x86", b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"))),
        ),
        ARCH,
        2,
        "error:",
    )


# --- archives ---------------------------------------------------------------------------------------


def archives() -> Iterator[Case]:
    bomb = archive({"m/data.pkl": state_pickle(), "m/data/0": bytes(2**26)}, zipfile.ZIP_DEFLATED)
    yield Case("zip-bomb-seen", writes("model.pt", bomb), INSPECT, 0, "as a decompression bomb has")
    pickle_bomb = archive({"m/data.pkl": b"\x80\x04" + bytes(2**27)}, zipfile.ZIP_DEFLATED)
    yield Case("zip-bomb-pickle", writes("model.pt", pickle_bomb), INSPECT, 0, "content")
    yield Case(
        "zip-path-traversal",
        writes("m.pt", archive({"../../canary": b"", "m/data.pkl": b"\x80\x02N."})),
        INSPECT,
        0,
        "outside the archive",
    )
    yield Case(
        "zip-absolute",
        writes("m.pt", archive({"/tmp/canary": b"", "m/data.pkl": b"\x80\x02N."})),
        INSPECT,
        0,
        "outside the archive",
    )
    yield Case(
        "zip-control-names",
        writes("m.pt", archive({"m/\x1b[2J\x1b]0;x\x07": b"", "m/data.pkl": b"\x80\x02N."})),
        INSPECT,
        0,
        "\\x1b[2J",
    )
    yield Case("zip-many", writes("m.pt", archive({f"m/{i}": b"" for i in range(20_000)})), INSPECT, 0, "members")
    whole = archive(checkpoint(state_pickle()), zipfile.ZIP_DEFLATED)
    for cut in (4, 30, len(whole) // 2, len(whole) - 10):
        yield Case(f"zip-cut-{cut}", writes("m.pt", whole[:cut]), INSPECT, 0, "damaged or truncated")
    for place in (10, 40, 60, 90, len(whole) - 60, len(whole) - 20, len(whole) - 8):
        damaged = bytearray(whole)
        damaged[place : place + 8] = b"\xff" * 8
        yield Case(f"zip-damaged-{place}", writes("m.pt", bytes(damaged)), INSPECT, 0, "content")
    overlapping = archive({"m/data.pkl": b"\x80\x02N."})
    yield Case("zip-after-garbage", writes("m.pt", overlapping + overlapping), INSPECT, 0, "content")
    yield Case(
        "zip-torchscript",
        writes("m.pt", archive({"m/code/__torch__.py": b"", "m/constants.pkl": b"\x80\x02)."})),
        FIT,
        2,
        "TorchScript",
    )
    program = {
        "m/models/model.json": b"{}",
        "m/data/weights/model_weights_config.json": b'{"config":{"x":{"use_pickle":true}}}',
        "m/archive_format": b"pt2",
    }
    yield Case("zip-exported", writes("m.pt2", archive(program)), FIT, 2, "torch.export")


# --- other model files ------------------------------------------------------------------------------


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def other_models() -> Iterator[Case]:
    tensor = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    broken = {
        "overlap": safetensors({"a": tensor, "b": tensor}, bytes(8)),
        "outside": safetensors({"a": {**tensor, "data_offsets": [0, 2**40]}}, bytes(8)),
        "negative": safetensors({"a": {**tensor, "data_offsets": [-8, 0]}}, bytes(8)),
        "huge-shape": safetensors({"a": {**tensor, "shape": [2**62, 2**62]}}, bytes(8)),
        "unknown-type": safetensors({"a": {**tensor, "dtype": "OBJ"}}, bytes(8)),
    }
    for name, data in broken.items():
        yield Case(f"safetensors-{name}", writes("m.safetensors", data), ARCH, 2, "error:")
    texts = {
        "header-beyond-end": safetensors({"a": tensor}, length=2**60),
        "header-deep": safetensors(b'{"a":' * 50_000),
        "header-duplicate-keys": safetensors(b'{"a":{"data_offsets":[0,0]},"a":{"data_offsets":[0,0]}}'),
        "digits": safetensors(b'{"a":{"data_offsets":[' + b"9" * 50_000 + b"]}}"),
        "empty": b"",
        "one-byte": b"\x80",
        "text": b"\x1b]0;owned\x07\x1b[2Jhello",
        "html": b"<!DOCTYPE html><script>alert(1)</script>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\n",
        "elf": b"\x7fELF" + bytes(100),
        "zeros": bytes(100_000),
    }
    for name, data in texts.items():
        yield Case(f"file-{name}", writes("m.bin", data), INSPECT, 2 if name == "empty" else 0)

    def special(make: Callable[[Path, Path], object]) -> Callable[[Path, Path, Path], Path]:
        def build(folder: Path, canary: Path, _good: Path) -> Path:
            make(folder / "model.onnx", canary)
            return folder / "model.onnx"

        return build

    yield Case("model-fifo", special(lambda path, _: os.mkfifo(path)), INSPECT, 2, "not a regular file")
    yield Case("model-fifo-fit", special(lambda path, _: os.mkfifo(path)), FIT, 2, "not a regular file")
    yield Case("model-device", special(lambda path, _: path.symlink_to("/dev/zero")), INSPECT, 2, "not a regular file")
    yield Case("model-folder", special(lambda path, _: path.mkdir()), INSPECT, 2, "directory")
    yield Case("model-loop", special(lambda path, _: path.symlink_to(path)), INSPECT, 2, "cannot be opened")
    yield Case("model-dangling", special(lambda path, canary: path.symlink_to(canary)), INSPECT, 2, "no such file")
    yield Case("model-sparse", special(lambda path, _: sparse(path)), INSPECT, 2, "16 GiB")


# --- ONNX -------------------------------------------------------------------------------------------


def external(location: str, **entries: str) -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return proto


def onnx_case(
    name: str, proto: Callable[[], onnx.ModelProto] | bytes, says: str = "error:", command: str = LAYERS, code: int = 2
) -> Case:
    def make(folder: Path, _canary: Path, _good: Path) -> Path:
        (folder / "model.onnx").write_bytes(proto if isinstance(proto, bytes) else proto().SerializeToString())
        return folder / "model.onnx"

    return Case(f"onnx-{name}", make, command, code, says)


def linked(name: str, location: str, link: Callable[[Path, Path], object], says: str) -> Case:
    """A model whose weights lead to a secret beside its folder."""

    def make(folder: Path, _canary: Path, _good: Path) -> Path:
        secret, vendor = folder / "secret", folder / "vendor"
        secret.write_bytes(bytes(16 * 3 * 9 * 4))
        vendor.mkdir()
        link(vendor, secret)
        where = location.replace("SECRET", str(secret))
        (vendor / "model.onnx").write_bytes(external(where).SerializeToString())
        return vendor / "model.onnx"

    return Case(f"onnx-external-{name}", make, LAYERS, 2, says)


def nested(depth: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["y"])], "g", [], [helper.make_tensor_value_info("y", 1, None)]
    )
    for _ in range(depth):
        node = helper.make_node("If", ["c"], ["y"], then_branch=graph, else_branch=graph)
        node.attribute[1].CopyFrom(helper.make_attribute("else_branch", helper.make_graph([], "e", [], [])))
        graph = helper.make_graph([node], "g", [], [helper.make_tensor_value_info("y", 1, None)])
    proto = onnx_graphs.conv_net()
    proto.graph.node.extend(graph.node)
    return proto


def function_bomb(levels: int, cycle: bool = False) -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    opset = [helper.make_opsetid("", 20), helper.make_opsetid("own", 1)]
    for level in range(levels):
        inner, domain = (f"F{level - 1}", "own") if level or cycle else ("Relu", "")
        inner = f"F{levels - 1}" if cycle and not level else inner
        nodes = [
            helper.make_node(inner, [f"x{i}" if i else "x"], [f"x{i + 1}" if i < 3 else "y"], domain=domain)
            for i in range(4)
        ]
        proto.functions.append(helper.make_function("own", f"F{level}", ["x"], ["y"], nodes, opset))
    proto.opset_import.append(helper.make_opsetid("own", 1))
    proto.graph.node[1].op_type, proto.graph.node[1].domain = f"F{levels - 1}", "own"
    return proto


def with_nodes(*nodes: onnx.NodeProto, **initialisers: np.ndarray) -> Callable[[], onnx.ModelProto]:
    """The plain network, with its logits led through more nodes from ``logits`` to ``out``."""

    def make() -> onnx.ModelProto:
        proto = onnx_graphs.conv_net()
        proto.graph.node.extend(nodes)
        proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in initialisers.items())
        proto.graph.output[0].name = "out"
        return proto

    return make


def loop() -> onnx.ModelProto:
    yes = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["goes"], ["go"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("goes", 9, []),
            helper.make_tensor_value_info("v", 1, None),
        ],
        [yes, helper.make_tensor_value_info("w", 1, None)],
    )
    node = helper.make_node("Loop", ["", "true", "logits"], ["out"], body=body)
    return with_nodes(node, true=np.array(True))()


def onnx_files() -> Iterator[Case]:
    def none(_vendor: Path, _secret: Path) -> None:
        return None

    outside, link = "outside the model's folder", "link"
    yield linked("parent", "../secret", none, outside)
    yield linked("absolute", "SECRET", none, outside)
    yield linked("dot-dot-inside", "a/../../secret", none, outside)
    yield linked("backslash", "..\\secret", none, outside)
    yield linked("url", "file:///etc/passwd", none, "missing")
    yield linked("empty", "", none, outside)
    yield linked("nul", "w\0../secret", none, outside)
    yield linked("dot", ".", none, outside)
    yield linked("symlink", "w", lambda v, s: (v / "w").symlink_to(s), link)
    yield linked("symlink-folder", "d/secret", lambda v, s: (v / "d").symlink_to(s.parent), link)
    yield linked("hardlink", "w", lambda v, s: os.link(s, v / "w"), link)
    yield linked("fifo", "w", lambda v, s: os.mkfifo(v / "w"), "not a regular file")
    yield linked("device", "w", lambda v, s: (v / "w").symlink_to("/dev/zero"), link)
    yield linked("folder", "w", lambda v, s: (v / "w").mkdir(), "not a regular file")
    yield linked("missing", "w", none, "missing")
    yield linked("short", "w", lambda v, s: (v / "w").write_bytes(b"x"), "truncated")
    yield linked("sparse", "w", lambda v, s: sparse(v / "w"), "too large")
    yield linked("long-name", "w" * 5000, none, "error:")
    yield linked("escape", "\x1b[2J\x1b]0;x\x07", none, "\\x1b[2J")
    yield onnx_case("external-proc", lambda: external("/proc/self/environ"), outside)
    yield onnx_case("external-marker", lambda: external("*/_ORT_MEM_ADDR_/*", offset="1", length="1"), "missing")
    located = external("abcdAB.bin").SerializeToString()
    yield onnx_case("external-not-text", located.replace(b"abcdAB", b"abcd\xff\xfe"), "missing")
    named = onnx_graphs.conv_net().SerializeToString()
    yield onnx_case("names-not-text", named.replace(b"w1", b"\xff\xfe"), "cannot be loaded")
    yield onnx_case("external-in-constant", lambda: _constant_external(), "external data")
    yield onnx_case("sparse-external", lambda: _sparse_external(), "external data")
    plain = onnx_graphs.conv_net().SerializeToString()
    for cut in (3, len(plain) // 3, len(plain) - 2):
        yield onnx_case(f"cut-{cut}", plain[:cut], "content", INSPECT, 0)
    yield onnx_case(
        "foreign-domain", with_nodes(helper.make_node("Run", ["logits"], ["out"], domain="com.evil")), "com.evil"
    )
    yield onnx_case(
        "foreign-domain-seen",
        with_nodes(helper.make_node("Run", ["logits"], ["out"], domain="com.evil")),
        "refused",
        INSPECT,
        0,
    )
    yield onnx_case(
        "python-operator",
        with_nodes(helper.make_node("PyOp", ["logits"], ["out"], domain="ai.onnx.contrib")),
        "ai.onnx.contrib",
    )
    yield onnx_case("unknown-operator", with_nodes(helper.make_node("Nope", ["logits"], ["out"])))
    yield onnx_case("endless-loop", loop, "without an end")
    yield onnx_case("nested", _deep_bytes(30), "nested")
    yield onnx_case("nested-seen", _deep_bytes(30), "nested", INSPECT, 2)
    yield onnx_case("nested-beyond-protobuf", _deep_bytes(3000), "error:")
    yield onnx_case("function-bomb", lambda: function_bomb(24), "expands to more")
    yield onnx_case("function-cycle", lambda: function_bomb(3, cycle=True), "call themselves")
    yield onnx_case("many-nodes", _many_nodes(250_000), "nodes")
    yield onnx_case(
        "terabytes",
        with_nodes(
            helper.make_node("ConstantOfShape", ["big"], ["b"]),
            helper.make_node("ReduceSum", ["b"], ["s"], keepdims=0),
            helper.make_node("Add", ["logits", "s"], ["out"]),
            big=np.array([2**21, 2**21], np.int64),
        ),
    )
    yield onnx_case("huge-dims", lambda: _huge_initialiser(), "error:")
    yield onnx_case("negative-dims", lambda: _huge_initialiser(-5), "error:")
    yield onnx_case(
        "not-finite",
        with_nodes(helper.make_node("Div", ["logits", "zero"], ["out"]), zero=np.zeros((), np.float32)),
        "finite",
    )
    yield onnx_case("chance", with_nodes(helper.make_node("RandomNormalLike", ["logits"], ["out"])), "error:")
    yield onnx_case("no-graph", lambda: helper.make_model(onnx.GraphProto()), "error:")
    yield onnx_case(
        "cycle",
        with_nodes(
            helper.make_node("Add", ["logits", "b"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Relu", ["b"], ["out"]),
        ),
        "error:",
    )
    yield onnx_case("metadata-escapes", _with_metadata, "\\x1b", INSPECT, 0)
    yield onnx_case("names-escape", lambda: _renamed("\x1b]0;owned\x07\u202e"), "\\x1b", LAYERS, 0)
    yield onnx_case("duplicate-names", _duplicated, "error:")
    yield onnx_case("fields-bomb", b"\x08\x08" * 200_000 + plain, "content", INSPECT, 0)


def _constant_external() -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["k"], value=external("../secret").graph.initializer[0])
    return with_nodes(node, helper.make_node("Identity", ["logits"], ["out"]))()


def _sparse_external() -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    sparse = proto.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(external("../secret").graph.initializer[0])
    return proto


def _deep_bytes(depth: int) -> bytes:
    data = b""
    for _ in range(depth):  # node { attribute { g { ... } } }
        for tag in (0x32, 0x2A, 0x0A):
            size = len(data)
            varint = bytearray()
            while size > 0x7F:
                varint.append(size & 0x7F | 0x80)
                size >>= 7
            data = bytes((tag,)) + bytes((*varint, size)) + data
    model = onnx_graphs.conv_net()
    return (
        model.SerializeToString()
        + helper.make_model(onnx.GraphProto()).SerializeToString()[:0]
        + b"\x3a"
        + _varint(len(data))
        + data
    )


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))


def _many_nodes(count: int) -> bytes:
    node = helper.make_node("Relu", ["a"], ["a"]).SerializeToString()
    graph = (b"\x0a" + _varint(len(node)) + node) * count
    return onnx_graphs.conv_net().SerializeToString() + b"\x3a" + _varint(len(graph)) + graph


def _huge_initialiser(size: int = 2**62) -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    proto.graph.initializer[0].dims[:] = [size, size, 3, 3]
    return proto


def _with_metadata() -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    helper.set_model_props(proto, {"\x1b[2J\x1b]0;x\x07": "\x1b[31m" * 1000, "<script>": "alert(1)"})
    return proto


def _renamed(name: str) -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    proto.graph.node[1].output[0] = name
    proto.graph.node[2].input[0] = name
    return proto


def _duplicated() -> onnx.ModelProto:
    proto = onnx_graphs.conv_net()
    proto.graph.node[3].output[0] = "c1"
    return proto


# --- images -----------------------------------------------------------------------------------------


def encoded(form: str, mode: str = "L", size: tuple[int, int] = (8, 8), **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 0, *more: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(b"tEXt", m) for m in more)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


def bmp(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    )


def images() -> Iterator[Case]:
    def one(name: str, data: bytes, says: str, file: str = "a.png") -> Case:
        """A folder with nothing but one image that cannot be used: too little for a verdict."""

        def make(folder: Path, _canary: Path, _good: Path) -> Path:
            (folder / "in").mkdir()
            (folder / "in" / file).write_bytes(data)
            return folder / "in"

        return Case(f"image-{name}", make, SCAN, 3, says)

    yield one("png-bomb", png(50_000, 50_000, zlib.compress(bytes(10**6))), "too-large")
    yield one("png-huge-header", png(2**31 - 1, 2**31 - 1), "too-large")
    yield one("png-zero", png(0, 0), "damaged")
    yield one("png-short-data", png(8, 8, zlib.compress(b"x")), "truncated")
    yield one("png-no-data", png(28, 28), "unreadable_by_reason")
    yield one("png-bad-zlib", png(28, 28, b"\xff" * 100), "unreadable_by_reason")
    yield one("png-16-bit", png(2, 2, zlib.compress(bytes(10)), 16), "unsupported-mode")
    yield one("png-text-bomb", png(2, 2, zlib.compress(bytes(6)), 8, 0, *[b"k\0" + b"x" * 10**6] * 3), "scanned")
    yield one("jpeg-truncated", encoded("JPEG", size=(64, 64))[:300], "unreadable_by_reason", "a.jpg")
    yield one("jpeg-header-only", b"\xff\xd8\xff", "damaged", "a.jpg")
    yield one("gif-animated", _animation("GIF"), "animated", "a.gif")
    yield one("webp-animated", _animation("WEBP"), "animated", "a.webp")
    yield one("tiff-pages", _animation("TIFF"), "animated", "a.tif")
    yield one("tiff-float", encoded("TIFF", "F"), "unsupported-mode", "a.tif")
    yield one("tiff-loop", b"II*\0\x08\0\0\0\0\0\x08\0\0\0", "unreadable_by_reason", "a.tif")
    yield one("bmp-huge", bmp(60_000, 60_000), "too-large", "a.bmp")
    yield one("bmp-negative", bmp(-5, -5), "unreadable_by_reason", "a.bmp")
    yield one("ppm-huge", b"P6 99999 99999 255\n", "too-large", "a.ppm")
    yield one("ppm-digits", b"P6 " + b"9" * 5000 + b" 1 255\n", "unreadable_by_reason", "a.ppm")
    yield one("svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>x</script></svg>", "not-an-image")
    yield one("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) (w) file\n", "unsupported-format")
    yield one("pdf", b"%PDF-1.7", "unsupported-format")
    yield one("icon", b"\0\0\1\0" + bytes(20), "unsupported-format")
    yield one("psd", b"8BPS" + bytes(20), "unsupported-format")
    yield one("jpeg2000", b"\0\0\0\x0cjP  " + bytes(20), "unsupported-format")
    yield one("avif", b"\0\0\0\x20ftypavif" + bytes(20), "unsupported-format")
    yield one("fits", b"SIMPLE  = T" + bytes(100), "unsupported-format")
    yield one("empty", b"", "empty")
    yield one("text", b"hello", "not-an-image")
    yield one("pickle", pickle.dumps(Calls(os.getcwd)), "not-an-image")
    yield one("name-escape", b"", "empty", "\x1b[2J\x1b]0;x\x07.png")
    yield one("name-newline", b"", "empty", "a\nerror: nothing wrong\n.png")
    yield one("name-direction", b"", "empty", "a\u202egnp.png")
    yield one("name-html", b"", "empty", "<img src=x onerror=alert(1)>.png".replace("/", ""))
    yield one("name-not-utf8", b"", "empty", os.fsdecode(b"\xff\xfe\x80.png"))
    yield one("name-dashes", b"", "empty", "--report=x.json.png")
    for mode in ("CMYK", "P", "RGBA", "1", "LA"):  # unusual, and fine: they are scanned as training would read them
        form = "JPEG" if mode == "CMYK" else "PNG"
        yield one(f"mode-{mode}", encoded(form, mode, (28, 28)), "scanned", "a.jpg" if mode == "CMYK" else "a.png")
    yield one("exif-bomb", _exif(), "scanned", "a.jpg")


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "\x1b[2J" * 1000
    return encoded("JPEG", "L", (28, 28), exif=exif)


def _animation(form: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), (i * 80, 0, 0)) for i in range(3)]
    frames[0].save(buffer, form, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def folders() -> Iterator[Case]:
    def tree(name: str, build: Callable[[Path, Path], object], says: str, code: int = 3) -> Case:
        def make(folder: Path, canary: Path, _good: Path) -> Path:
            (folder / "in").mkdir()
            build(folder / "in", canary)
            return folder / "in"

        return Case(f"folder-{name}", make, SCAN, code, says)

    yield tree("fifo", lambda f, _: os.mkfifo(f / "a.png"), "not-a-file")
    yield tree("fifo-alone", lambda f, _: os.mkfifo(f / "pipe"), "not-a-file")
    yield tree("socket", lambda f, _: _socket(f / "a.png"), "not-a-file")
    yield tree("device", lambda f, _: (f / "a.png").symlink_to("/dev/zero"), "outside-source")
    yield tree("link-loop", lambda f, _: (f / "a.png").symlink_to("a.png"), "symlink-loop")
    yield tree("folder-loop", lambda f, _: (f / "d").symlink_to("."), "not-a-file")
    yield tree("link-out", lambda f, _: (f / "a.png").symlink_to("/etc/passwd"), "outside-source")
    yield tree("proc", lambda f, _: (f / "a.png").symlink_to("/proc/self/environ"), "outside-source")
    yield tree("dangling", lambda f, c: (f / "a.png").symlink_to(c), "unreadable_by_reason")
    yield tree("folder-as-image", lambda f, _: (f / "a.png").mkdir(), "Nothing was scanned")
    yield tree("sparse", lambda f, _: sparse(f / "a.png"), "too-large")
    yield tree("nothing", lambda f, _: None, "Nothing was scanned")

    def deep(folder: Path, _canary: Path) -> None:
        for _ in range(60):
            folder = folder / ("d" * 50)
            folder.mkdir()
        (folder / "a.png").write_bytes(b"")

    yield tree("deep", deep, "empty")


def _socket(path: Path) -> None:
    import socket

    here = Path.cwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


# --- arrays -----------------------------------------------------------------------------------------


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + data


def saved(**members: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **members)
    return buffer.getvalue()


def objects(canary: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Calls(os.system, f"touch {canary}")], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def arrays() -> Iterator[Case]:
    def one(name: str, data: bytes | Callable[[Path], bytes], says: str, suffix: str = "npy", code: int = 2) -> Case:
        return Case(f"array-{name}", writes(f"a.{suffix}", data), SCAN, code, says)

    good = "{'descr': '|u1', 'fortran_order': False, 'shape': (%s), }"
    yield one("objects", objects, "Python objects")
    yield one("objects-zipped", lambda canary: archive({"images.npy": objects(canary)}), "Python objects", "npz")
    yield one("pickle", lambda canary: pickle.dumps(Calls(os.system, f"touch {canary}")), "no readable")
    yield one("terabytes", npy(good % "1000000,1000,1000"), "truncated")
    yield one("overflow", npy(good % f"{2**62},{2**62},4"), "error:")
    yield one("negative", npy(good % "-1,28,28"), "error:")
    yield one("code-in-header", lambda canary: npy(f"__import__('os').system('touch {canary}')"), "no readable")
    yield one(
        "code-in-descr",
        lambda canary: npy("{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,28,28)}"),
        "no readable",
    )
    yield one("deep-header", npy("(" * 5000 + ")" * 5000), "no readable")
    yield one(
        "long-header",
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1,28,28)" + " " * 50_000 + "}", bytes(784)),
        "error:",
    )
    yield one("huge-header-length", b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{", "no readable")
    yield one("version-9", npy(good % "1,28,28", bytes(784), b"\x09\x00"), "no readable")
    yield one(
        "structured",
        npy("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,28,28)}", bytes(784)),
        "not numbers",
    )
    yield one(
        "subarray", npy("{'descr': ('|u1', (2**30,)), 'fortran_order': False, 'shape': (1,28,28)}"), "no readable"
    )
    yield one("void", npy("{'descr': '|V1', 'fortran_order': False, 'shape': (1,28,28)}", bytes(784)), "not numbers")
    yield one("zero-images", npy(good % "0,28,28"), "Nothing was scanned", code=3)
    yield one("zero-pixels", npy(good % "28,0,28"), "not a stack")
    yield one("many-axes", npy(good % ",".join("1" * 30), b"\0"), "error:")
    yield one(
        "nan",
        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,28,28)}", np.full(784, np.nan, "<f4").tobytes()),
        "out of range",
    )
    yield one("empty", b"", "error:")
    yield one("text", b"hello", "no readable")
    bomb = saved(images=np.zeros((100_000, 28, 28), np.uint8))
    yield one("zip-bomb", bomb, "times its size", "npz")
    yield one("zip-lies", bomb.replace(struct.pack("<I", 78_400_128), struct.pack("<I", 784)), "error:", "npz")
    yield one("zip-cut", bomb[:-30], "no readable", "npz")
    yield one("zip-no-images", saved(other=np.zeros(3)), "no array named", "npz")
    yield one(
        "zip-two",
        archive({"images.npy": npy(good % "1,28,28", bytes(784)), "x.npy": npy(good % "1,28,28", bytes(784))}),
        "several",
        "npz",
    )
    yield one("zip-members", archive({f"{i}.npy": b"" for i in range(2000)}), "members", "npz")
    yield one(
        "zip-lzma", archive({"images.npy": npy(good % "1,28,28", bytes(784))}, zipfile.ZIP_LZMA), "unusual", "npz"
    )
    yield one("zip-traversal", archive({"../images.npy": npy(good % "1,28,28", bytes(784))}), "no array named", "npz")
    whole = saved(images=np.arange(2000 * 784, dtype=np.uint32).astype(np.uint8).reshape(-1, 28, 28))
    for place in (20, 60, len(whole) // 2, len(whole) - 40):
        damaged = bytearray(whole)
        damaged[place : place + 10] = b"\xff" * 10
        yield one(f"zip-damaged-{place}", bytes(damaged), "error:", "npz")


# --- manifests --------------------------------------------------------------------------------------


def manifests() -> Iterator[Case]:
    def one(name: str, data: bytes, says: str, code: int = 2, suffix: str = "csv") -> Case:
        return Case(f"manifest-{name}", writes(f"m.{suffix}", data), SCAN, code, says)

    yield one("parent", b"file_name\n../../etc/passwd\n", "leaves the manifest's folder")
    yield one("absolute", b"file_name\n/etc/passwd\n", "leaves the manifest's folder")
    yield one("hidden-parent", b"file_name\na/b/../../../x.png\n", "leaves the manifest's folder")
    yield one("missing", b"file_name\na.png\n", "missing", 3)
    yield one("url", b"file_name\nhttp://127.0.0.1/a.png\n", "missing", 3)
    yield one("device", b"file_name\ndev/zero\n", "missing", 3)
    yield one("twice", b"file_name\na.png\n./a.png\n", "already")
    yield one("nul", b"file_name\na\0b.png\n", "error:")
    yield one("escape", b"file_name\n../\x1b[2J\x1b]0;x\x07\n", "leaves")
    yield one("no-column", b"where\na.png\n", "file_name")
    yield one("open-quote", b'file_name\n"a.png\n', "error:")
    yield one("long-line", b"file_name\n" + b"a" * 2**21 + b"\n", "longer than")
    yield one("many-columns", b"file_name" + b",x" * 100_000 + b"\na.png\n", "fields")
    yield one("not-utf8", b"file_name\n\xff\xfe.png\n", "UTF-8")
    yield one("utf16", "file_name\na.png\n".encode("utf-16"), "missing", 3)
    yield one("empty", b"", "error:")
    yield one("no-rows", b"file_name\n", "Nothing was scanned", 3)
    yield one("formula", b"file_name\n=cmd|'/c calc'!A0\n", "missing", 3)
    deep = b'{"file_name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"
    yield one("json-deep", deep, "not valid JSON", suffix="jsonl")
    yield one("json-number", b'{"file_name": ' + b"9" * 50_000 + b"}\n", "error:", suffix="jsonl")
    yield one("json-list", b"[1, 2]\n", "file_name", suffix="jsonl")
    yield one("json-surrogate", b'{"file_name": "\\ud800.png"}\n', "not a file name", suffix="jsonl")
    yield one("json-parent", b'{"file_name": "../x.png"}\n', "leaves", suffix="jsonl")
    yield one("json-proto", b'{"__proto__": 1, "file_name": null}\n', "file_name", suffix="jsonl")


# --- profiles ---------------------------------------------------------------------------------------


def altered(change: Callable[[h5py.File], object], *, sign: bool = True) -> Callable[[Path, Path, Path], Path]:
    """A good profile with a change, and with a digest that fits it."""

    def make(folder: Path, _canary: Path, good: Path) -> Path:
        path = folder / "p.h5"
        path.write_bytes((good / "good.h5").read_bytes())
        with h5py.File(path, "r+") as file:
            change(file)
            if sign:
                resign(file)
        return path

    return make


def resign(file: h5py.File) -> None:
    """Compute the digest anew, as an attacker would; see docs/profile-format.md."""
    import hashlib

    digest = hashlib.sha256(b"latentscan profile 2\n")
    paths: list[str] = []
    file.visititems(lambda name, item: paths.append(name) if isinstance(item, h5py.Dataset) else None)
    for path in sorted(paths):
        data = file[path]
        digest.update(f"{path}\n{data.dtype.name}\n{','.join(map(str, data.shape))}\n".encode())
        digest.update(np.ascontiguousarray(data[()]).tobytes())
    file.attrs["sha256"] = np.bytes_(digest.hexdigest())


def replace(name: str, data: bytes | np.ndarray) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, data=np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data)

    return change


def regraph(edit: Callable[[onnx.ModelProto], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        proto = onnx.ModelProto.FromString(file["graph"][()].tobytes())
        edit(proto)
        replace("graph", proto.SerializeToString())(file)

    return change


def reheader(edit: Callable[[dict], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        header = json.loads(file["header"][()].tobytes())
        edit(header)
        replace("header", json.dumps(header, sort_keys=True, separators=(",", ":")).encode())(file)

    return change


def profiles() -> Iterator[Case]:
    def one(name: str, change: Callable[[h5py.File], object], says: str, sign: bool = True) -> Case:
        return Case(f"profile-{name}", altered(change, sign=sign), "scan-with", 2, says)

    yield one("graph-altered", regraph(lambda p: p.graph.node.pop()), "does not match its own digest", sign=False)
    yield one("graph-foreign", regraph(lambda p: setattr(p.graph.node[0], "domain", "com.evil")), "com.evil")
    yield one("graph-loop", regraph(lambda p: p.graph.node.extend(loop().graph.node[-1:])), "without an end")
    yield one(
        "graph-external",
        regraph(lambda p: p.graph.initializer.extend(external("../secret").graph.initializer[:1])),
        "other files",
    )
    yield one(
        "graph-external-absolute",
        regraph(lambda p: p.graph.initializer.extend(external("/etc/passwd").graph.initializer[:1])),
        "other files",
    )
    yield one(
        "graph-constant-external",
        regraph(lambda p: p.graph.node.extend(_constant_external().graph.node[-2:-1])),
        "external data",
    )
    yield one("graph-function", regraph(lambda p: p.functions.extend(function_bomb(3).functions)), "functions")
    yield one("graph-nested", regraph(lambda p: p.graph.node.extend(nested(30).graph.node[-1:])), "nested")
    yield one("graph-of-gigabytes", regraph(_gigabytes), "error:")
    yield one("graph-garbage", replace("graph", b"\xff" * 100), "unsafe graph")
    yield one("graph-empty", replace("graph", b""), "error:")
    yield one("graph-other", replace("graph", onnx_graphs.conv_net().SerializeToString()), "error:")
    yield one(
        "external-link", lambda f: f.__setitem__("weights2", h5py.ExternalLink("/etc/passwd", "/")), "error:", False
    )
    yield one(
        "external-link-instead",
        lambda f: (f.__delitem__("weights"), f.__setitem__("weights", h5py.ExternalLink("/tmp/x.h5", "/weights"))),
        "link",
        False,
    )
    yield one(
        "soft-link-instead",
        lambda f: (f.move("weights", "calibration/w"), f.__setitem__("weights", h5py.SoftLink("/calibration/w"))),
        "link",
        False,
    )
    yield one("external-storage", _external_storage, "plainly", False)
    yield one("virtual", _virtual, "plainly", False)
    yield one(
        "compressed",
        lambda f: (
            f.__delitem__("weights"),
            f.create_dataset("weights", data=np.zeros(9, np.uint8), chunks=(9,), compression=9),
        ),
        "plainly",
        False,
    )
    yield one(
        "absurd-shape",
        lambda f: (f.__delitem__("weights"), f.create_dataset("weights", (2**50,), np.uint8)),
        "error:",
        False,
    )
    yield one(
        "object-type",
        lambda f: (f.__delitem__("header"), f.create_dataset("header", data="x", dtype=h5py.string_dtype())),
        "type",
        False,
    )
    yield one(
        "reference-type",
        lambda f: (f.__delitem__("weights"), f.create_dataset("weights", data=[f.ref], dtype=h5py.ref_dtype)),
        "type",
        False,
    )
    yield one("group-cycle", lambda f: f["calibration"].__setitem__("self", f["calibration"]), "error:", False)
    yield one("header-not-json", replace("header", b"{" * 1000), "invalid header")
    yield one("header-deep", replace("header", b"[" * 100_000), "invalid header")
    yield one("header-unknown-field", reheader(lambda h: h.update(extra=1)), "invalid header")
    yield one("header-classes", reheader(lambda h: h.update(num_classes=10**9)), "invalid header")
    yield one("header-shape", reheader(lambda h: h["preprocess"]["spec"].update(size=[2**20, 2**20])), "error:")
    yield one("header-spec", reheader(lambda h: h["preprocess"].update(spec={})), "error:")
    yield one("header-spec-nan", replace("header", b'{"seed": NaN}'), "invalid header")
    yield one(
        "calibration-empty", lambda f: [f["calibration"].__delitem__(name) for name in list(f["calibration"])], "error:"
    )
    yield one(
        "calibration-nan",
        lambda f: [f[f"calibration/{name}"].__setitem__(..., np.nan) for name in f["calibration"]],
        "NaN",
    )
    yield one(
        "calibration-infinite",
        lambda f: [f[f"calibration/{name}"].__setitem__(..., np.inf) for name in f["calibration"]],
        "",
    )
    yield one("weights-short", replace("weights", bytes(10)), "error:")
    yield one("attribute-missing", lambda f: f.attrs.__delitem__("format"), "not a profile")
    yield one("attribute-escape", lambda f: f.attrs.__setitem__("schema_version", np.bytes_("\x1b[2J")), "error:")
    yield Case(
        "profile-fifo",
        lambda folder, _c, _g: (os.mkfifo(folder / "p.h5"), folder / "p.h5")[1],
        "scan-with",
        2,
        "not a regular file",
    )
    yield Case(
        "profile-pickle",
        writes("p.h5", lambda c: pickle.dumps(Calls(os.system, f"touch {c}"))),
        "scan-with",
        2,
        "not an HDF5",
    )
    for name, make, says in (
        ("fifo", os.mkfifo, "not a regular file"),
        ("device", lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
        ("other", lambda path: path.write_bytes(b"x"), "another file"),
        ("missing", lambda path: None, "no such file"),
    ):

        def stated(folder: Path, _c: Path, _g: Path, make: Callable[[Path], object] = make) -> Path:
            make(folder / "model.pt")
            return folder / "model.pt"

        yield Case(f"profile-model-{name}", stated, "scan-model", 2, says)
    for name, start in (("zeros", b"\x89HDF\r\n\x1a\n" + bytes(500)), ("ones", b"\x89HDF\r\n\x1a\n" + b"\xff" * 500)):
        yield Case(f"profile-{name}", writes("p.h5", start), "scan-with", 2, "damaged HDF5")


def _gigabytes(proto: onnx.ModelProto) -> None:
    """A tensor of twelve gigabytes, filled, for every chunk of inputs."""
    first = proto.graph.node[0].input[0]
    proto.graph.initializer.append(numpy_helper.from_array(np.array([3 * 2**30], np.int64), "evil/size"))
    nodes = [
        helper.make_node("ConstantOfShape", ["evil/size"], ["evil/zeros"]),
        helper.make_node("Cos", ["evil/zeros"], ["evil/ones"]),
        helper.make_node("ReduceMin", ["evil/ones"], ["evil/one"], keepdims=0),
        helper.make_node("Cast", ["evil/one"], ["evil/number"], to=TensorProto.UINT8),
        helper.make_node("Mul", [first, "evil/number"], ["evil/image"]),
    ]
    for node in proto.graph.node:
        node.input[:] = ["evil/image" if name == first else name for name in node.input]
    own = list(proto.graph.node)
    del proto.graph.node[:]
    proto.graph.node.extend([*nodes, *own])


def _external_storage(file: h5py.File) -> None:
    del file["weights"]
    file.create_dataset("weights", (100,), np.uint8, external=[("/etc/passwd", 0, 100)])


def _virtual(file: h5py.File) -> None:
    del file["weights"]
    layout = h5py.VirtualLayout((100,), np.uint8)
    layout[:] = h5py.VirtualSource("/tmp/x.h5", "weights", (100,))
    file.create_virtual_dataset("weights", layout)
