"""Reading the bytes of tensors that a checkpoint describes. Runs in the child process."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch

from scanner.base.errors import ModelError
from scanner.models.select_state import HasShape
from scanner.models.stored import ITEM_BYTES, Stored, StoredTensor

State = dict[str, torch.Tensor]

_MAX_STORAGE: Final = 16 * 2**30


def read_tensors(path: Path, stored: Stored, tensors: Mapping[str, HasShape]) -> State:
    """Read tensors from a checkpoint of PyTorch.

    Args:
        path: The checkpoint.
        stored: What it holds.
        tensors: Descriptions out of it.

    Raises:
        ModelError: A tensor is of no usual type, or reaches beyond its bytes.
    """
    wanted = {name: tensor for name, tensor in tensors.items() if isinstance(tensor, StoredTensor)}
    if stored.storages:
        with path.open("rb") as file:

            def read(key: str) -> bytes:
                offset, length = stored.storages[key]
                file.seek(offset)
                return file.read(length)

            return _read(wanted, read, stored.big_endian)
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2]: name for name in archive.namelist()}

        def unpack(key: str) -> bytes:
            member = archive.getinfo(names[f"data/{key}"])
            if member.file_size > _MAX_STORAGE:
                raise ValueError("too large")
            return archive.read(member)

        return _read(wanted, unpack, stored.big_endian)


def _read(tensors: Mapping[str, StoredTensor], read: Callable[[str], bytes], swap: bool) -> State:
    state: State = {}
    storages: dict[tuple[str, str], torch.Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype not in ITEM_BYTES:
            raise ModelError(f"tensor {name[:100]!r} is quantised, sparse, complex or empty", hint="Save it in float32")
        key = tensor.storage, tensor.dtype
        try:
            if key not in storages:
                storages[key] = _elements(read(tensor.storage), tensor.dtype, swap)
            state[name] = storages[key].as_strided(tensor.shape, tensor.stride, tensor.offset)
        except (RuntimeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
            raise ModelError(f"the checkpoint is damaged (the bytes of tensor {name[:100]!r})") from error
    return state


def _elements(data: bytes, dtype: str, swap: bool) -> torch.Tensor:
    if not data:
        return torch.empty(0, dtype=getattr(torch, dtype))
    if swap:
        size = ITEM_BYTES[dtype]
        whole = torch.frombuffer(bytearray(data), dtype=torch.uint8).reshape(-1, size)
        return whole.flip(1).contiguous().view(getattr(torch, dtype)).reshape(-1)
    return torch.frombuffer(bytearray(data), dtype=getattr(torch, dtype))
