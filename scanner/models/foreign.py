"""What in a checkpoint is not a tensor: objects that are skipped, and calls that no training script writes.

Safety does not rest on the names here, as nothing in the file is called at all. They decide what a person is told:
that options and metrics were skipped, or that the file would run a program in the hands of whoever loads it with
Python, which is a finding in itself.
"""

from __future__ import annotations

import sys
from typing import Final

from scanner.models.pickles import rebuilds_tensors
from scanner.models.stored import Stored

_USUAL: Final = frozenset(
    {
        *(f"builtins.{name}" for name in ("slice", "complex", "range", "object", "frozenset", "set", "bytearray")),
        *(f"builtins.{name}" for name in ("list", "dict", "tuple", "int", "float", "str", "bool", "bytes", "type")),
        *("collections.deque", "collections.OrderedDict", "collections.defaultdict", "collections.Counter"),
        *("datetime.datetime", "datetime.date", "datetime.timedelta", "datetime.timezone", "decimal.Decimal"),
        *(f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
        *("pathlib._local.Path", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "argparse.Namespace"),
        *("types.SimpleNamespace", "copyreg._reconstructor", "copyreg.__newobj__", "uuid.UUID", "functools.partial"),
        *("typing.Any", "typing.Union", "typing.Dict", "typing.List", "typing.Optional", "_codecs.encode"),
        *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct", "re._compile"),
        *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer", "fractions.Fraction"),
        *("numpy.random._pickle.__randomstate_ctor", "numpy.random._pickle.__generator_ctor", "random.Random"),
        *("numpy.random._pickle.__bit_generator_ctor", "torch.Size", "torch.device", "torch.Generator"),
        *("torch.storage._load_from_bytes", "torch._utils._rebuild_device_tensor_from_numpy", "logging.getLogger"),
    }
)
_INTERPRETER: Final = frozenset({*sys.stdlib_module_names, "nt", "posix", "pip", "setuptools", "pkg_resources"})
_LIBRARIES: Final = frozenset({*_INTERPRETER, "torch", "numpy"})


def unusual_calls(stored: Stored) -> list[str]:
    """What no training script leaves in a checkpoint: functions of the interpreter, and calls of unknown ones.

    Of packages that are not known here, a name in the way of classes is taken for one: their objects may be
    pickled as calls.
    """
    imports = {name for name in stored.imports if _top(name) in _INTERPRETER or not _top(name).isidentifier()}
    calls = {name for name in stored.calls if not _is_foreign_class(name)}
    return sorted(name for name in imports | calls if name not in _USUAL and not rebuilds_tensors(name))


def _top(name: str) -> str:
    return name.partition(".")[0]


def _is_foreign_class(name: str) -> bool:
    attribute = name.rpartition(".")[2]
    return _top(name) not in _LIBRARIES and attribute.isidentifier() and attribute[:1].isupper()
