"""The gateway as Serve runs it: made from its part, told of pools in place, asked for calls and load."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from autoscaling.ray_adapter import ROUTE_PLACE
from cluster.config.parts import GatewayPart
from deployments.gateway.service import LiveSettings
from pipelines.errors import ConfigError
from tests.agents import agent
from tests.unit.deployments.gateway.scripted_gateway import BEARER, KEY, client_of, gateway_part
from tests.unit.deployments.pools.scripted_pools import ScriptedConnector, offer

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own modules, when they are imported
    from deployments.gateway import deployment
    from deployments.gateway.deployment import Gateway

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Put scripted pools in the place of handles; return with what the connector was made."""
    made: list[Any] = []

    def connector(*given: Any) -> ScriptedConnector:
        made.append(given)
        return ScriptedConnector()

    monkeypatch.setattr(deployment, "HandleConnector", connector)
    monkeypatch.setattr("deployments.gateway.asgi._tame_garbage_collection", lambda: None)
    return made


def told(*, accepts_calls: bool = True, **pools: list[str]) -> dict[str, Any]:
    settings = LiveSettings(accepts_calls=accepts_calls, offer=offer(**pools))
    return settings.model_dump(mode="json")


@asynccontextmanager
async def serving(part: GatewayPart) -> AsyncIterator[tuple[Gateway, FastAPI]]:
    gateway = Gateway(part)
    app = gateway.__serve_build_asgi_app__()
    async with app.router.lifespan_context(app):
        yield gateway, app


async def test_gateway_serves_what_its_part_says(pools: list[Any]) -> None:
    part = gateway_part(max_calls=1)
    async with serving(part) as (gateway, app), client_of(app) as client:
        await gateway.reconfigure(told())
        assert (await client.get("/healthz")).json() == {"status": "ok", "calls": 0}
        assert (await client.get("/v1/models")).json()["data"]
        assert pools == [(part.hearing, part.turn)]
        change = await client.put("/v1/knowledge/documents/x", json={"text": "y"})
        assert (change.status_code, change.json()["detail"].split(" and ")[0]) == (503, "This gateway has no Redis")


async def test_key_is_read_from_the_variable_that_the_part_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", KEY)
    async with serving(gateway_part(api_key_env="OUR_KEY")) as (_, app), client_of(app) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers=BEARER)).status_code == 200


def test_missing_key_says_which_variable_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUR_KEY", raising=False)
    with pytest.raises(ConfigError, match="OUR_KEY") as caught:
        Gateway(gateway_part(api_key_env="OUR_KEY")).__serve_build_asgi_app__()
    assert "gateway.api_key_env" in str(caught.value)


async def test_drain_is_told_in_place_and_ended_in_place() -> None:
    async with serving(gateway_part()) as (gateway, app), client_of(app) as client:
        for accepts, status in ((False, "draining"), (True, "ok")):
            await gateway.reconfigure(told(accepts_calls=accepts))
            assert (await client.get("/healthz")).json()["status"] == status


async def test_settings_with_a_mistake_are_refused_and_the_present_ones_stay() -> None:
    async with serving(gateway_part()) as (gateway, app), client_of(app) as client:
        await gateway.reconfigure(told(accepts_calls=False))
        with pytest.raises(ValidationError, match="accept_calls"):
            await gateway.reconfigure({**told(), "accept_calls": True})
        assert (await client.get("/healthz")).json()["status"] == "draining"


async def test_open_calls_are_counted_in_all_and_by_the_pool_they_hold() -> None:
    async with serving(gateway_part()) as (gateway, app):
        await gateway.reconfigure(told(synthesizer=["default"]))
        service = app.state.service
        with service.admission.admit(), service.hold(agent()):
            assert await gateway.open_calls() == 1
            assert await gateway.open_calls("synthesizer-default") == 1
            assert await gateway.open_calls("synthesizer-night") == 0
            await gateway.reconfigure(told(synthesizer=["night"]))
            assert await gateway.open_calls("synthesizer-default") == 1  # offered no more, and still held
        assert await gateway.open_calls() == await gateway.open_calls("synthesizer-default") == 0


async def test_load_tells_the_calls_and_the_place_of_each_pool_in_a_route_of_several() -> None:
    async with serving(gateway_part(max_calls=1)) as (gateway, app):
        await gateway.reconfigure(told(language_model=["neuron", "default"]))
        with app.state.service.admission.admit():
            stats = gateway.record_autoscaling_stats()
    assert {name: value for name, value in stats.items() if not name.startswith(ROUTE_PLACE)} == {
        "calls": 1.0,
        "arrivals": 1.0,
        "refused": 0.0,
    }
    places = {name.removeprefix(ROUTE_PLACE): value for name, value in stats.items() if name.startswith(ROUTE_PLACE)}
    assert places == {"language_model-neuron": 0.0, "language_model-default": 1.0}
