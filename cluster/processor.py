"""What the processor of this machine does well: looked up when something starts, never assumed.

A processor without AVX-512 BF16 or AMX has no bfloat16 matrix kernels: torch falls back to a reference that is many
times slower than float32, whatever the model's file says.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")
# What Linux calls the features that decide something here, and people may want to compare.
FEATURES: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "bf16")
_WIDE_VECTORS: Final = "avx512f"
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor, as this process sees it.

    Attributes:
        name: as its maker calls it.
        cores: logical cores that this process may use.
        features: those of `FEATURES` that it has.
        physical_cores: cores that compute by themselves, at most `cores`.
    """

    name: str
    cores: int
    features: tuple[str, ...]
    physical_cores: int = 1

    @property
    def computes_bfloat16(self) -> bool:
        """Whether matrices of bfloat16 are multiplied by units of its own, faster than those of float32."""
        return not _BFLOAT16.isdisjoint(self.features)

    @property
    def dtype(self) -> str:
        """Data type in which a model computes fastest on it: "bfloat16" or "float32"."""
        return "bfloat16" if self.computes_bfloat16 else "float32"

    @property
    def threads(self) -> int:
        """Threads of an engine that a caller waits for: a second one pays where one core's vectors are narrow."""
        return 1 if _WIDE_VECTORS in self.features else min(2, self.physical_cores)

    def __str__(self) -> str:
        return f"{self.name}, {self.cores} cores, {' '.join(self.features) or 'no vector extensions known'}"


@cache
def this_processor() -> Processor:
    """Return the processor of this machine."""
    text = CPU_INFO.read_text(encoding="utf-8", errors="replace") if CPU_INFO.exists() else ""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return processor_of(text, cores)


def processor_of(cpu_info: str, cores: int) -> Processor:
    """Read the text of /proc/cpuinfo; "" where there is none: then nothing is assumed of the processor.

    Args:
        cpu_info: of x86 ("model name", "flags") or ARM ("Features"); the first processor speaks for all.
        cores: logical cores that may be used.
    """
    values: dict[str, str] = {}
    package, physical = "", set()
    for line in cpu_info.splitlines():
        key, _, value = (part.strip().lower() for part in line.partition(":"))
        values.setdefault(key, line.partition(":")[2].strip())
        package = value if key == "physical id" else package
        if key == "core id":
            physical.add((package, value))
    flags = set((values.get("flags") or values.get("features") or "").split())
    name = values.get("model name") or platform.machine()
    # A virtual machine may not tell its cores: then each counts.
    own = tuple(feature for feature in FEATURES if feature in flags)
    return Processor(name, cores, own, min(cores, len(physical) or cores))
