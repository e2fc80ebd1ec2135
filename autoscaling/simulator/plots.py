"""Plots of trials and recorded timelines. matplotlib is optional, so it is imported when used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoscaling.simulator.traces import HOUR_S
from autoscaling.simulator.trial import Trial

_COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#66a182", "#8d6a9f")
_MOST_POINTS = 1500


class PlotsMissing(RuntimeError):
    """matplotlib is not installed."""


def plot_trial(trial: Trial, file: Path) -> None:
    """Draw the calls and each policy's capacity and, below, the hourly cost of the machines."""
    pyplot = _pyplot()
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 6.5), sharex=True, height_ratios=(3, 2))
    for index, outcome in enumerate(trial.outcomes):
        colour = _COLOURS[index % len(_COLOURS)]
        label = f"{outcome.policy}: {outcome.missed_share:.2%} missed, {outcome.cost / trial.oracle.cost:.2f} x oracle"
        above.plot(*_thinned(outcome.series["held"]), color=colour, linewidth=1, label=label)
        below.plot(*_thinned(outcome.series["price"]), color=colour, linewidth=1, label=outcome.policy)
    above.fill_between(*_thinned(trial.outcomes[0].series["calls"]), color="#bbbbbb", label="calls in progress")
    below.plot(*_thinned(trial.oracle.price), color="black", linewidth=1, linestyle=":", label="oracle")
    above.set_ylabel("calls that can be held")
    below.set_ylabel("machines, $ an hour")
    below.set_xlabel("hour")
    above.set_title(f"{trial.trace.name}: {trial.outcomes[0].calls:,} calls, {trial.outcomes[0].peak_calls:,} at most")
    for axes in (above, below):
        axes.legend(fontsize=8, loc="upper left", framealpha=0.9)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    _save(figure, pyplot, file)


def plot_frontier(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw missed calls over cost, with one line for each trace and policy family in `Trial.rows`."""
    pyplot = _pyplot()
    figure, axes = pyplot.subplots(figsize=(8, 5))
    for index, trace in enumerate(sorted({str(row["trace"]) for row in rows})):
        for marker, family in (("o", "calls"), ("x", "ray default")):
            own = [row for row in rows if row["trace"] == trace and str(row["policy"]).startswith(family)]
            own.sort(key=lambda row: float(row["times_oracle"]))
            x = [float(row["times_oracle"]) for row in own]
            y = [max(float(row["missed_share"]) * 100, 0.001) for row in own]
            style = "-" if family == "calls" else ":"
            axes.plot(x, y, style, marker=marker, color=_COLOURS[index % len(_COLOURS)], label=f"{trace}, {family}")
    axes.axhline(1, color="grey", linewidth=0.8)
    axes.axvline(1.25, color="grey", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("cost, times the oracle's")
    axes.set_ylabel("calls missed, % (0.001: none)")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    _save(figure, pyplot, file)


def plot_comparison(report: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw each day of `voxray compare` with our points and the line of Ray's targets, in one panel per trace."""
    pyplot = _pyplot()
    figure, panels = pyplot.subplots(1, len(report), figsize=(4.2 * len(report), 4), sharey=True, squeeze=False)
    for axes, trace in zip(panels[0], report, strict=True):
        for number, day in enumerate(trace["days"]):
            rays = [point for _, point in day["rays"]]
            x, y = [ray["cost"] for ray in rays], [max(ray["missed"] * 100, 0.01) for ray in rays]
            axes.plot(
                x, y, ":", marker="x", color=_COLOURS[1], alpha=0.5, label="Ray's default" if not number else None
            )
            ours = max(day["ours"]["missed"] * 100, 0.01)
            axes.plot(day["ours"]["cost"], ours, "o", color=_COLOURS[0], label="calls" if not number else None)
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.axvline(1.25, color="grey", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_title(trace["trace"])
        axes.set_xlabel("cost, times the oracle's")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("calls missed, % (0.01: none)")
    panels[0][0].legend(fontsize=8)
    _save(figure, pyplot, file)


def plot_timeline(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Draw a recorded run of a cluster: calls, replicas by deployment, and nodes over time in seconds."""
    pyplot = _pyplot()
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 5.5), sharex=True, height_ratios=(2, 3))
    at_s = [float(row["at_s"]) for row in rows]
    above.step(at_s, [row["calls"] for row in rows], where="post", color="#555555", label="calls in progress")
    above.step(at_s, [row["gpu_nodes"] for row in rows], where="post", color="black", linewidth=2, label="GPU nodes")
    for index, name in enumerate(rows[0]["running"]):
        running = [row["running"].get(name, 0) + 0.06 * index for row in rows]
        below.step(at_s, running, where="post", color=_COLOURS[index % len(_COLOURS)], label=name)
    above.set_ylabel("calls, nodes")
    below.set_ylabel("replicas that run")
    below.set_xlabel("seconds since the application was submitted")
    for axes in (above, below):
        axes.legend(fontsize=8, loc="upper left")
        axes.grid(alpha=0.3)
    _save(figure, pyplot, file)


def _thinned(series: Any) -> tuple[Any, Any]:
    """Return hours and values reduced to about a thousand points, since more are invisible and make files large."""
    step = max(1, len(series) // _MOST_POINTS)
    return np.arange(0, len(series), step) / HOUR_S, series[::step]


def _pyplot() -> Any:
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError as error:
        raise PlotsMissing("plots need matplotlib: `make develop` installs it") from error
    return pyplot


def _save(figure: Any, pyplot: Any, file: Path) -> None:
    figure.tight_layout()
    figure.savefig(file, dpi=80)
    pyplot.close(figure)
