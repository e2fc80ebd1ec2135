"""Engine profiles, data files that say what an engine needs and how fast it is under load.

A profile is either measured on one kind of device (by `voxray profile`) or assumed, as stated in `source`. It applies
to the whole device; the performance of a share is derived from it by a slowdown (`planning.slowdown`).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

DATA_FOLDER = Path(__file__).resolve().parent / "data"
STAGES = ("gateway", "transcriber", "retriever", "language_model", "synthesizer")
# The mechanisms that can enforce a memory limit, see `memory_limits`.
MemoryControl = Literal["vllm", "onnxruntime", "torch", "ctranslate2", "none"]


class ProfileError(ValueError):
    """A profile file is invalid. The message names the file and what it should contain."""


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One measurement: the requests answered per second, with the latency that callers experience."""

    requests_s: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine on one kind of device.

    Attributes:
        engine: model name as in the catalog.
        stage: the stage that it serves.
        device: kind of device, see `machines`. Shares of "cpu" are counted in cores.
        source: "measured ..." or "assumed ...", followed by how and where.
        memory_bytes: device memory, or resident memory for "cpu", including everything needed to serve.
        cpu_cores: CPU cores that a replica occupies besides the device.
        requests_per_call_s: requests per second of one call, including dropped drafts.
        points: latency by load, rising. The last one is the highest sustained load.
        memory_control: the mechanism by which its memory can be limited.
        fixed_ms: part of each latency that is not due to the device and does not depend on its share.
        start_s: time from the start of the process to the first answer.
        host_memory_bytes: memory of the machine besides that of the device; ignored for "cpu".
        needs_whole_device: whether it cannot share a device.
    """

    engine: str
    stage: str
    device: str
    source: str
    memory_bytes: int
    cpu_cores: float
    requests_per_call_s: float
    points: tuple[LoadPoint, ...]
    memory_control: MemoryControl = "none"
    fixed_ms: float = 0.0
    start_s: float = 30.0
    host_memory_bytes: int = 2 * 2**30
    needs_whole_device: bool = False

    @property
    def is_measured(self) -> bool:
        return self.source.startswith("measured")

    def latency_ms(self, requests_s: float, share: float = 1.0, slowdown: float = 1.0) -> float | None:
        """Return the p95 latency at a load on a share of the device, or None beyond the sustained load.

        Latency is interpolated between measured loads. Below the first one, the first one applies.

        Args:
            requests_s: requests per second offered to the replica.
            share: the replica's share of the device, which reduces the sustained load accordingly.
            slowdown: factor by which neighbours prolong each request.
        """
        load = requests_s / share
        if load > self.points[-1].requests_s * (1 + 1e-9):
            return None
        low = self.points[0]
        for high in self.points:
            if load <= high.requests_s:
                break
            low = high
        width = high.requests_s - low.requests_s
        part = (load - low.requests_s) / width if width > 0 and load > low.requests_s else 0.0
        whole_ms = low.p95_ms + min(part, 1.0) * (high.p95_ms - low.p95_ms)
        return self.fixed_ms + max(0.0, whole_ms - self.fixed_ms) * slowdown


def parse_profile(values: Mapping[str, Any], origin: str) -> EngineProfile:
    """Make a profile from plain data.

    Raises:
        ProfileError: something is missing or invalid.
    """
    try:
        points = tuple(LoadPoint(**point) for point in values["points"])
        profile = EngineProfile(**{**values, "points": points})
    except (KeyError, TypeError) as error:
        raise ProfileError(f"{origin}: not an engine profile: {error}") from error
    if problem := next(_problems(profile), None):
        raise ProfileError(f"{origin}: {problem}")
    return profile


def load_profiles(*folders: Path) -> list[EngineProfile]:
    """Read the shipped profiles and those in further folders. Later ones replace those of equal engine and device."""
    found: dict[tuple[str, str], EngineProfile] = {}
    for folder in (DATA_FOLDER / "engines", *folders):
        for file in sorted(folder.glob("*.json")):
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ProfileError(f"{file}: is not JSON: {error}") from error
            profile = parse_profile(values, str(file))
            found[profile.engine, profile.device] = profile
    return list(found.values())


def dump_profile(profile: EngineProfile) -> str:
    """Return a profile as the text of its file."""
    return json.dumps(asdict(profile), indent=2) + "\n"


def _problems(profile: EngineProfile) -> Iterator[str]:
    if profile.stage not in STAGES:
        yield f"stage = {profile.stage!r}; allowed: {', '.join(STAGES)}"
    if not profile.source.startswith(("measured", "assumed")):
        yield "source must begin with 'measured' or 'assumed' and say how"
    if profile.memory_bytes <= 0 or profile.requests_per_call_s <= 0:
        yield "memory_bytes and requests_per_call_s must be above 0"
    if not profile.points:
        yield "points must hold at least one measurement"
    for before, after in itertools.pairwise(profile.points):
        if after.requests_s <= before.requests_s or after.p95_ms < before.p95_ms:
            yield "points must rise in load and not fall in p95_ms"
