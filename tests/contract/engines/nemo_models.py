"""Small cache-aware FastConformers with random weights, as `.nemo` files: shaped as the real ones, made in seconds."""

from __future__ import annotations

import io
from functools import cached_property
from pathlib import Path
from typing import Any

_SENTENCES = [
    "where is my order one zero four two",
    "how long does shipping of the cedar chair take",
    "i want to return the lamp that i bought in june",
    "yes please tell me about the warranty",
    "what are your opening hours on sunday",
    "the number is seven three nine eight six five",
]
ATT_CONTEXTS = [[70, 0], [70, 1], [70, 6], [70, 13]]


def build_tokenizer(folder: Path, pieces: int = 64) -> Path:
    """Train byte-pair pieces on a few sentences; returns the folder that NeMo takes."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_SENTENCES * 20), model_writer=model, vocab_size=pieces, model_type="bpe",
        bos_id=-1, eos_id=-1, minloglevel=2,
    )  # fmt: skip
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    names = [processor.id_to_piece(index) for index in range(processor.get_piece_size())]
    (folder / "vocab.txt").write_text("\n".join(names), encoding="utf-8")
    return folder


def _encoder(width: int, layers: int, feature_count: int) -> dict[str, Any]:
    return {
        "_target_": "nemo.collections.asr.modules.ConformerEncoder",
        "feat_in": feature_count, "feat_out": -1, "n_layers": layers, "d_model": width,
        "subsampling": "dw_striding", "subsampling_factor": 8, "subsampling_conv_channels": width,
        "causal_downsampling": True, "ff_expansion_factor": 4, "self_attention_model": "rel_pos", "n_heads": 4,
        "att_context_size": ATT_CONTEXTS, "att_context_style": "chunked_limited", "xscaling": False,
        "untie_biases": True, "pos_emb_max_len": 5000, "conv_kernel_size": 9, "conv_norm_type": "layer_norm",
        "conv_context_size": "causal", "dropout": 0.0, "dropout_pre_encoder": 0.0, "dropout_emb": 0.0,
        "dropout_att": 0.0,
    }  # fmt: skip


def _common(tokenizer: Path, width: int, layers: int) -> dict[str, Any]:
    return {
        "sample_rate": 16000,
        "tokenizer": {"dir": str(tokenizer), "type": "bpe"},
        "preprocessor": {
            "_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor",
            "sample_rate": 16000, "normalize": "NA", "window_size": 0.025, "window_stride": 0.01, "window": "hann",
            "features": 80, "n_fft": 512, "frame_splicing": 1, "dither": 1e-5, "pad_to": 0,
        },
        "encoder": _encoder(width, layers, 80),
        "optim": {"name": "adamw", "lr": 1e-3},
    }  # fmt: skip


def ctc_config(tokenizer: Path, *, width: int, layers: int) -> dict[str, Any]:
    decoder = {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "feat_in": width, "num_classes": -1,
               "vocabulary": []}  # fmt: skip
    return {**_common(tokenizer, width, layers), "decoder": decoder, "decoding": {"strategy": "greedy_batch"}}


def hybrid_config(tokenizer: Path, *, width: int, layers: int) -> dict[str, Any]:
    return {
        **_common(tokenizer, width, layers),
        "model_defaults": {"enc_hidden": width, "pred_hidden": width, "joint_hidden": width},
        "decoder": {
            "_target_": "nemo.collections.asr.modules.RNNTDecoder", "normalization_mode": None,
            "random_state_sampling": False, "blank_as_pad": True,
            "prednet": {"pred_hidden": width, "pred_rnn_layers": 1, "t_max": None, "dropout": 0.0},
        },
        "joint": {
            "_target_": "nemo.collections.asr.modules.RNNTJoint", "log_softmax": None,
            "preserve_memory": False, "fuse_loss_wer": False,
            "jointnet": {"joint_hidden": width, "activation": "relu", "dropout": 0.0},
        },
        "decoding": {"strategy": "greedy_batch", "greedy": {"max_symbols": 10}},
        "loss": {"loss_name": "default"},
        "aux_ctc": {
            "ctc_loss_weight": 0.3, "use_cer": False, "ctc_reduction": "mean_batch",
            "decoder": {"_target_": "nemo.collections.asr.modules.ConvASRDecoder", "feat_in": width,
                        "num_classes": -1, "vocabulary": []},
            "decoding": {"strategy": "greedy_batch"},
        },
    }  # fmt: skip


def save_model(path: Path, config: dict[str, Any], *, seed: int = 1) -> Path:
    """Write a model with random weights. It speaks gibberish that follows the sound, the same for the same seed."""
    import torch
    from nemo.collections.asr.models import (
        EncDecCTCModelBPE,
        EncDecHybridRNNTCTCBPEModel,
    )
    from omegaconf import OmegaConf

    torch.manual_seed(seed)
    kind = EncDecHybridRNNTCTCBPEModel if "joint" in config else EncDecCTCModelBPE
    model = kind(cfg=OmegaConf.create(config)).eval()
    with torch.no_grad():
        _loosen(model)
    model.save_to(str(path))
    return path


def _loosen(model: Any) -> None:
    """Centre and spread the logits, which at birth are much the same for every sound."""
    import torch

    samples = torch.randn(1, 96_000) * torch.linspace(0, 40, 96_000).sin().abs() * 0.1
    features, length = model.preprocessor(input_signal=samples, length=torch.tensor([96_000]))
    frames = model.encoder(audio_signal=features, length=length)[0][0].T
    head = getattr(model, "ctc_decoder", None) or model.decoder
    (convolution,) = head.decoder_layers
    _spread(convolution, frames)
    if hasattr(model, "joint"):
        said, _ = model.decoder.predict(None, None, add_sos=False, batch_size=1)
        _spread(model.joint.joint_net[-1], torch.relu(model.joint.enc(frames) + model.joint.pred(said[0])))


def _spread(layer: Any, inputs: Any) -> None:
    weight = layer.weight.view(layer.weight.shape[0], -1)
    weight *= 3.0 / ((inputs - inputs.mean(dim=0)) @ weight.T).std()
    layer.bias.copy_(-(weight @ inputs.mean(dim=0)))
    layer.bias[-1] += 4.0  # the blank, so that there is silence between words


class NemoModels:
    """Makes each model when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def tokenizer(self) -> Path:
        return build_tokenizer(self._folder / "tokenizer")

    @cached_property
    def ctc(self) -> Path:
        return save_model(self._folder / "ctc.nemo", ctc_config(self.tokenizer, width=32, layers=2))

    @cached_property
    def hybrid(self) -> Path:
        return save_model(self._folder / "hybrid.nemo", hybrid_config(self.tokenizer, width=32, layers=2))
