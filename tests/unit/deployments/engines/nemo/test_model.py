"""A NeMo model cut into chunks: sizes, features that equal those of one pass, and models that cannot stream.

The network here has no weights: its features say where in the audio they were taken, and its encoder gives out what it
is given.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from deployments.engines.nemo.memory import EncoderPast, KeptKeyAttention  # noqa: E402
from deployments.engines.nemo.model import ChunkGeometry, StreamingModel, load_model, quiet  # noqa: E402
from pipelines.errors import EngineError  # noqa: E402

pytestmark = pytest.mark.unit
HOP, REACH, KEPT, MELS = 160, 200, 9, 3
CHUNKS_MS = (80, 160, 560, 1120)


class Featurizer:
    """Gives each feature frame the sample at its centre; one whose window leaves the audio is off by a fraction."""

    normalize = "NA"
    exact_pad = False
    frame_splicing = 1
    sample_rate = 16_000
    hop_length = HOP
    win_length = 2 * REACH
    nfilt = MELS
    dither = 1e-5
    pad_to = 16

    def __init__(self) -> None:
        self.precision = "16 bits"
        self.heard: list[Any] = []

    def float(self) -> Featurizer:
        self.precision = "32 bits"
        return self

    def eval(self) -> Featurizer:
        return self

    def to(self, _device: Any) -> Featurizer:
        return self

    def __call__(self, samples: Any, lengths: Any) -> tuple[Any, Any]:
        assert self.precision == "32 bits"
        self.heard.append(lengths.tolist())
        size = samples.shape[1]
        centres = torch.arange(0, size + 1, HOP)
        taken = samples[:, centres.clamp(max=size - 1)]
        taken = taken + 0.25 * (centres < REACH) + 0.5 * (centres + REACH > size)
        return taken[:, None].expand(-1, MELS, -1), None


class Encoder:
    """A cache-aware encoder of 80 ms frames, as NeMo describes one."""

    def __init__(self, **changes: Any) -> None:
        self.att_context_style = "chunked_limited"
        self.conv_context_size = [8, 0]
        self.self_attention_model = "rel_pos"
        self.subsampling_factor = 8
        self.att_context_size_all = [[70, chunk_ms // 80 - 1] for chunk_ms in CHUNKS_MS]
        self.streaming_cfg = SimpleNamespace(
            pre_encode_cache_size=[0, KEPT], drop_extra_pre_encoded=2, last_channel_cache_size=70
        )
        self.layers: tuple[Any, ...] = ()
        self.d_model = 4
        self.context: list[int] = []
        self.steps: list[dict[str, Any]] = []
        for name, value in changes.items():
            setattr(self, name, value)

    def set_default_att_context_size(self, context: list[int]) -> None:
        self.context = context

    def get_initial_cache_state(self, batch_size: int, dtype: Any, device: Any) -> tuple[Any, Any, Any]:
        return None, torch.zeros((len(self.layers), batch_size, 4, 8), dtype=dtype, device=device), None

    def cache_aware_stream_step(self, **given: Any) -> tuple[Any, ...]:
        self.steps.append(given)
        return given["processed_signal"], None, "keys", "convolutions", None


class Network:
    def __init__(self, *, featurizer: dict[str, Any] | None = None, encoder: dict[str, Any] | None = None) -> None:
        taken = Featurizer()
        for name, value in (featurizer or {}).items():
            setattr(taken, name, value)
        self.preprocessor: Any = SimpleNamespace(featurizer=taken)
        self.encoder = Encoder(**(encoder or {}))
        self.placed: list[Any] = []

    def to(self, device: Any, dtype: Any) -> None:
        self.placed += [str(device), dtype]

    def eval(self) -> None:
        self.placed.append("evaluates")


def streaming(network: Network | None = None, chunk_ms: int = 160, dtype: Any = torch.float32) -> StreamingModel:
    return StreamingModel(network or Network(), chunk_ms=chunk_ms, device="cpu", dtype=dtype)


def attending() -> Any:
    """Return a layer of the encoder."""
    return SimpleNamespace(
        self_attn=SimpleNamespace(**{f"linear_{name}": torch.nn.Linear(4, 4) for name in ("q", "k", "v")})
    )


def geometry(chunk_ms: int) -> ChunkGeometry:
    return streaming(chunk_ms=chunk_ms).geometry


@pytest.mark.parametrize(("chunk_ms", "outputs", "first"), [(80, 1, 2), (160, 2, 2), (560, 7, 7), (1120, 14, 14)])
def test_chunk_has_the_outputs_of_its_time_and_the_first_one_enough_to_look_back_on(
    chunk_ms: int, outputs: int, first: int
) -> None:
    network = Network()
    sizes = streaming(network, chunk_ms).geometry
    assert network.encoder.context == [70, outputs - 1]
    assert (sizes.frame_ms, sizes.chunk_outputs, sizes.first_outputs) == (80, outputs, first)
    assert sizes.chunk_samples == chunk_ms * 16
    assert sizes.frames_for(1, is_first=True) >= sizes.kept_frames


@pytest.mark.parametrize("chunk_ms", CHUNKS_MS)
@pytest.mark.parametrize("is_first", [True, False])
def test_chunks_for_samples_are_the_fewest_that_hear_them_all(chunk_ms: int, is_first: bool) -> None:
    sizes = geometry(chunk_ms)
    for samples in (1, 159, 160, 2560, 2561, 40_000, 40_001):
        chunks = sizes.chunks_for(samples, is_first=is_first)
        assert sizes.samples_for(chunks, is_first=is_first) >= samples
        assert chunks == 1 or sizes.samples_for(chunks - 1, is_first=is_first) < samples
    assert sizes.chunks_for(0, is_first=is_first) == 1


def stream(model: StreamingModel, audio: Any, steps: list[int]) -> list[Any]:
    """Hear the audio in steps of so many chunks; return the new feature frames of each step."""
    sizes, position, features, new = model.geometry, 0, None, []
    for number, chunks in enumerate(steps):
        is_first = number == 0
        start = 0 if is_first else position - sizes.kept_samples
        position += sizes.samples_for(chunks, is_first=is_first)
        past = EncoderPast(None, None, None, features)
        encoded, after = model.encode(audio[:, start:position], past, is_first=is_first)
        new.append(encoded if is_first else encoded[:, :, sizes.kept_frames :])
        assert new[-1].shape[2] == sizes.frames_for(chunks, is_first=is_first)
        assert torch.equal(after.features, torch.cat([features, *new[-1:]], 2)[:, :, -KEPT:] if number else
                           encoded[:, :, -KEPT:])  # fmt: skip
        features = after.features
    return new


@pytest.mark.parametrize("chunk_ms", CHUNKS_MS)
@pytest.mark.parametrize("steps", [[1, 1, 1, 1], [2, 1, 3], [1, 4]])
def test_features_of_a_stream_are_those_of_one_pass_over_all_audio(chunk_ms: int, steps: list[int]) -> None:
    model = streaming(chunk_ms=chunk_ms)
    ramp = torch.arange(16_000 * 8, dtype=torch.float32)
    audio = torch.stack([ramp, -ramp])
    heard = torch.cat(stream(model, audio, steps), dim=2)
    whole, _ = Featurizer().float()(audio, torch.tensor([audio.shape[1]] * 2))
    assert torch.equal(heard, whole[:, :, : heard.shape[2]])


def test_step_after_the_first_sees_kept_frames_whose_outputs_are_dropped() -> None:
    network = Network()
    model = streaming(network)
    stream(model, torch.zeros((1, 16_000)), [1, 1])
    first, second = network.encoder.steps
    assert (first["drop_extra_pre_encoded"], second["drop_extra_pre_encoded"]) == (0, 2)
    assert second["processed_signal"].shape[2] == KEPT + 16
    assert second["processed_signal_length"].tolist() == [KEPT + 16]
    assert first["keep_all_outputs"]
    assert second["keep_all_outputs"]


def test_past_goes_to_the_encoder_and_what_it_gives_back_is_remembered() -> None:
    network = Network()
    model = streaming(network)
    samples = torch.zeros((1, model.geometry.kept_samples + model.geometry.chunk_samples))
    past = EncoderPast("old keys", "old convolutions", "length", torch.zeros((1, MELS, KEPT)))
    _, after = model.encode(samples, past, is_first=False)
    (step,) = network.encoder.steps
    assert step["cache_last_channel"] == "old keys"
    assert step["cache_last_time"] == "old convolutions"
    assert step["cache_last_channel_len"] == "length"
    assert (after.channel, after.time) == ("keys", "convolutions")


def test_features_keep_their_precision_whatever_the_network_has() -> None:
    network = Network()
    model = streaming(network, dtype=torch.bfloat16)
    samples = torch.full((1, model.geometry.first_samples), 0.1)
    _, after = model.encode(samples, EncoderPast(None, None, None, None), is_first=True)
    assert network.encoder.steps[0]["processed_signal"].dtype == torch.bfloat16
    assert after.features.dtype == torch.float32
    assert network.placed == ["cpu", torch.bfloat16, "evaluates"]


def test_features_are_the_same_each_time_and_of_their_own_length() -> None:
    network = Network()
    featurizer = network.preprocessor.featurizer
    streaming(network)
    assert (featurizer.dither, featurizer.pad_to) == (0.0, 0)
    assert network.preprocessor is None  # what remains would be cast to the network's type


def test_memory_has_room_for_the_kept_frames_of_every_slot() -> None:
    past = streaming(Network(encoder={"layers": (attending(),)})).memory(3).take([0, 2], 2)
    assert past.features.shape == (2, MELS, KEPT)
    assert past.channel.shape == (1, 2, 70 + 2, 2 * 4)


def test_every_layer_keeps_the_keys_of_what_it_has_heard() -> None:
    layers = (attending(), attending())
    streaming(Network(encoder={"layers": layers}))
    assert all(isinstance(layer.self_attn, KeptKeyAttention) for layer in layers)


@pytest.mark.parametrize(
    ("featurizer", "reason"),
    [
        ({"normalize": "per_feature"}, "depend on the whole utterance"),
        ({"exact_pad": True}, "depend on the whole utterance"),
        ({"frame_splicing": 3}, "depend on the whole utterance"),
        ({"sample_rate": 8000}, "hears 8000 Hz, not 16000"),
    ],
)
def test_model_whose_features_cannot_be_cut_is_refused(featurizer: dict[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=reason) as caught:
        streaming(Network(featurizer=featurizer))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("encoder", "reason"),
    [
        ({"att_context_style": "regular"}, "not cache-aware"),
        ({"conv_context_size": [4, 4]}, "not cache-aware"),
        ({"self_attention_model": "abs_pos"}, "attention 'abs_pos' is not supported"),
    ],
)
def test_model_that_is_not_made_for_streams_is_refused(encoder: dict[str, Any], reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        streaming(Network(encoder=encoder))


def test_chunk_that_the_model_was_not_trained_for_is_refused_with_those_it_was() -> None:
    with pytest.raises(EngineError, match=r"chunk_ms 240 is not one of those .*: 80, 160, 560, 1120"):
        streaming(chunk_ms=240)


class Nemo:
    """Stands in the place of NeMo's modules, whose import takes half a minute; keeps how it is used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.used: list[Any] = []
        models, common = ModuleType("nemo.collections.asr.models"), ModuleType("nemo.core.classes.common")
        models.ASRModel = SimpleNamespace(restore_from=self._restore)  # type: ignore[attr-defined]
        common.typecheck = SimpleNamespace(set_typecheck_enabled=self._note)  # type: ignore[attr-defined]
        for module in (models, common):
            monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(torch, "set_num_threads", lambda number: self.used.append(("threads", number)))

    def _restore(self, path: str, map_location: Any) -> Network:
        logging.getLogger("nemo").warning("a page of settings")
        self.used.append((Path(path).name, str(map_location)))
        return Network()

    def _note(self, enabled: bool) -> None:
        self.used.append(("types are checked", enabled))


def load(path: Path, **changes: Any) -> StreamingModel:
    return load_model(path, **{"chunk_ms": 160, "device": "cpu", "dtype": "auto", "threads": 3, **changes})


def test_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no model at .*gone\.nemo"):
        load(tmp_path / "gone.nemo")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({}, torch.float32),
        ({"dtype": "bfloat16"}, torch.bfloat16),
        ({"device": "auto", "dtype": "float32"}, torch.float32),
    ],
)
def test_model_is_loaded_for_its_device_with_the_threads_that_were_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: Any, chosen: Any
) -> None:
    nemo = Nemo(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "m.nemo").touch()
    model = load(tmp_path / "m.nemo", **asked)
    assert nemo.used == [("threads", 3), ("m.nemo", "cpu"), ("types are checked", False)]
    assert (model.dtype, str(model.device), model.geometry.chunk_outputs) == (chosen, "cpu", 2)
    assert caplog.text == ""


def test_log_is_loud_again_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        with quiet():
            logging.getLogger("x").warning("settings")
            raise ValueError("broke")

    with pytest.raises(ValueError, match="broke"):
        fail()
    logging.getLogger("x").warning("news")
    assert [record.message for record in caplog.records] == ["news"]
