"""A corpus, a Milvus and the ingest job as a process, a bar for each step: what ingest_figures.py measures with."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from cluster.catalog.catalog import ModelCatalog
from cluster.cli.ingest.screen import described, progress_of, told
from cluster.config.environment import process_environment
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import embedding_model
from ingest_jobs.knowledge.run.reporting import REPORTS

ROOT = Path(__file__).resolve().parents[2]
ALIAS = "bench"
_LOOK_EVERY_S = 0.5
_LOG_TAIL_BYTES = 8192

Watch = Callable[[subprocess.Popen[bytes], dict[str, Any]], None]


def model_dir() -> Path:
    config = VoxrayConfig()
    return ModelCatalog.load(config, process_environment()).fetch(embedding_model(config))


class Screen:
    """Bars on stderr: one for each step, which stays when the step is over."""

    def __init__(self) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TimeElapsedColumn())
        self._console = Console(stderr=True, highlight=False)
        self._bars = Progress(*columns, console=self._console, disable=not self._console.is_terminal)

    @contextmanager
    def step(self, name: str, total: float | None = None) -> Iterator[Step]:
        """Show a step while it runs; where no bar can be drawn, its beginning and its end."""
        started = time.monotonic()
        if self._bars.disable:
            self._console.print(f"{name} ...", markup=False)
        task = self._bars.add_task(name, total=total)
        try:
            yield Step(self._bars, task, name)
        finally:
            done = self._bars.tasks[task].total or 1
            self._bars.update(task, total=done, completed=done)
            self._bars.stop_task(task)
            if self._bars.disable:
                self._console.print(f"{name}: {time.monotonic() - started:.0f} s", markup=False)

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()


class Step:
    """One bar."""

    def __init__(self, bars: Progress, task: TaskID, name: str) -> None:
        self._bars, self._task, self._name = bars, task, name

    def show(self, said: str = "", completed: float | None = None, total: float | None = None) -> None:
        """Say where the step is."""
        text = f"{self._name}: {said}" if said else self._name
        self._bars.update(self._task, description=text, completed=completed, total=total)


class Bench:
    """A folder with a corpus, a Milvus, and the job as a process.

    Args:
        root: an empty folder.
        uri: address of a Milvus of its own.
        screen: where the bars are.
        description: the dataset's YAML.
    """

    def __init__(self, root: Path, uri: str, screen: Screen, description: str = "") -> None:
        self.root, self.uri, self.screen = root, uri, screen
        self.data = root / "data"
        self.data.mkdir()
        self.describe(description)

    def describe(self, description: str) -> None:
        (self.data / "dataset.yaml").write_text(description)

    def run(self, name: str, *more: str, watch: Watch = lambda *_: None) -> dict[str, Any]:
        """Run the job to its end, its progress on a bar; return its report. `watch` is called twice a second."""
        command = [
            sys.executable,
            "-m",
            "ingest_jobs.knowledge.run.reindex",
            "--source",
            str(self.data),
            "--milvus",
            self.uri,
        ]
        command += ["--alias", ALIAS, "--model-dir", str(model_dir()), "--objects", str(self.root / "objects")]
        environment = {**process_environment(), "RAY_ADDRESS": "local"}
        log = self.root / "job.log"
        with self.screen.step(name) as step, log.open("wb") as out:
            command += ["--progress", "json", *more]
            job = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
            try:
                while _is_running(job):
                    progress = progress_of(_tail(log))
                    watch(job, progress)
                    _show(step, progress)
            finally:
                job.terminate()
        if job.returncode:
            raise SystemExit(told(log.read_text())[-3000:])
        return self._last_report()

    def _last_report(self) -> dict[str, Any]:
        reports = [json.loads(path.read_text()) for path in (self.root / "objects" / REPORTS).rglob("*.json")]
        return max(reports, key=lambda report: report["started_at_s"])


def _is_running(job: subprocess.Popen[bytes]) -> bool:
    try:
        job.wait(timeout=_LOOK_EVERY_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _tail(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_TAIL_BYTES))
        return file.read().decode(errors="replace")


def _show(step: Step, progress: dict[str, Any]) -> None:
    if progress:
        total = progress["documents_expected"] or None
        step.show(described(progress), progress["documents"], total)
