"""`voxray config show` explains every value, of every engine too, in a sentence that stands alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import yaml
from pydantic import BaseModel
from typer.testing import CliRunner

from cluster.cli import app
from cluster.cli.config import meaning_of
from cluster.config.agents import AgentFile
from cluster.config.engines import default_settings, spec_of
from cluster.config.pools import STAGES, pool_type
from cluster.config.schema import VoxrayConfig
from deployments.engines.registry import ENGINES
from pipelines.errors import Component

pytestmark = [pytest.mark.unit, pytest.mark.usefixtures("no_voxray_variables")]
# A capital, a code word or a number, and a full stop.
SENTENCE = re.compile(r"[A-Z`].*[.]", re.DOTALL)


def unexplained(section: BaseModel, path: str) -> Iterator[str]:
    """Yield the keys of a section, and of those below it, that have no sentence."""
    for key, value in dict(section).items():
        meaning = meaning_of(section, key, value)
        if not SENTENCE.fullmatch(meaning):
            yield f"{path}.{key}: {meaning!r}"
        below = {"": value} if isinstance(value, BaseModel) else value
        for name, item in below.items() if isinstance(below, dict) else ():
            if isinstance(item, BaseModel):
                yield from unexplained(item, f"{path}.{key}.{name}".rstrip("."))


def test_every_value_of_the_tree_is_explained() -> None:
    assert list(unexplained(VoxrayConfig(), "config")) == []


@pytest.mark.parametrize("component", ENGINES, ids=lambda component: component.value)
def test_every_setting_of_every_engine_is_explained(component: Component) -> None:
    for name in ENGINES[component]:
        settings = spec_of(component, name).settings
        made = (pool_type(settings) if component in STAGES else settings).model_validate({"engine": name})
        assert list(unexplained(made, name)) == []
    assert default_settings(component)


def test_every_key_of_an_agents_file_is_explained() -> None:
    assert list(unexplained(AgentFile(company="Acme"), "agent")) == []


@pytest.mark.parametrize("options", [[], ["--plain"], ["--origin"], ["--origin", "--plain"]], ids=" ".join)
def test_what_is_shown_is_yaml_of_the_tree(options: list[str]) -> None:
    shown = CliRunner().invoke(app, ["config", "show", *options])
    assert shown.exit_code == 0, shown.output
    tree = yaml.safe_load(shown.output)
    assert tree["pools"]["language_model"]["default"]["engine"] == "vllm"
    assert tree["gateway"]["max_calls"] == VoxrayConfig().gateway.max_calls
    lines = shown.output.splitlines()
    assert ("  # Most calls per replica. Further ones are refused with a reason." in lines) == (
        "--plain" not in options
    )
    assert any("# default" in line for line in lines) == ("--origin" in options)


def test_a_value_without_a_sentence_is_found() -> None:
    class Section(BaseModel):
        wait_s: int = 3

    assert list(unexplained(Section(), "a")) == ["a.wait_s: ''"]
