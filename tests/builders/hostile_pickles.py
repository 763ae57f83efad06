"""Hostile cases of files with more than one pickle, and of pickles that do not look like one."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from hostile_case import ARCH, FIT, INSPECT, Case

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_TOLD = "posix.system"


def _system(canary: Path) -> bytes:
    """A pickle without its protocol that makes the canary; harmless to what is left on the stack."""
    touch = f"touch {canary}".encode()
    return b"cposix\nsystem\n(X" + len(touch).to_bytes(4, "little") + touch + b"tR0"


def _legacy(canary: Path, poisoned: int, extra: bytes = b"") -> bytes:
    """A checkpoint in the format before PyTorch 1.6, with a payload in one of its five pickles."""
    parts = [_MAGIC, _PROTOCOL, {"little_endian": True, "protocol_version": _PROTOCOL, "type_sizes": {}}, {}, []]
    data = b""
    for number, part in enumerate(parts, start=1):
        whole = pickle.dumps(part, protocol=2)
        data += whole[:2] + (_system(canary) if number == poisoned else b"") + whole[2:]
    return data + extra


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def _beside(name: str, *, protocol: bool = True) -> Callable[[Path], bytes]:
    """A checkpoint of no tensors, with a pickle of another name beside its own."""

    def make(canary: Path) -> bytes:
        head = b"\x80\x02" if protocol else b""
        return _zip({"m/data.pkl": b"\x80\x02}.", "m/version": b"3\n", name: head + _system(canary) + b"N."})

    return make


def _case(name: str, data: Callable[[Path], bytes], command: str, code: int, says: str) -> Case:
    def make(folder: Path, canary: Path, _good: Path) -> Path:
        (folder / "model.pt").write_bytes(data(canary))
        return folder / "model.pt"

    return Case(f"pickles-{name}", make, command, code, says)


def more_pickles() -> Iterator[Case]:
    for number in range(1, 6):

        def poisoned(canary: Path, number: int = number) -> bytes:
            return _legacy(canary, number)

        yield _case(f"legacy-{number}", poisoned, INSPECT, 0, _TOLD)
        yield _case(f"legacy-{number}-fit", poisoned, FIT, 2, _TOLD)
    yield _case("legacy-behind", lambda c: _legacy(c, 0, b"\x80\x02" + _system(c) + b"N."), INSPECT, 0, _TOLD)
    raw = lambda c: _legacy(c, 0, b"\x80\x02" + bytes(998))  # noqa: E731
    yield _case("legacy-raw-behind", raw, INSPECT, 0, "1000 bytes behind them")
    yield _case("legacy-cut", lambda c: _legacy(c, 5)[:-40], INSPECT, 0, "cannot be told")
    harmless = pickle.dumps({"a": 1}, protocol=2)
    yield _case("second", lambda c: harmless + b"\x80\x02" + _system(c) + b"N.", INSPECT, 0, _TOLD)
    yield _case("hundredth", lambda c: harmless * 99 + b"\x80\x02" + _system(c) + b"N.", INSPECT, 0, _TOLD)
    for name in ("m/other.pkl", "m/sub/data.pkl", "m/data/0", "other/data.pkl", "m/.data/serialization_id", "x"):
        yield _case(f"zip-{name.replace('/', '-')}", _beside(name), INSPECT, 0, _TOLD)
    yield _case("zip-old-protocol", _beside("m/extra.pkl", protocol=False), INSPECT, 0, _TOLD)
    yield _case("zip-beside-arch", _beside("m/other.pkl"), ARCH, 2, "which loading would run")
    yield _case("protocol-0", lambda c: _system(c) + b"N.", INSPECT, 0, _TOLD)
    yield _case(
        "protocol-0-inst", lambda c: b"(S'touch " + str(c).encode() + b"'\niposix\nsystem\n.", INSPECT, 0, _TOLD
    )
    yield _case("protocol-0-fit", lambda c: _system(c) + b"N.", FIT, 2, "which loading would run")
