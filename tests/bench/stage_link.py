"""What the stage link costs: one message a tick for all calls against one for each call, by socket and by Serve handle.

    python -m tests.bench.stage_link [--calls 100] [--seconds 10] [--tick-ms 20] [--skip-handle] [--out FILE]

Both processes on one machine, in the same run. CPU is that of the gateway and of the recogniser, less what each costs
without the link, measured first: the calls with nobody listening, and the recogniser with its commands from within.
Latencies: audio from a call's push until the recogniser has it (the
wait for the tick included), partials from the recogniser's word until the call has it, finish from the question to the
answer. The recogniser has no model.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from deployments.stage_link.keeper import Found, LinkKeeper
from deployments.stage_link.listener import LinkListener
from pipelines.hearing.link import OpenStream, PushAudio, PushMany
from tests.bench.link_load import TICK_S, CallFigures, NotingRecognizer, SpeakingCalls, stamped_frame, transcriber


@dataclass(frozen=True, slots=True)
class Row:
    """One variant. CPU in hundredths of a core; `delivered` of the frames that were pushed."""

    variant: str
    gateway_cpu: float
    recognizer_cpu: float
    delivered: float
    audio_ms: tuple[float, float]
    partial_ms: tuple[float, float]
    finish_ms: tuple[float, float]

    @property
    def cpu(self) -> float:
        return self.gateway_cpu + self.recognizer_cpu


def percentiles(values: list[float]) -> tuple[float, float]:
    """Return p50 and p99."""
    if not values:
        return (float("nan"), float("nan"))
    ordered = sorted(values)
    return (round(ordered[len(ordered) // 2], 2), round(ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))], 2))


def row_of(
    variant: str, seen: CallFigures, base_cpu: float, cpu: float, arrivals_ms: list[float], *, frames: int
) -> Row:
    """Return the figures of one variant, net of what the calls alone cost."""
    return Row(
        variant, round((seen.cpu - base_cpu) * 100, 1), round(cpu * 100, 1), round(len(arrivals_ms) / frames, 3),
        percentiles(arrivals_ms), percentiles(seen.partials_ms), percentiles(seen.finishes_ms),
    )  # fmt: skip


def recognizer_alone(calls: int, seconds: float, *, one_each: bool) -> float:
    """Return the CPU of the recogniser that gets the same commands without a link."""
    recognizer = NotingRecognizer(one_each=one_each)
    link = recognizer.open_link(lambda _results: None)
    streams = list(range(calls))
    link.send([OpenStream(stream) for stream in streams])
    process = psutil.Process()
    before, began_s = process.cpu_times(), time.monotonic()
    for tick in range(int(seconds / TICK_S)):
        time.sleep(max(0.0, began_s + tick * TICK_S - time.monotonic()))
        stamp = stamped_frame()
        if one_each:
            for stream in streams:
                link.send([PushAudio(stream, stamp)])
        else:
            link.send([PushMany(streams, [stamp] * calls)])
    after, took_s = process.cpu_times(), time.monotonic() - began_s
    recognizer.close()
    return (after.user + after.system - before.user - before.system) / took_s


def serve(pipe: Connection, one_each: bool, calls: int, seconds: float) -> None:
    """The recogniser's process: tell its cost alone and the address, then figures when asked, until told to end."""
    pipe.send(recognizer_alone(calls, seconds, one_each=one_each))
    recognizer = NotingRecognizer(one_each=one_each)
    listener = LinkListener(recognizer, name="recogniser")
    pipe.send(listener.start())
    process = psutil.Process()
    while pipe.recv() == "figures":
        # The arrivals are reckoned after the first figure is taken and before the second: they cost the link nothing.
        times = process.cpu_times()
        pipe.send((times.user + times.system, recognizer.take_arrivals_ms()))
    listener.close()
    recognizer.close()


async def calls_alone(calls: int, seconds: float) -> float:
    """Return the CPU of the calls with nobody listening."""
    speaking = SpeakingCalls(lambda _on_partial: None, calls)
    await speaking.speak(seconds)
    return speaking.figures.cpu


async def by_socket(variant: str, tick_ms: int, calls: int, seconds: float, base_cpu: float) -> Row:
    """Measure the product's own link; `tick_ms` 0 sends each call's audio at once, by itself."""
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, tick_ms == 0, calls, seconds))
    child.start()
    alone = await asyncio.to_thread(ours.recv)
    address = await asyncio.to_thread(ours.recv)

    async def find() -> Found:
        return Found([address])

    linked = transcriber(tick_ms)
    keeper = LinkKeeper(linked, find)
    keeper.start()
    await linked.has_replica.wait()
    speaking = SpeakingCalls(lambda on_partial: linked.open(on_partial), calls)
    await asyncio.sleep(0.5)
    ours.send("figures")
    before, _ = await asyncio.to_thread(ours.recv)
    await speaking.speak(seconds)
    ours.send("figures")
    after, arrivals = await asyncio.to_thread(ours.recv)
    await speaking.aclose()
    await keeper.aclose()
    ours.send("end")
    child.join()
    frames = int(calls * seconds * 50)
    cpu = (after - before) / seconds - alone
    return row_of(variant, speaking.figures, base_cpu, cpu, arrivals, frames=frames)


def show(rows: list[Row], calls: int) -> None:
    """Print the table."""
    table = Table(title=f"stage link, {calls} calls; hundredths of a core, ms (p50 / p99)", title_justify="left")
    for title in ("variant", "gateway", "recogniser", "both", "delivered", "audio", "partial", "finish"):
        table.add_column(title, justify="left" if title == "variant" else "right", no_wrap=True)
    for row in rows:
        latencies = [f"{low:g} / {high:g}" for low, high in (row.audio_ms, row.partial_ms, row.finish_ms)]
        cpu = [f"{value:.1f}" for value in (row.gateway_cpu, row.recognizer_cpu, row.cpu)]
        table.add_row(row.variant, *cpu, f"{row.delivered:.1%}", *latencies)
    Console(width=140).print(table)


async def measure(arguments: argparse.Namespace, progress: Progress) -> list[Row]:
    """Run all variants, one after the other."""
    calls, seconds, tick_ms = arguments.calls, arguments.seconds, arguments.tick_ms
    task = progress.add_task("measuring", total=3 if arguments.skip_handle else 5)

    def began(what: str) -> None:
        progress.update(task, advance=1, description=what)

    progress.update(task, description="the calls alone")
    base_cpu = await calls_alone(calls, seconds)
    began("socket")
    rows = [await by_socket(f"socket, a message each {tick_ms} ms", tick_ms, calls, seconds, base_cpu)]
    began("socket, a message for each call")
    rows.append(await by_socket("socket, a message for each call", 0, calls, seconds, base_cpu))
    if not arguments.skip_handle:
        from tests.bench.stage_link_handle import HandleBench

        with HandleBench() as bench:
            for variant, ticks in (("handle", tick_ms), ("handle, a message for each call", 0)):
                began(variant)
                name = f"{variant}, a message each {ticks} ms" if ticks else variant
                rows.append(await asyncio.to_thread(bench.run, name, ticks, calls=calls, seconds=seconds))
    began("done")
    return rows


def main() -> None:
    """Parse the command line, measure, print and save."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stage_link", description=__doc__.split("\n\n")[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each variant")
    parser.add_argument("--tick-ms", type=int, default=20)
    parser.add_argument("--priority", type=int, default=0, help="nice value of both processes; below 0 needs root")
    parser.add_argument("--skip-handle", action="store_true", help="no Ray: the socket only")
    parser.add_argument("--out", type=Path, default=None, help="save the figures as JSON here")
    arguments = parser.parse_args()
    # On a machine with other work: what is to be seen is the link, not the queue for the cores.
    os.nice(arguments.priority)
    try:
        with Progress(transient=True) as progress:
            rows = asyncio.run(measure(arguments, progress))
    except KeyboardInterrupt:
        sys.exit(130)
    show(rows, arguments.calls)
    ratio = rows[0].cpu / rows[1].cpu
    Console().print(f"one message for all calls costs {ratio:.0%} of the CPU of one message for each call (socket)")
    if arguments.out is not None:
        figures = {"calls": arguments.calls, "tick_ms": arguments.tick_ms, "rows": [asdict(row) for row in rows]}
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
