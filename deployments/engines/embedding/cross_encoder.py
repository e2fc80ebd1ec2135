"""A cross-encoder on `transformers`: reads question and passage together and judges whether the passage answers.

Any sequence classification checkpoint with one output (ms-marco-MiniLM, bge-reranker) works; one with two outputs is
read as (no, yes). Weights are loaded from safetensors only.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import ConfigError

# A question and a passage of 80 words take about 130 tokens. Longer input is cut at the passage's end.
_MAX_TOKENS = 256


class CrossEncoder:
    """Scores question and passage pairs. Not thread-safe: one caller at a time.

    Args:
        model_dir: directory with config, tokenizer and safetensors.
        threads: CPU threads of one call (a setting of the whole process).

    Raises:
        ConfigError: the checkpoint has more than two outputs, so it is unclear which one means "answers".
    """

    def __init__(self, model_dir: Path, threads: int) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        torch.set_num_threads(threads)
        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(str(model_dir), local_files_only=True)
        loaded = AutoModelForSequenceClassification.from_pretrained(
            str(model_dir), local_files_only=True, use_safetensors=True
        )
        self._model = loaded.eval()
        if self._model.config.num_labels > 2:
            raise ConfigError(
                f"{model_dir}: the model has more than two outputs, so it cannot be a cross-encoder; name another one"
            )

    def warm_up(self) -> None:
        """Score once, so that the first question does not pay for allocation."""
        self.score("warm up", ["a passage of some words", "another one"])

    def score(self, question: str, texts: list[str]) -> list[float]:
        """Return the probability (0.0 to 1.0) that each text answers the question, in order."""
        if not texts:
            return []
        with self._torch.inference_mode():
            batch = self._tokenizer(
                [question] * len(texts),
                texts,
                padding=True,
                truncation="only_second",
                max_length=_MAX_TOKENS,
                return_tensors="pt",
            )
            logits = self._model(**batch).logits
            if logits.shape[1] == 1:
                probabilities = self._torch.sigmoid(logits[:, 0])
            else:
                probabilities = self._torch.softmax(logits, dim=1)[:, 1]
        return [float(probability) for probability in probabilities]
