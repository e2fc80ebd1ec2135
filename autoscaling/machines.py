"""Kinds of devices and machines, and ways to share a device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from autoscaling.engine_profile import DATA_FOLDER, ProfileError

GIB = 2**30
MACHINES_FILE = DATA_FOLDER / "machines.json"


class Isolation(StrEnum):
    """How replicas share one GPU.

    * TIME_SLICE: only Ray's fractions. Kernels take turns, and nothing keeps a replica within its memory or share.
    * MPS: kernels run side by side, and the daemon enforces each client's memory and share of the processors.
    * MIG: the device is divided into instances of fixed sizes, with full isolation.
    """

    TIME_SLICE = "time-slice"
    MPS = "mps"
    MIG = "mig"


# Fraction of a replica's share that sharing costs. Assumed, for context switches, the MPS server, and nothing.
SHARING_LOSS: Mapping[Isolation, float] = {Isolation.TIME_SLICE: 0.10, Isolation.MPS: 0.03, Isolation.MIG: 0.0}


@dataclass(frozen=True, slots=True)
class MigSize:
    """An instance size: its name, sevenths of the processors, and eighths of the memory."""

    name: str
    compute: int
    memory: int


# The sizes common to A100 and H100.
MIG_SIZES = (
    MigSize("1g", 1, 1),
    MigSize("2g", 2, 2),
    MigSize("3g", 3, 4),
    MigSize("4g", 4, 4),
    MigSize("7g", 7, 8),
)
MIG_COMPUTE_PARTS, MIG_MEMORY_PARTS = 7, 8


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """A kind of accelerator. `reserved_bytes` is the memory that driver and contexts take before any engine."""

    name: str
    memory_bytes: int
    isolations: tuple[Isolation, ...]
    reserved_bytes: int = GIB

    @property
    def usable_bytes(self) -> int:
        return self.memory_bytes - self.reserved_bytes


@dataclass(frozen=True, slots=True)
class MachineKind:
    """A kind of machine, with `devices` devices of one kind (none for "cpu"), its cores and its price.

    Attributes:
        memory_bytes: memory of the machine.
        boot_s: time from the order until Ray can place replicas.
    """

    name: str
    device: str
    devices: int
    cpu_cores: int
    memory_bytes: int
    price_per_hour: float
    boot_s: float = 120.0


@dataclass(frozen=True, slots=True)
class MachineCatalog:
    """The available machines and devices. `source` says where the prices come from."""

    source: str
    devices: Mapping[str, DeviceKind]
    machines: tuple[MachineKind, ...]


def mig_size(share: float, memory_bytes: int, device: DeviceKind) -> MigSize | None:
    """Return the smallest MIG instance with the share and memory, or None if only the whole device suffices."""
    for size in MIG_SIZES:
        enough_memory = memory_bytes <= device.usable_bytes * size.memory / MIG_MEMORY_PARTS
        if share <= size.compute / MIG_COMPUTE_PARTS + 1e-9 and enough_memory:
            return size
    return None


def load_machines(file: Path = MACHINES_FILE) -> MachineCatalog:
    """Read the catalog of machines.

    Raises:
        ProfileError: the file is invalid.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        devices = {
            name: DeviceKind(
                name,
                math.floor(float(kind["memory_gib"]) * GIB),
                tuple(Isolation(mode) for mode in kind["isolations"]),
                math.floor(float(kind.get("reserved_gib", 1)) * GIB),
            )
            for name, kind in values["devices"].items()
        }
        machines = tuple(
            MachineKind(
                name, kind["device"], kind["devices"], kind["cpu_cores"], math.floor(kind["memory_gib"] * GIB),
                kind["price_per_hour"], kind.get("boot_s", 120.0),
            )
            for name, kind in values["machines"].items()
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProfileError(f"{file}: not a catalog of machines: {error!r}") from error
    unknown = {machine.device for machine in machines} - devices.keys() - {"cpu"}
    if unknown:
        raise ProfileError(f"{file}: machines name devices that are not described: {', '.join(sorted(unknown))}")
    return MachineCatalog(str(values["source"]), devices, machines)
