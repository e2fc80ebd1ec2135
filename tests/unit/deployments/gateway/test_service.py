"""What an operator changes under open calls: names for the next ones, and whether there are next ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.config.schema import VoxrayConfig
from cluster.render.serve_config import told_to_gateway
from deployments.gateway.admission import Admission
from deployments.gateway.opening import call_settings_from
from deployments.gateway.service import GatewayService, ToldToGateway
from pipelines.errors import CapacityError

pytestmark = pytest.mark.unit


@pytest.fixture
def service() -> GatewayService:
    nothing: Any = SimpleNamespace()
    return GatewayService(nothing, nothing, call_settings_from(VoxrayConfig()), Admission(2))


def test_drain_refuses_new_calls_and_keeps_open_ones(service: GatewayService) -> None:
    with service.admission.admit():
        service.tell(ToldToGateway(**told_to_gateway(VoxrayConfig(), accepts_calls=False)))
        with pytest.raises(CapacityError, match="being drained"), service.admission.admit():
            pass
        assert service.admission.calls == 1
    assert service.admission.calls == 0


def test_calls_are_let_in_again_when_the_drain_ends(service: GatewayService) -> None:
    for accepts in (False, True):
        service.tell(ToldToGateway(**told_to_gateway(VoxrayConfig(), accepts_calls=accepts)))
    with service.admission.admit():
        assert service.admission.calls == 1


def test_next_calls_are_told_the_new_names_and_nothing_else_changes(service: GatewayService) -> None:
    before = service.call_settings
    service.tell(ToldToGateway(True, model="m2", transcription_model="t2", voice="v2"))
    after = service.call_settings
    assert (after.model, after.transcription_model, after.defaults.voice) == ("m2", "t2", "v2")
    assert after.longest_call_s == before.longest_call_s
    assert after.defaults.turn_detection == before.defaults.turn_detection


def test_what_the_configuration_tells_is_what_a_gateway_starts_with(service: GatewayService) -> None:
    before = service.call_settings
    service.tell(ToldToGateway(**told_to_gateway(VoxrayConfig())))
    assert service.call_settings == before
