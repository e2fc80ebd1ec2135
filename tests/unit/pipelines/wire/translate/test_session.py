import json
from dataclasses import replace

import pytest

from pipelines.errors import PeerError
from pipelines.session.items import ItemKind, Role
from pipelines.session.settings import Eagerness, Modality, SessionSettings, TurnDetection, TurnDetectionKind
from pipelines.session.stimuli import ItemCreateRequested, ResponseCreateRequested, SettingsChanged
from pipelines.wire.translate import AudioBytes, WireTranslator
from tests.unit.pipelines.wire.scenarios import audio_turn
from tests.unit.pipelines.wire.wire_pair import WirePair

pytestmark = pytest.mark.unit


def translator(defaults: SessionSettings | None = None, **options: bool) -> WireTranslator:
    return WireTranslator(
        "sess_7",
        model="voxray",
        defaults=defaults or SessionSettings(),
        expires_at_s=1,
        transcription_model="asr",
        **options,
    )


def updated(session: dict, wire: WireTranslator | None = None) -> SessionSettings:
    stimulus = (wire or translator()).inbound(
        json.dumps({"type": "session.update", "event_id": "u", "session": session})
    )
    assert isinstance(stimulus, SettingsChanged)
    assert stimulus.event_id == "u"
    return stimulus.settings


def detection(turn_detection: dict, defaults: SessionSettings | None = None) -> TurnDetection:
    found = updated({"audio": {"input": {"turn_detection": turn_detection}}}, translator(defaults)).turn_detection
    assert found is not None
    return found


def echo(pair: WirePair, session: dict) -> dict:
    return pair.client("session.update", session=session)[0]["session"]


def test_unconfigured_session_has_the_servers_settings() -> None:
    defaults = SessionSettings(instructions="be kind", voice="joe", max_output_tokens=64)
    assert translator(defaults).settings() == defaults


@pytest.mark.parametrize(
    ("eagerness", "max_silence_ms"), [("low", 8000), ("medium", 4000), ("high", 2000), ("auto", 1234)]
)
def test_eagerness_sets_the_longest_silence(eagerness: str, max_silence_ms: int) -> None:
    defaults = SessionSettings(turn_detection=TurnDetection(max_silence_ms=1234))
    found = detection({"type": "semantic_vad", "eagerness": eagerness}, defaults)
    assert (found.eagerness, found.max_silence_ms) == (Eagerness(eagerness), max_silence_ms)


def test_server_vad_takes_all_its_knobs() -> None:
    knobs = {
        "threshold": 0.7, "prefix_padding_ms": 100, "silence_duration_ms": 700, "create_response": False,
        "interrupt_response": False, "idle_timeout_ms": 6000,
    }  # fmt: skip
    assert detection({"type": "server_vad", **knobs}) == replace(
        TurnDetection(), kind=TurnDetectionKind.SERVER_VAD, **knobs
    )


def test_knobs_left_out_have_the_servers_defaults_in_settings_and_echo() -> None:
    pair = WirePair(SessionSettings(turn_detection=TurnDetection(silence_duration_ms=432)))
    shown = echo(pair, {"audio": {"input": {"turn_detection": {"type": "server_vad", "threshold": 0.9}}}})
    assert shown["audio"]["input"]["turn_detection"] == {
        "type": "server_vad", "threshold": 0.9, "prefix_padding_ms": 300, "silence_duration_ms": 432,
        "idle_timeout_ms": None, "create_response": True, "interrupt_response": True,
    }  # fmt: skip
    assert pair.session.state.settings.turn_detection.silence_duration_ms == 432


def test_null_turn_detection_means_manual_turns() -> None:
    assert updated({"audio": {"input": {"turn_detection": None}}}).turn_detection is None


def test_update_changes_what_it_names_and_nothing_else() -> None:
    wire = translator()
    updated({"instructions": "be brief", "audio": {"output": {"voice": "alloy", "speed": 1.25}}}, wire)
    settings = updated({"output_modalities": ["text"], "max_output_tokens": 99, "instructions": None}, wire)
    assert (settings.instructions, settings.voice, settings.speed) == ("be brief", "alloy", 1.25)
    assert (settings.modality, settings.max_output_tokens) == (Modality.TEXT, 99)
    assert settings.turn_detection == TurnDetection()


def test_unlimited_tokens_leave_the_bound_to_the_agent() -> None:
    assert (
        updated({"max_output_tokens": "inf"}, translator(SessionSettings(max_output_tokens=5))).max_output_tokens
        is None
    )


def test_voice_may_be_an_object_with_an_id() -> None:
    assert updated({"audio": {"output": {"voice": {"id": "voice_1"}}}}).voice == "voice_1"


def test_tools_are_echoed_whole() -> None:
    tool = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    shown = echo(WirePair(), {"tools": [tool], "tool_choice": {"type": "function", "name": "f"}})
    assert (shown["tools"], shown["tool_choice"]) == ([tool], {"type": "function", "name": "f"})


def test_model_is_the_servers_whatever_the_client_sends() -> None:
    assert echo(WirePair(), {"model": "gpt-realtime"})["model"] == "voxray"


def test_voice_cannot_change_once_audio_was_sent() -> None:
    pair = audio_turn()
    before = pair.session.state.settings
    (event,) = pair.client("session.update", event_id="v", session={"audio": {"output": {"voice": "alloy"}}})
    assert (event["error"]["code"], event["error"]["event_id"]) == ("cannot_update_voice", "v")
    assert event["error"]["param"] == "session.audio.output.voice"
    assert pair.session.state.settings == before
    (event,) = pair.client("response.create", response={"audio": {"output": {"voice": "alloy"}}})
    assert event["error"]["code"] == "cannot_update_voice"
    assert (
        pair.client("session.update", session={"audio": {"output": {"voice": "default"}}})[0]["type"]
        == "session.updated"
    )


def test_voice_can_change_before_audio_was_sent() -> None:
    assert updated({"audio": {"output": {"voice": "alloy"}}}).voice == "alloy"


def test_transcription_session_detects_turns_but_never_answers() -> None:
    wire = translator(is_transcription=True)
    settings = wire.settings()
    assert settings.turn_detection is not None
    assert not settings.turn_detection.create_response
    session = json.loads(wire.open()[0])["session"]
    assert (session["type"], session["object"]) == ("transcription", "realtime.transcription_session")
    assert updated({"type": "realtime"}, wire).turn_detection.create_response


def test_transcripts_are_not_sent_to_a_client_that_turned_them_off() -> None:
    pair = WirePair()
    pair.client("session.update", session={"audio": {"input": {"transcription": None}}})
    pair.be_silent(320)
    pair.speak()
    pair.be_silent(320)
    pair.transcribe("what is the return window")
    assert not [name for name in pair.types() if "transcription" in name]


def test_input_format_applies_to_the_next_append() -> None:
    wire = translator()
    updated({"audio": {"input": {"format": {"type": "audio/pcmu"}}}}, wire)
    meant = wire.inbound('{"type":"input_audio_buffer.append","audio":"/////w=="}')
    assert isinstance(meant, AudioBytes)
    assert len(meant.pcm_16k) == 4 * 2 * 2


def test_response_options_reach_the_core() -> None:
    content = [{"type": "input_text", "text": "one"}, {"type": "input_text", "text": "two"}]
    response = {
        "conversation": "none", "instructions": "i", "output_modalities": ["text"], "max_output_tokens": 7,
        "metadata": {"k": "v"}, "input": [{"type": "message", "role": "user", "content": content}],
        "audio": {"output": {"voice": "alloy", "format": {"type": "audio/pcm", "rate": 24000}}},
    }  # fmt: skip
    request = translator().inbound(json.dumps({"type": "response.create", "event_id": "r", "response": response}))
    assert isinstance(request, ResponseCreateRequested)
    assert (request.is_out_of_band, request.instructions, request.modality) == (True, "i", Modality.TEXT)
    assert (request.max_output_tokens, request.metadata, request.voice) == (7, (("k", "v"),), "alloy")
    assert [item.text for item in request.input_items or ()] == ["one\ntwo"]
    assert request.event_id == "r"


@pytest.mark.parametrize(("response", "param"), [
    ({"conversation": "conv_other"}, "response.conversation"),
    ({"audio": {"output": {"format": {"type": "audio/pcmu"}}}}, "response.audio.output.format"),
])  # fmt: skip
def test_response_options_that_cannot_be_had_are_refused(response: dict, param: str) -> None:
    with pytest.raises(PeerError) as caught:
        translator().inbound(json.dumps({"type": "response.create", "event_id": "r", "response": response}))
    assert (caught.value.code, caught.value.param, caught.value.event_id) == ("invalid_value", param, "r")


@pytest.mark.parametrize(("item", "kind", "role", "text", "is_audio"), [
    ({"type": "message", "role": "assistant", "content": [{"type": "output_audio", "transcript": "a"}]},
     ItemKind.MESSAGE, Role.ASSISTANT, "a", True),
    ({"type": "message", "role": "user", "content": [{"type": "input_audio", "transcript": "b"}]},
     ItemKind.MESSAGE, Role.USER, "b", True),
    ({"type": "message", "role": "system", "content": [{"type": "input_text", "text": "c"}]},
     ItemKind.MESSAGE, Role.SYSTEM, "c", False),
    ({"type": "function_call", "name": "f", "arguments": "{}"}, ItemKind.FUNCTION_CALL, Role.SYSTEM, "{}", False),
    ({"type": "function_call_output", "call_id": "x", "output": "1"}, ItemKind.FUNCTION_CALL_OUTPUT, Role.SYSTEM, "1",
     False),
])  # fmt: skip
def test_item_is_taken_in(item: dict, kind: ItemKind, role: Role, text: str, is_audio: bool) -> None:
    request = translator().inbound(json.dumps({"type": "conversation.item.create", "item": item}))
    assert isinstance(request, ItemCreateRequested)
    taken = request.item
    assert (taken.id, taken.kind, taken.role, taken.text, taken.is_audio) == ("", kind, role, text, is_audio)
