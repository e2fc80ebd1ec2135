"""`voxray erase`: removes a person's documents from every version, undo file and change log, and gives a receipt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from cluster.cli.ingest.cluster import open_cluster
from cluster.cli.options import FileOption, ProfileOption
from pipelines.errors import ConfigError

SubjectOption = Annotated[str, typer.Option(help="Id of the person, as given in the data.")]
TenantOption = Annotated[str | None, typer.Option(help="Tenant of the data. Default: the agent's.")]
OutOption = Annotated[Path | None, typer.Option(help="Also write the receipt to this file.")]
VerifyOption = Annotated[Path | None, typer.Option(help="Check this receipt instead of erasing.")]


def erase(  # noqa: PLR0917 - one argument per command-line option
    subject: SubjectOption = "",
    tenant: TenantOption = None,
    out: OutOption = None,
    verify: VerifyOption = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Erase a person's documents and vectors everywhere and permanently, or check the receipt of an erasure."""
    if bool(subject) == (verify is not None):
        raise ConfigError("give --subject ID to erase a person, or --verify RECEIPT to check a receipt")
    cluster = open_cluster(profile, file)
    if verify is not None:
        answer = cluster.ask("verify", ["--receipt", str(verify.resolve())], tenant)
        typer.echo(json.dumps(answer, indent=1))
        raise typer.Exit(0 if answer["holds"] else 1)
    receipt = json.dumps(cluster.ask("erase", ["--subject", subject], tenant), indent=1)
    if out is not None:
        out.write_text(f"{receipt}\n", "utf-8")
    typer.echo(receipt)
