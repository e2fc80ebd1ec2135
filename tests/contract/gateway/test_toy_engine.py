"""A new engine is one folder and one line: it is configured, checked, rendered, opened, and answers a call."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.asyncio.client import connect

from cluster.config.loading import load_config
from cluster.config.parts import PoolPart
from cluster.render.serve_config import configured_addresses, render_serve_config
from deployments.engines import registry
from deployments.shells.language_model import LanguageModel
from deployments.shells.opener import EngineOpener
from pipelines.errors import Component, ConfigError
from tests.contract.gateway.serving import QUESTION, RETURN_SENTENCE, serve_gateway
from tests.contract.gateway.writing import ask

pytestmark = pytest.mark.contract

# In the passage, so it passes the grounding check; not the passage's own sentence.
SAYING = "Return unused items within 30 days."
POOL = {
    "VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__ENGINE": "toy",
    "VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__SAYING": SAYING,
}


@pytest.fixture(autouse=True)
def one_line() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.ENGINES[Component.LANGUAGE_MODEL], "toy", "tests.contract.gateway.toy_engine:SPEC")
        yield


async def test_toy_engine_is_configured_rendered_opened_and_answers_a_call() -> None:
    config = load_config("scripted", None, POOL)
    rendered = render_serve_config(config, configured_addresses(config))
    (application,) = [each for each in rendered["applications"] if each["name"] == "language-model-default"]
    shell = LanguageModel(EngineOpener(PoolPart.model_validate(application["args"]["part"])))
    with serve_gateway(language_model=shell) as gateway:
        async with connect(gateway.ws_url) as socket:
            answer = await ask(socket, QUESTION)
    assert answer == SAYING != RETURN_SENTENCE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__ENGINE": "toys"}, r"(?s)toys.*toy\b"),
        ({"VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__SAYING": ""}, r"pools\.language_model\.default\.saying"),
        ({"VOXRAY__POOLS__LANGUAGE_MODEL__DEFAULT__SAYINGS": "x"}, r"pools\.language_model\.default\.sayings"),
    ],
)
def test_its_settings_are_checked_like_those_of_any_engine(changes: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("scripted", None, {**POOL, **changes})
