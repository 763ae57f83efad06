"""What the driver of NVIDIA's GPUs needs of a process that gives up everything else: devices, and files to read.

Not from a description, as the driver has none: who locks a process down beside a GPU tries first whether it works.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Final

CONTROL: Final = Path("/dev/nvidiactl")
_DEVICES: Final = ("nvidia*", "nvidia-caps/*", "dxg")
READABLE: Final = (
    *("/proc/driver/nvidia", "/proc/devices", "/proc/modules", "/sys/module", "/sys/bus/pci", "/sys/class"),
    *("/sys/devices", "/etc/nvidia", "/usr/share/nvidia", "/usr/local/nvidia", "/usr/lib/wsl"),
)


def present() -> bool:
    """Whether a GPU's driver is there."""
    return CONTROL.exists()


def devices(folder: Path = Path("/dev")) -> tuple[str, ...]:
    """The driver's devices.

    Args:
        folder: Where devices are.
    """
    found = sorted(path for pattern in _DEVICES for path in folder.glob(pattern))
    return tuple(str(path) for path in found if stat.S_ISCHR(path.lstat().st_mode))
