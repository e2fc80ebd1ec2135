"""`voxray render`: renders the configuration as files that other systems read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cluster.cli.options import FileOption, ProfileOption, config_of

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, help="Render files for other systems."
)

TerraformOption = Annotated[
    Path, typer.Option("--terraform", help="File with `terraform output -json` (or `-raw ray_cluster`).")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for all files that the nodes need. Default: print only ray.yaml.")
]
PartOption = Annotated[
    Literal["all", "cluster", "calls"],
    typer.Option(help="all; cluster: all but the service that routes calls to it; calls: only that service."),
]


@app.command("serve")
def serve(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Print the Ray Serve configuration (YAML) of a profile."""
    from cluster.render.serve_config import configured_addresses, render_yaml

    config = config_of(profile, file)
    typer.echo(render_yaml(config, configured_addresses(config)), nl=False)


@app.command("local")
def local(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Print what `voxray up` would start on this machine (YAML)."""
    from cluster.render.local import render_local

    typer.echo(render_local(config_of(profile, file)), nl=False)


@app.command("kuberay")
def kuberay(profile: ProfileOption = None, file: FileOption = None, part: PartOption = "all") -> None:
    """Print the Kubernetes manifests for KubeRay (YAML, for `kubectl apply -f -`)."""
    from cluster.render.kubernetes.manifests import render_kuberay

    typer.echo(render_kuberay(config_of(profile, file), part), nl=False)


@app.command("switches")
def switches(profile: ProfileOption = None, file: FileOption = None) -> None:
    """Print the nodes' environment as a Terraform variable file (ray.auto.tfvars.json)."""
    from cluster.render.ray_ec2 import terraform_switches

    typer.echo(terraform_switches(config_of(profile, file)), nl=False)


@app.command("ray-ec2")
def ray_ec2(
    terraform: TerraformOption, profile: ProfileOption = None, file: FileOption = None, out: OutOption = None
) -> None:
    """Print the configuration of Ray's own autoscaler on EC2 (YAML), or write all files that nodes need to a folder."""
    from cluster.render.ray_ec2 import node_files, read_terraform_output, render_ray_ec2

    config = config_of(profile, file)
    output = read_terraform_output(terraform)
    if out is None:
        typer.echo(render_ray_ec2(config, output), nl=False)
        return
    out.mkdir(parents=True, exist_ok=True)
    for name, text in node_files(config, output).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(text, encoding="utf-8")
        typer.echo(out / name)
