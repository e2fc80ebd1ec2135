"""The recogniser's architecture: a small cache-aware FastConformer with CTC, like NeMo's streaming checkpoints.

Convolutions and subsampling are causal, layer norm is used, and features are not normalised over the utterance. So
nothing looks further ahead than the attention, which sees its own chunk and the 70 frames (5.6 s) before it. One set of
weights serves four chunk lengths, one of which is drawn for each training batch.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece

from pipelines.audio.pcm import PCM_16K

# Mean and deviation of log-mel features of speech with surrounding silence, at the levels of the corpus.
_LOG_MEL_MEAN, _LOG_MEL_DEVIATION = -9.6, 6.0
LEFT_CONTEXT_FRAMES = 70
FRAME_MS = 80
# Look-ahead in frames, and how often training draws it. The first one is the model's default.
LOOK_AHEADS = {1: 0.45, 0: 0.2, 6: 0.2, 13: 0.15}


@dataclass(frozen=True, slots=True)
class ModelSize:
    """Width and depth of the model.

    Attributes:
        width: width of the encoder, a multiple of `heads`.
        pieces: number of word pieces in the output alphabet, without the CTC blank.
    """

    width: int = 144
    layers: int = 8
    heads: int = 4
    pieces: int = 256
    subsampling_channels: int = 96


def chunk_ms(look_ahead: int) -> int:
    """Return the length of a chunk in ms: its first frame and the frames that it may look ahead."""
    return (look_ahead + 1) * FRAME_MS


def train_pieces(texts: Iterable[str], folder: Path, pieces: int) -> None:
    """Learn word pieces from texts in spoken form, and write the three files that NeMo's tokenizer reads.

    Raises:
        RuntimeError: there are too few texts for that many pieces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # We write the file ourselves, because sentencepiece would store its path in the model, which is published.
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=model, vocab_size=pieces, model_type="bpe",
        character_coverage=1.0, bos_id=-1, eos_id=-1, unk_id=0, split_by_whitespace=True, minloglevel=2,
    )  # fmt: skip
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    scores = [(processor.id_to_piece(index), processor.get_score(index)) for index in range(processor.get_piece_size())]
    (folder / "tokenizer.vocab").write_text("".join(f"{piece}\t{score:g}\n" for piece, score in scores), "utf-8")
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece, _ in scores[1:]), "utf-8")
    (folder / "tokenizer.model").write_bytes(model.getvalue())


def model_config(size: ModelSize, tokenizer: Path) -> dict[str, Any]:
    """Return the configuration of an `EncDecCTCModelBPE`."""
    return {
        "sample_rate": PCM_16K.rate_hz,
        "log_prediction": False,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": PCM_16K.rate_hz,
            "normalize": "NA", "window_size": 0.025, "window_stride": 0.01, "window": "hann",
            "features": 80, "n_fft": 512, "log": True, "frame_splicing": 1, "dither": 0.0, "pad_to": 0,
        },
        "encoder": {
            "_target_": "nemo.collections.asr.modules.ConformerEncoder",
            "feat_in": 80, "feat_out": -1, "n_layers": size.layers, "d_model": size.width, "use_bias": True,
            "subsampling": "dw_striding", "subsampling_factor": 8,
            "subsampling_conv_channels": size.subsampling_channels, "causal_downsampling": True,
            "ff_expansion_factor": 4, "self_attention_model": "rel_pos", "n_heads": size.heads,
            "att_context_size": [[LEFT_CONTEXT_FRAMES, ahead] for ahead in LOOK_AHEADS],
            "att_context_probs": list(LOOK_AHEADS.values()), "att_context_style": "chunked_limited",
            "xscaling": True, "untie_biases": True, "pos_emb_max_len": 5000, "conv_kernel_size": 9,
            "conv_norm_type": "layer_norm", "conv_context_size": "causal", "dropout": 0.0, "dropout_pre_encoder": 0.0,
            "dropout_emb": 0.0, "dropout_att": 0.0,
        },
        # Training masks stripes of frequency and time (SpecAugment, Park et al., 2019) with the average of silence and
        # speech.
        "spec_augment": {
            "_target_": "nemo.collections.asr.modules.SpectrogramAugmentation",
            "freq_masks": 2, "freq_width": 12, "time_masks": 2, "time_width": 0.04, "mask_value": _LOG_MEL_MEAN,
        },
        "decoder": {
            "_target_": "nemo.collections.asr.modules.ConvASRDecoder",
            "feat_in": None, "num_classes": -1, "vocabulary": [],
        },
        "interctc": {"loss_weights": [], "apply_at_layers": []},
        "optim": {"name": "adamw", "lr": 1e-3},
    }  # fmt: skip


def build_model(size: ModelSize, tokenizer: Path) -> Any:
    """Return an untrained `EncDecCTCModelBPE` on the CPU. NeMo's import takes 20 s."""
    from nemo.collections.asr.models import EncDecCTCModelBPE
    from nemo.core.classes.common import typecheck
    from omegaconf import OmegaConf

    # NeMo would otherwise check tensor types at every call, which costs a tenth of a small model's step.
    typecheck.set_typecheck_enabled(False)

    config = OmegaConf.create(model_config(size, tokenizer))
    config.decoder.feat_in = size.width
    model = EncDecCTCModelBPE(cfg=config)
    # The encoder would otherwise communicate with the other processes in every pass, even in an evaluation by only one.
    model.encoder.sync_max_audio_length = False
    _expect_log_mels(model.encoder.pre_encode.conv[0])
    return model


def _expect_log_mels(first: Any) -> None:
    """Initialise the first convolution for normalised input, by folding w (x - mean) / deviation + b into it."""
    import torch

    with torch.no_grad():
        first.weight /= _LOG_MEL_DEVIATION
        first.bias -= _LOG_MEL_MEAN * first.weight.sum(dim=(1, 2, 3))
