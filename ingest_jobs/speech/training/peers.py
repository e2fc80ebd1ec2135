"""Lets several processes train one model: each makes its own steps, and periodically all take the mean.

Two threads of one process synchronise after every small matrix product, and on a shared machine one of them is always
spinning. Processes that average gradients synchronise at every step and wait for the longer batch. Those that average
weights every few steps hardly wait and make twice as many steps (local SGD: Stich, 2018).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed


@dataclass(frozen=True, slots=True)
class Peers:
    """This process and those that train with it; by default it is alone."""

    rank: int = 0
    count: int = 1

    def agreed(self, value: float) -> float:
        """Return the first process's value in all processes."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64)
        torch.distributed.broadcast(shared, src=0)
        return float(shared[0])

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Replace every parameter by its mean over the processes."""
        if self.count == 1:
            return
        values = [each.data for each in parameters]
        flat = torch.cat([each.view(-1) for each in values])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        at = 0
        for each in values:
            each.copy_(flat[at : at + each.numel()].view_as(each))
            at += each.numel()


def run_together(count: int, work: Callable[[Peers, Any], None], argument: Any) -> None:
    """Run `work(peers, argument)` in `count` processes, including this one as the first, until all are done.

    Raises:
        RuntimeError: another process failed.
    """
    if count == 1:
        work(Peers(), argument)
        return
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        meeting = f"file://{Path(folder) / 'meeting'}"
        others = [
            context.Process(target=_join, args=(rank, count, meeting, work, argument)) for rank in range(1, count)
        ]
        for other in others:
            other.start()
        # A kill must not leave the others waiting for this process.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            _work(0, count, meeting, work, argument)
            for other in others:
                other.join()
        finally:
            for other in others:
                other.terminate()
        if any(other.exitcode for other in others):
            raise RuntimeError("a process of the training failed")


def _join(rank: int, count: int, meeting: str, work: Callable[[Peers, Any], None], argument: Any) -> None:
    # Each process has its own session, so that the scheduler gives it a full share, and Ctrl-C reaches only the first.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work(rank, count, meeting, work, argument)


def _work(rank: int, count: int, meeting: str, work: Callable[[Peers, Any], None], argument: Any) -> None:
    torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=count)
    try:
        work(Peers(rank, count), argument)
    finally:
        torch.distributed.destroy_process_group()
