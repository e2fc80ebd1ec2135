"""What Serve is given to run for each application of a rendered configuration."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config.loading import load_config
from cluster.config.parts import GatewayPart, PoolPart
from cluster.render.serve_config import configured_addresses, render_serve_config
from pipelines.errors import ConfigError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of Ray's own modules, when they are imported
    from deployments import app, pool_app
    from deployments.gateway.deployment import Gateway
    from deployments.shells.language_model import LanguageModel
    from deployments.shells.retriever import Retriever
    from deployments.shells.streaming_transcriber import StreamingTranscriber
    from deployments.shells.synthesizer import Synthesizer
    from deployments.shells.transcriber import Transcriber

pytestmark = pytest.mark.unit
EXTRA_POOL = {
    "VOXRAY__POOLS__TRANSCRIBER__STREAMS__ENGINE": "scripted-streaming",
    "VOXRAY__POOLS__SYNTHESIZER__NIGHT__ENGINE": "scripted",
    "VOXRAY__ROUTES__TRANSCRIBER": "[default, streams]",
    "VOXRAY__ROUTES__SYNTHESIZER": "[default, night]",
}


def rendered(profile: str = "scripted") -> dict[str, dict[str, Any]]:
    config = load_config(profile, None, EXTRA_POOL)
    applications = render_serve_config(config, configured_addresses(config), build="1")["applications"]
    return {each["name"]: each for each in applications}


def bound(application: Any) -> Any:
    """Return the deployment at the root of an application."""
    return application._bound_deployment


def test_gateways_application_is_the_gateway_with_its_part_behind_an_ingress() -> None:
    given = rendered()["voxray"]
    deployment = bound(app.build(given["args"]))
    assert issubclass(deployment.func_or_class, Gateway)
    assert deployment.init_args == (GatewayPart.model_validate(given["args"]["part"]),)
    (rendered_deployment,) = given["deployments"]
    assert deployment.name == rendered_deployment["name"]


def test_each_pool_gets_the_shell_of_its_stage_under_the_name_that_is_rendered() -> None:
    shells = {}
    for name, given in rendered().items():
        if name == "voxray":
            continue
        deployment = bound(pool_app.build(given["args"]))
        assert deployment.name == given["deployments"][0]["name"]
        shells[deployment.name] = deployment.func_or_class
    assert shells == {
        "Transcriber": Transcriber,
        "Transcriber-streams": StreamingTranscriber,
        "Retriever": Retriever,
        "LanguageModel": LanguageModel,
        "Synthesizer": Synthesizer,
        "Synthesizer-night": Synthesizer,
    }


def test_replica_opens_the_engine_of_its_own_pool_after_its_journey_to_another_process() -> None:
    given = rendered()["synthesizer-night"]["args"]
    (opener,) = bound(pool_app.build(given)).init_args
    arrived = pickle.loads(pickle.dumps(opener))
    assert arrived._part == PoolPart.model_validate(given["part"])
    assert type(arrived()).__name__ == "ScriptedSynthesizer"


@pytest.mark.parametrize("build", [app.build, pool_app.build])
def test_arguments_without_a_part_or_with_unknown_keys_are_refused(build: Any) -> None:
    name = "voxray" if build is app.build else "retriever-default"
    part = rendered()[name]["args"]["part"]
    with pytest.raises(KeyError, match="part"):
        build({})
    with pytest.raises((ValidationError, ConfigError), match="colour"):
        build({"part": {**part, "colour": "blue"}})


def test_part_of_an_engine_that_there_is_not_is_refused_by_its_name() -> None:
    part = rendered()["retriever-default"]["args"]["part"]
    wrong = {**part, "settings": {**part["settings"], "engine": "oracle"}}
    with pytest.raises(LookupError, match="oracle"):
        pool_app.build({"part": wrong})
