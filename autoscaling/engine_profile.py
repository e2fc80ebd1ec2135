"""Engine profiles: what one engine needs and how fast it is under load, as data files.

A profile is measured on one kind of device (`voxray profile` writes it) or assumed, and says which in `source`. All of
it is for the whole device; what a part of a device gives is derived from it by a slowdown (`planning.slowdown`).
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
# What a memory limit can be put into force with, see `memory_limits`.
MemoryControl = Literal["vllm", "onnxruntime", "torch", "ctranslate2", "none"]


class ProfileError(ValueError):
    """A profile file is wrong; the message names the file and what it should hold."""


@dataclass(frozen=True, slots=True)
class LoadPoint:
    """One measurement: `requests_s` answered per second, with the latency that callers wait for."""

    requests_s: float
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class EngineProfile:
    """One engine on one kind of device.

    Attributes:
        engine: model name as in the catalog.
        stage: the deployment that it serves.
        device: kind of device, see `machines`; "cpu" engines count shares in cores.
        source: "measured ..." or "assumed ...", with how and where.
        memory_bytes: device memory (for "cpu": resident memory) with all that it needs to serve.
        cpu_cores: that a replica occupies beside the device.
        requests_per_call_s: how often a call asks, drafts that are dropped included.
        points: latency against load, rising; the last is the most that was sustained.
        memory_control: by what means its memory can be limited.
        fixed_ms: part of each latency that is not the device's, and does not slow down with its share.
        start_s: from the process's start to the first answer.
        host_memory_bytes: of the machine, beside the device's; ignored for "cpu".
        needs_whole_device: it cannot share.
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
        """Return the p95 latency at a load on a share of the device; None beyond what was sustained.

        Between two measured loads the line between them counts, below the first the first.

        Args:
            requests_s: offered to the replica.
            share: of the device that the replica has; it sustains so much less.
            slowdown: how much longer each request takes for the neighbours' sake.
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
    """Make a profile of plain data.

    Raises:
        ProfileError: something is missing or impossible.
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
    """Read the profiles that ship and those of further folders; a later one replaces its like (engine and device)."""
    found: dict[tuple[str, str], EngineProfile] = {}
    for folder in (DATA_FOLDER / "engines", *folders):
        for file in sorted(folder.glob("*.json")):
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ProfileError(f"{file}: is no JSON: {error}") from error
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
