"""What the processor of this machine does well. It is looked up at start and never assumed.

A processor without AVX-512 BF16 or AMX has no bfloat16 matrix kernels, so torch falls back to a reference
implementation that is many times slower than float32, whatever the model's file says.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

CPU_INFO: Final = Path("/proc/cpuinfo")
# Linux's names of the features that matter here or that people may want to compare.
FEATURES: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "bf16")
_WIDE_VECTORS: Final = "avx512f"
_BFLOAT16: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Processor:
    """The processor as seen by this process.

    Attributes:
        name: the maker's name of the processor.
        cores: number of logical cores that this process may use.
        features: the `FEATURES` that it has.
        physical_cores: number of physical cores, at most `cores`.
    """

    name: str
    cores: int
    features: tuple[str, ...]
    physical_cores: int = 1

    @property
    def computes_bfloat16(self) -> bool:
        """Whether dedicated units multiply bfloat16 matrices faster than float32 ones."""
        return not _BFLOAT16.isdisjoint(self.features)

    @property
    def dtype(self) -> str:
        """The data type in which models compute fastest: "bfloat16" or "float32"."""
        return "bfloat16" if self.computes_bfloat16 else "float32"

    @property
    def threads(self) -> int:
        """Threads for an engine that callers wait for. A second one pays off where a core's vectors are narrow."""
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
    """Parse the text of /proc/cpuinfo. With "" nothing is assumed about the processor.

    Args:
        cpu_info: text from x86 ("model name", "flags") or ARM ("Features"). The first processor stands for all.
        cores: number of logical cores that may be used.
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
    # A virtual machine may hide its physical cores, in which case each logical one counts.
    own = tuple(feature for feature in FEATURES if feature in flags)
    return Processor(name, cores, own, min(cores, len(physical) or cores))
