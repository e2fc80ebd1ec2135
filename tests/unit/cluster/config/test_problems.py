"""What is said of a wrong setting: where it stands, its value unless it may be a secret, and what is allowed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cluster.config.layers import Layer, MergedTree
from cluster.config.problems import Problem, allowed_at, masked, problems_of, raise_for
from cluster.config.schema import VoxrayConfig
from cluster.config.section import Fraction, Port, Section
from pipelines.errors import ConfigError

pytestmark = pytest.mark.unit


class Door(Section):
    port: Port = 80
    share: Fraction = 0.5


def message(*problems: Problem, values: dict[str, object] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        raise_for(problems, MergedTree(values or {}))
    return str(caught.value)


@pytest.mark.parametrize("wrong", [{"port": -1}, {"port": 65536}, {"share": 1.01}, {"share": -0.01}, {"ports": 80}])
def test_section_refuses_what_is_out_of_range_or_unknown(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Door.model_validate(wrong)


def test_section_takes_the_ends_of_a_range_and_cannot_be_changed() -> None:
    door = Door.model_validate({"port": 65535, "share": 1.0})
    with pytest.raises(ValidationError, match="frozen"):
        door.port = 1  # type: ignore[misc]
    assert (door.port, door.share) == (65535, 1.0)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:geheim@host:1/0", "redis://***@host:1/0"),
        ("redis://:geheim@host", "redis://***@host"),
        ("https://host/?a=1&api_token=geheim&b=2", "https://host/?a=1&api_token=***&b=2"),
        ("https://host/?PASSWORD=geheim", "https://host/?PASSWORD=***"),
        ("https://host:8080/path", "https://host:8080/path"),
    ],
)
def test_passwords_of_urls_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_value_of_an_unknown_key_is_hidden_and_the_nearest_key_named() -> None:
    with pytest.raises(ValidationError) as caught:
        VoxrayConfig.model_validate({"ingress": {"prot": "geheim"}})
    (problem,) = problems_of(caught.value)
    assert problem.path == ("ingress", "prot")
    assert problem.message.startswith("unknown key")
    assert "port" in problem.message
    assert "geheim" not in message(problem, values={"ingress": {"prot": "geheim"}})


def test_value_in_place_of_a_section_is_told_the_sections_keys() -> None:
    with pytest.raises(ValidationError) as caught:
        VoxrayConfig.model_validate({"ingress": 8000})
    (problem,) = problems_of(caught.value)
    assert problem.path == ("ingress",)
    assert problem.message.startswith("is a section with the keys ")
    assert "longest_call_s" in problem.message


def test_wrong_value_is_told_what_is_allowed() -> None:
    with pytest.raises(ValidationError) as caught:
        VoxrayConfig.model_validate({"ingress": {"port": 70000}})
    assert problems_of(caught.value) == [Problem(("ingress", "port"), "allowed: integer, at least 0, at most 65535")]


def test_choices_are_listed_and_an_unknown_key_is_anything_else() -> None:
    assert allowed_at(("topology", "balancer", "listener")) == "one of tls, tcp"
    assert allowed_at(("ingress", "nothing")) == "another value"


def test_one_problem_is_a_line_and_several_are_a_list() -> None:
    one = Problem(("ingress", "port"), "is taken")
    assert message(one, values={"ingress": {"port": 1}}) == "default: ingress.port = 1: is taken"
    several = message(one, Problem(("profile",), "is wrong"))
    assert several.splitlines() == [
        "2 problems:",
        "  - not set: ingress.port: is taken",
        "  - not set: profile: is wrong",
    ]
    raise_for([], MergedTree())


def test_problem_names_the_layer_that_set_its_value() -> None:
    layer = Layer("a.yaml", {"ingress": {"port": 1}})
    merged = MergedTree({"ingress": {"port": 1}}, {("ingress",): layer})
    with pytest.raises(ConfigError, match=r"^a\.yaml: ingress\.port = 1: is taken$"):
        raise_for([Problem(("ingress", "port"), "is taken")], merged)
