"""`voxray eval`: asks the sample questions and prints the share answered right, wrong and refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Annotated, Any

import rich.box
import typer
from rich.console import Console
from rich.table import Table

from cluster.catalog.catalog import ModelCatalog
from cluster.cli.measuring.asking import ask_in_child, ask_over_http
from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.agents import agent_of, agents_folder
from cluster.config.environment import process_environment, secret
from cluster.config.parts import PoolPart
from cluster.config.pools import engine_settings_of, spec_of_pool
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import jobs_encoder
from cluster.lifecycle import ClusterState, attach
from pipelines.answering.evaluation import Ask, Judged, Tally, by_kind, tally
from pipelines.answering.evaluation import evaluate as ask_all
from pipelines.answering.scoring import EvalQuestion, Verdict, load_questions
from pipelines.errors import Component, ConfigError

SAMPLE_QUESTIONS = Path(__file__).resolve().parents[3] / "ingest_jobs" / "sample_data" / "questions.jsonl"
_COLOURS = {Verdict.RIGHT: "green", Verdict.WRONG: "red", Verdict.REFUSED: "yellow"}

QuestionsOption = Annotated[Path, typer.Option(help="JSON Lines file of questions with expected facts.")]
SpokenOption = Annotated[
    bool, typer.Option("--spoken", help="Synthesize and recognise each question before asking it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
InProcessOption = Annotated[
    bool,
    typer.Option("--in-process", help="Load the engines in a separate process, so that only Milvus must be running."),
]
ExtractiveOption = Annotated[
    bool,
    typer.Option(
        "--extractive", help="With --in-process: answer with the passage's best sentence, without a language model."
    ),
]


def evaluate(  # noqa: PLR0917 - one argument per command-line option
    questions: QuestionsOption = SAMPLE_QUESTIONS,
    spoken: SpokenOption = False,
    as_json: JsonOption = False,
    in_process: InProcessOption = False,
    extractive: ExtractiveOption = False,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Ask questions with known answers, and print how many were answered right, wrong and refused."""
    config = config_of(profile, file)
    asked = load_questions(questions)
    if (state := attach(config)) is None:
        raise ConfigError("the cluster is not running: `voxray up` starts it")
    if in_process:
        asking = ask_in_child(_child_arguments(config, state, is_extractive=extractive))
    else:
        key = secret(process_environment(), config.gateway.api_key_env, needed_by="gateway.api_key_env")
        asking = ask_over_http(state.http_url, key, is_spoken=spoken)
    results = asyncio.run(_evaluated(asked, asking, Console(stderr=True)))
    if as_json:
        typer.echo(json.dumps(report(results), indent=2))
    else:
        _print(results, Console())


def report(results: Sequence[Judged]) -> dict[str, Any]:
    """Return the whole evaluation as plain data: counts and shares, overall and by kind, and every answer."""
    return {
        "all": _counts(tally(results)),
        "by_kind": {kind: _counts(counted) for kind, counted in by_kind(results).items()},
        "answers": [
            {
                "id": r.question.id,
                "question": r.question.question,
                "answer": r.answer,
                "verdict": str(r.verdict),
                "elapsed_ms": round(r.elapsed_ms, 1),
            }
            for r in results
        ],
    }


def _counts(counted: Tally) -> dict[str, float]:
    return {
        "total": counted.total,
        **{str(v): getattr(counted, v) for v in Verdict},
        **{f"{v}_share": round(counted.share(v), 4) for v in Verdict},
    }


def _child_arguments(config: VoxrayConfig, state: ClusterState, *, is_extractive: bool) -> list[str]:
    catalog = ModelCatalog.load(config, process_environment())
    arguments = ["--milvus", state.milvus_uri, "--alias", config.services.milvus.alias]
    arguments += ["--encoder-dir", str(catalog.fetch(jobs_encoder(config)))]
    if not is_extractive:
        pool = config.pools.of(Component.LANGUAGE_MODEL)[config.routes.of(Component.LANGUAGE_MODEL)[0]]
        spec = spec_of_pool(Component.LANGUAGE_MODEL, pool)
        settings = engine_settings_of(pool, spec)
        models = {use.name: str(catalog.fetch(use.name)) for use in spec.models(settings)}
        part = PoolPart(component=spec.component, pool="local", settings=settings, models=models)
        arguments += ["--language-model", part.model_dump_json()]
    arguments += ["--limits", config.answering.model_dump_json()]
    agent_file = agents_folder(config) / f"{agent_of(config).name}.yaml"
    return [*arguments, "--agent", str(agent_file), "--token-env", config.services.milvus.token_env]


async def _evaluated(
    questions: Sequence[EvalQuestion], asking: AbstractAsyncContextManager[Ask], console: Console
) -> list[Judged]:
    """Ask all questions while showing a progress line."""
    done = 0
    with console.status(f"asking {len(questions)} questions") as status:

        def show(judged: Judged) -> None:
            nonlocal done
            done += 1
            status.update(f"{done} of {len(questions)} asked; last: {judged.verdict}")

        async with asking as ask:
            return await ask_all(questions, ask, on_judged=show)


def _print(results: Sequence[Judged], console: Console) -> None:
    table = Table(box=rich.box.SIMPLE_HEAD)
    for title in ("kind", "asked", *(str(verdict) for verdict in Verdict)):
        table.add_column(title, justify="left" if title == "kind" else "right")
    for kind, counted in {**by_kind(results), "all": tally(results)}.items():
        shares = (f"{getattr(counted, v)} ({counted.share(v):.0%})" for v in Verdict)
        table.add_row(kind, str(counted.total), *shares, style="bold" if kind == "all" else "")
    console.print(table)
    for result in results:
        if result.verdict is not Verdict.RIGHT:
            colour = _COLOURS[result.verdict]
            console.print(f"[{colour}]{result.verdict:8}[/]", result.question.question, highlight=False)
            console.print("        ", result.answer, markup=False, highlight=False, style="dim")
