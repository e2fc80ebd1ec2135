"""`voxray retrieve`: searches the business data as a call does, explains results, and measures the search."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from cluster.catalog.catalog import ModelCatalog
from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.pools import engine_settings_of, spec_of_pool
from cluster.config.schema import VoxrayConfig
from cluster.config.uses import jobs_encoder
from cluster.lifecycle import attach
from cluster.programs import Program
from pipelines.errors import Component, ConfigError

SAMPLE_DATA = Path(__file__).resolve().parents[3] / "ingest_jobs" / "sample_data"


class QuestionGroup(typer.core.TyperGroup):
    """A group whose first argument may be a question: `voxray retrieve "..."` is `voxray retrieve ask "..."`."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """Insert the command `ask` before a first argument that is not the name of a command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["ask", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=QuestionGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help='Search the business data: voxray retrieve "How much is shipping?" --explain',
)

TenantOption = Annotated[str | None, typer.Option(help="Tenant whose data is searched. Default: the agent's.")]
MilvusOption = Annotated[str, typer.Option(help="URI of a Milvus. Default: the running cluster's.")]
VersionOption = Annotated[
    str, typer.Option(help="Search this version (`voxray ingest list` names them) instead of the live one.")
]
RerankOption = Annotated[
    str | None, typer.Option(help='Catalog name of a cross-encoder, "" for none. Default: as configured.')
]


@app.callback()
def retrieve() -> None:
    """Search the business data as a call does."""


@app.command()
def ask(  # noqa: PLR0917 - one argument per command-line option
    question: Annotated[str, typer.Argument(help="What a caller would ask.")],
    explain: Annotated[bool, typer.Option("--explain", help="Show the scores and times of each stage.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=50, help="Most passages to print.")] = 6,
    source: Annotated[list[str] | None, typer.Option(help="Search only this source. May be repeated.")] = None,
    updated_from: Annotated[str, typer.Option(help="Search only data of this date or later, as 2026-01-31.")] = "",
    updated_until: Annotated[str, typer.Option(help="Search only data of this date or earlier.")] = "",
    where: Annotated[
        list[str] | None, typer.Option(help="Condition on a field of the dataset, as price<=100. May be repeated.")
    ] = None,
    stage: Annotated[str, typer.Option(help="hybrid, meaning or words.")] = "hybrid",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    tenant: TenantOption = None,
    version: VersionOption = "",
    milvus: MilvusOption = "",
    rerank: RerankOption = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Search for a question and print the passages with source and date. --explain shows why they were found."""
    config = config_of(profile, file)
    arguments = ["ask", *_place(config, milvus, version), *_engines(config, tenant, rerank)]
    arguments += ["--limit", str(limit), "--stage", stage]
    arguments += [part for name in source or [] for part in ("--source", name)]
    arguments += [f"--where={condition}" for condition in where or []]
    arguments += [f"--updated-from={updated_from}", f"--updated-until={updated_until}"]
    flags = {"--explain": explain, "--json": as_json}
    _run([*arguments, *(flag for flag, is_set in flags.items() if is_set), "--", question])


@app.command("eval")
def evaluate(  # noqa: PLR0917 - one argument per command-line option
    questions: Annotated[Path, typer.Argument(help="JSON Lines file of questions (docs/retrieval.md).")],
    data: Annotated[Path | None, typer.Option(help="Index this folder in a separate Milvus and measure there.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for retrieval.json and the plot retrieval.svg.")] = Path("."),
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads of the encoder.")] = 1,
    tenant: TenantOption = None,
    version: VersionOption = "",
    milvus: MilvusOption = "",
    rerank: RerankOption = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Measure recall, MRR, nDCG and latency of each stage, and write a report and a plot."""
    config = config_of(profile, file)
    place = ["--data", str(data)] if data else _place(config, milvus, version)
    arguments = ["eval", *place, *_engines(config, tenant, rerank), "--threads", str(threads)]
    _run([*arguments, "--out", str(out), str(questions)])


@app.command("make-set")
def make_set(
    folder: Annotated[Path, typer.Argument(help="Folder to which data/ and questions.jsonl are written.")],
    documents: Annotated[int, typer.Option(min=1, help="Number of documents made from package documentation.")] = 2000,
) -> None:
    """Make the evaluation set from the documentation of installed packages and the sample company's data."""
    _run(["make-set", "--sample", str(SAMPLE_DATA), "--documents", str(documents), str(folder)])


def _place(config: VoxrayConfig, milvus: str, version: str) -> list[str]:
    """Return the arguments that locate the data: the given Milvus, the configured one, or the cluster's."""
    uri = milvus or config.services.milvus.uri
    if not uri:
        if (state := attach(config)) is None:
            raise ConfigError("the cluster is not running: `voxray up` starts it; or give --milvus URI")
        uri = state.milvus_uri
    return ["--milvus", uri, "--alias", config.services.milvus.alias, f"--version={version}"]


def _engines(config: VoxrayConfig, tenant: str | None, rerank: str | None) -> list[str]:
    catalog = ModelCatalog.load(config, process_environment())
    pool = config.pools.of(Component.RETRIEVER)[config.routes.of(Component.RETRIEVER)[0]]
    arguments = ["--tenant", tenant or agent_of(config).tenant, "--token-env", config.services.milvus.token_env]
    arguments += ["--settings", engine_settings_of(pool, spec_of_pool(Component.RETRIEVER, pool)).model_dump_json()]
    arguments += ["--encoder-dir", str(catalog.fetch(jobs_encoder(config)))]
    reranker = getattr(pool, "rerank_model", "") if rerank is None else rerank
    return [*arguments, "--rerank-dir", str(catalog.fetch(reranker))] if reranker else arguments


def _run(arguments: list[str]) -> None:
    """Run the engines in a separate process, and end with its exit code."""
    command = Program.RETRIEVAL.command(*arguments)
    environment = {**process_environment(), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    child = subprocess.Popen(command, env=environment)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # The terminal has interrupted the child too, which cleans up and ends.
        code = child.wait()
    raise typer.Exit(code)
