"""What an operator changes under open calls: the pools of the next ones, and whether there are next ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.config.parts import GatewayPart
from cluster.config.schema import VoxrayConfig
from cluster.render.serve_config import live_settings
from deployments.gateway.access import Access
from deployments.gateway.admission import Admission
from deployments.gateway.call import CallSettings
from deployments.gateway.opening import answer_limits_from
from deployments.gateway.service import GatewayService, LiveSettings
from deployments.pools.pools import Pools
from pipelines.errors import CapacityError
from tests.agents import agent
from tests.unit.deployments.pools.scripted_pools import ScriptedConnector

pytestmark = pytest.mark.unit


@pytest.fixture
def service() -> GatewayService:
    nothing: Any = SimpleNamespace()
    part = GatewayPart(longest_call_s=3600, agents_folder="")
    return GatewayService(
        pools=Pools(ScriptedConnector(), part),
        agents=nothing,
        speech_detector=nothing,
        turn_detector=nothing,
        call_settings=CallSettings.of(part),
        limits=answer_limits_from(part),
        admission=Admission(2),
        access=Access(""),
    )


def settings(*, accepts_calls: bool = True) -> LiveSettings:
    return LiveSettings.model_validate(live_settings(VoxrayConfig(), accepts_calls=accepts_calls))


async def test_drain_refuses_new_calls_and_keeps_open_ones(service: GatewayService) -> None:
    with service.admission.admit():
        await service.tell(settings(accepts_calls=False))
        with pytest.raises(CapacityError, match="being drained"), service.admission.admit():
            pass
        assert service.admission.calls == 1
    assert service.admission.calls == 0


async def test_calls_are_let_in_again_when_the_drain_ends(service: GatewayService) -> None:
    for accepts in (False, True):
        await service.tell(settings(accepts_calls=accepts))
    with service.admission.admit():
        assert service.admission.calls == 1


async def test_gateway_that_has_been_told_of_no_pools_refuses_calls(service: GatewayService) -> None:
    with pytest.raises(CapacityError, match="there are: none"), service.hold(agent()):
        pass
    await service.tell(settings())
    with service.hold(agent()) as held:
        assert held.transcription_model == "whisper-tiny"
        assert held.voice == "piper-en-us-joe-medium"


async def test_calls_see_the_names_of_their_agent(service: GatewayService) -> None:
    await service.tell(settings())
    with service.hold(agent(voice="warm")) as held:
        assert held.voice == "warm"
