"""The training loop: AdamW with warm-up and cosine decay over a time budget, averaged weights, checkpoints and a log.

Everything depends on the spent share of the time budget, so a run on a busy machine ends with the same small learning
rate as one on an idle machine. `last.ckpt` holds everything needed to resume; `log.jsonl` has a line for every
evaluation.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from ingest_jobs.speech.corpus.augment import Distortion
from ingest_jobs.speech.training.batches import Batch, DistortedBatches, collate, load, read_recordings
from ingest_jobs.speech.training.model import LEFT_CONTEXT_FRAMES, LOOK_AHEADS, ModelSize, build_model, train_pieces
from ingest_jobs.speech.training.peers import Peers

_EVALUATION_BATCH = 15
_FINAL_RATE_SHARE = 0.02
_CLIP_NORM = 1.0
# Number of steps of each process before all take the mean.
_STEPS_ALONE = 10
# Training starts with one clear voice, or a CTC model may emit only blanks for hours. That lasts until the first share
# of the budget; from there to the second share, distortions rise to `_STRENGTH`. A pretrained model skips this.
_EASY_UNTIL, _FULL_FROM = 0.12, 0.5
_STRENGTH = 0.6


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How to train.

    Attributes:
        minutes: budget of wall time including evaluations, counted over all resumed parts.
        evaluate_every_s: interval of evaluations and of checkpoints.
        averaging: decay of the moving average of the weights, per step.
        max_steps: number of steps after which training ends early; 0 for no limit.
        processes: number of processes with one thread each, since one of two threads would spin while the other waits
            for a busy core.
        is_bfloat16: whether matrix products use bfloat16, which pays off if the processor has instructions for it.
    """

    minutes: float = 90
    peak_rate: float = 1e-3
    warm_up_steps: int = 250
    batch_seconds: float = 20
    weight_decay: float = 1e-3
    averaging: float = 0.999
    evaluate_every_s: float = 480
    seed: int = 7
    max_steps: int = 0
    is_bfloat16: bool = False
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A line of the log. WER of the averaged weights at 160 ms chunks, in percent."""

    step: int
    minutes: float
    audio_hours: float
    loss: float
    rate: float
    wer_clean: float
    wer_distorted: float


def learning_rate(plan: TrainingPlan, step: int, spent: float) -> float:
    """Return the learning rate at a step (from 0) with a share `spent` of the budget used."""
    warm = min(1.0, (step + 1) / plan.warm_up_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, spent)))
    return plan.peak_rate * warm * (_FINAL_RATE_SHARE + (1 - _FINAL_RATE_SHARE) * cosine)


def difficulty_at(spent: float, *, hears_already: bool = False) -> tuple[float, float]:
    """Return 1.0 for easy speech only, and the share of distorted utterances, at a share of the budget."""
    if hears_already:
        return 0.0, _STRENGTH
    if spent < _EASY_UNTIL:
        return 1.0, 0.0
    return 0.0, _STRENGTH * min(1.0, (spent - _EASY_UNTIL) / (_FULL_FROM - _EASY_UNTIL))


class Trainer:
    """Trains one model in its own folder, with tokenizer/, last.ckpt and log.jsonl.

    Args:
        corpora: folders with train.jsonl, of which the first supplies dev.jsonl.
        folder: folder of the training, created if missing. With `resume`, its last.ckpt is continued.
        weights: initial weights from `first_words.learn_first_words`, or `hearing_weights` of an earlier training.
    """

    def __init__(
        self,
        corpora: Sequence[Path],
        folder: Path,
        plan: TrainingPlan,
        size: ModelSize,
        *,
        resume: bool,
        peers: Peers | None = None,
        weights: dict[str, Any] | None = None,
    ) -> None:
        self._manifests = [corpus / "train.jsonl" for corpus in corpora]
        self._folder, self._plan, self._size = folder, plan, size
        self._peers = peers or Peers()
        torch.set_num_threads(1)
        torch.manual_seed(plan.seed)
        tokenizer = folder / "tokenizer"
        if not (tokenizer / "tokenizer.model").exists():
            train_pieces((each.text for each in read_recordings(*self._manifests)), tokenizer, size.pieces)
        self.model = build_model(size, tokenizer)
        if weights:
            self.model.load_state_dict(weights, strict=False)
        # The first words come without an output layer.
        self._hears_already = any(name.startswith("decoder") for name in weights or ())
        self._average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self._parameters = list(self.model.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=0.0, betas=(0.9, 0.98), weight_decay=plan.weight_decay)
        self.step, self._spent_s, self._audio_s = 0, 0.0, 0.0
        self.blanks = math.nan
        self._dev = _dev_batches(corpora[0] / "dev.jsonl", self.model.tokenizer)
        if resume:
            self._load(folder / "last.ckpt")
        # From the same start, every process draws different dropouts and recordings.
        self._seed = plan.seed + self.step + 100_003 * self._peers.rank
        torch.manual_seed(self._seed)

    def run(self, on_step: Callable[[int, float, float], None]) -> Evaluation | None:
        """Train until the budget is spent. Returns the last evaluation, in the first process only.

        Args:
            on_step: called with (step, share of the budget, smoothed loss).
        """
        difficulty = torch.tensor(self._difficulty(self._share_spent()), dtype=torch.float64).share_memory_()
        batches = self._batches(difficulty)
        loss, evaluated_s, last = math.nan, self._spent_s, None
        self.model.train()
        spent = self._meet()
        while spent < 1.0:
            started = time.monotonic()
            difficulty[0], difficulty[1] = self._difficulty(spent)
            self._draw_chunk_lengths(is_easy=bool(difficulty[0]))
            value = self._train_on(next(batches), learning_rate(self._plan, self.step, spent))
            loss = _smoothed(loss, value)
            self.step += 1
            self._spent_s += time.monotonic() - started
            on_step(self.step, spent, loss)
            if self._spent_s - evaluated_s >= self._plan.evaluate_every_s and self._peers.rank == 0:
                last = self._checkpoint(loss)
                evaluated_s = self._spent_s
            if self._peers.count == 1 or self.step % _STEPS_ALONE == 0:
                spent = self._meet()
        if self._peers.rank != 0 or (last is not None and last.step == self.step):
            return last
        return self._checkpoint(loss)

    def _meet(self) -> float:
        """Average the weights of all processes, and return the spent share of the budget that all agree on."""
        self._peers.average(self._parameters)
        return self._peers.agreed(self._share_spent())

    def _difficulty(self, spent: float) -> tuple[float, float]:
        return difficulty_at(spent, hears_already=self._hears_already)

    def _draw_chunk_lengths(self, *, is_easy: bool) -> None:
        """Use one chunk length while the speech is easy, then draw from all of them."""
        shares = list(LOOK_AHEADS.values())
        self.model.encoder.att_context_probs = [1.0] + [0.0] * (len(shares) - 1) if is_easy else shares

    def _share_spent(self) -> float:
        """Return the spent share of the budget, which is at least 1.0 when the training is over."""
        if self._plan.max_steps and self.step >= self._plan.max_steps:
            return 1.0
        return self._spent_s / (self._plan.minutes * 60)

    @contextmanager
    def averaged(self) -> Iterator[Any]:
        """Give the model the averaged weights for evaluation, and restore the trained weights afterwards."""
        trained = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self._average)
        self.model.eval()
        try:
            yield self.model
        finally:
            self.model.load_state_dict(trained)
            self.model.train()

    def _batches(self, difficulty: torch.Tensor) -> Iterator[Batch]:
        plan = self._plan
        data = DistortedBatches(self._manifests, self.model.tokenizer, plan.batch_seconds, difficulty, self._seed)
        return iter(DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=4, multiprocessing_context="fork"))

    def _train_on(self, batch: Batch, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", torch.bfloat16, enabled=self._plan.is_bfloat16):
            log_probs, lengths, _ = self.model.forward(input_signal=batch.audio, input_signal_length=batch.samples)
        loss = self.model.loss(
            log_probs=log_probs.float(), targets=batch.targets, input_lengths=lengths, target_lengths=batch.pieces
        )
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, _CLIP_NORM)
        if torch.isfinite(norm):
            self._optimizer.step()
        is_blank = log_probs.detach().argmax(dim=-1) == log_probs.shape[-1] - 1
        self.blanks = _smoothed(self.blanks, float(is_blank.float().mean()))
        self._audio_s += batch.seconds * self._peers.count
        # A young average must follow quickly, or it would remember the random start for thousands of steps.
        decay = min(self._plan.averaging, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                if value.is_floating_point():
                    self._average[name].lerp_(value, 1 - decay)
        return float(loss.detach())

    def _checkpoint(self, loss: float) -> Evaluation:
        started = time.monotonic()
        with self.averaged() as model:
            wers = [word_error_rate(model, batches) for batches in self._dev]
        self._spent_s += time.monotonic() - started
        made = Evaluation(
            self.step, round(self._spent_s / 60, 2), round(self._audio_s / 3600, 2), round(loss, 4),
            self._optimizer.param_groups[0]["lr"], *(round(100 * wer, 2) for wer in wers),
        )  # fmt: skip
        with (self._folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(made)) + "\n")
        self._save(self._folder / "last.ckpt")
        return made

    def _save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        state = {
            "model": self.model.state_dict(), "average": self._average, "optimizer": self._optimizer.state_dict(),
            "step": self.step, "spent_s": self._spent_s, "audio_s": self._audio_s, "size": asdict(self._size),
            "hears_already": self._hears_already,
        }  # fmt: skip
        torch.save(state, part)
        part.replace(path)

    def _load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self._average = state["average"]
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self._spent_s, self._audio_s = state["step"], state["spent_s"], state["audio_s"]
        self._hears_already = state.get("hears_already", False)


def _smoothed(before: float, value: float) -> float:
    return value if math.isnan(before) else 0.98 * before + 0.02 * value


def _dev_batches(manifest: Path, tokenizer: Any) -> tuple[list[Batch], list[Batch]]:
    """Return the recordings of the manifest, clean and distorted, always distorted in the same way."""
    recordings = sorted(read_recordings(manifest), key=lambda each: each.seconds)
    rng = np.random.default_rng(1)
    sets: list[list[Batch]] = []
    for distortion in (Distortion(noise_share=0, babble_share=0, room_share=0, telephone_share=0), Distortion()):
        audio = [distortion.apply(load(each), rng, lambda: load(recordings[0])) for each in recordings]
        texts = [each.text for each in recordings]
        starts = range(0, len(recordings), _EVALUATION_BATCH)
        sets.append(
            [
                collate(audio[at : at + _EVALUATION_BATCH], texts[at : at + _EVALUATION_BATCH], tokenizer)
                for at in starts
            ]
        )
    return sets[0], sets[1]


def word_error_rate(model: Any, batches: list[Batch], look_ahead: int = 1) -> float:
    """Return the share of wrong words of greedy decoding in one pass with the attention of a chunk length."""
    from kaldialign import edit_distance

    assert look_ahead in LOOK_AHEADS
    model.encoder.set_default_att_context_size([LEFT_CONTEXT_FRAMES, look_ahead])
    wrong = total = 0
    for batch in batches:
        with torch.inference_mode():
            log_probs, lengths, _ = model.forward(input_signal=batch.audio, input_signal_length=batch.samples)
        for row, length, text in zip(log_probs, lengths, batch.texts, strict=True):
            heard = greedy_text(row[: int(length)], model.tokenizer)
            wrong += edit_distance(text.split(), heard.split())["total"]
            total += len(text.split())
    return wrong / max(1, total)


def greedy_text(log_probs: torch.Tensor, tokenizer: Any) -> str:
    """Return the text of the best path through [frames, pieces + blank], with the blank as the last class."""
    best = torch.unique_consecutive(log_probs.argmax(dim=-1)).tolist()
    return str(tokenizer.ids_to_text([each for each in best if each < log_probs.shape[-1] - 1]))


def hearing_weights(folder: Path) -> dict[str, Any]:
    """Return the averaged weights of a training as the start of another, which needs the same word pieces."""
    weights: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)["average"]
    return weights


def load_averaged(folder: Path) -> Any:
    """Return the averaged model of a running or finished training, for export."""
    state = torch.load(folder / "last.ckpt", weights_only=True)
    model = build_model(ModelSize(**state["size"]), folder / "tokenizer")
    model.load_state_dict(state["average"])
    # Drop the tokenizer's path on this machine, since its files are included in the export.
    model.cfg.tokenizer.dir = ""
    return model.eval()
