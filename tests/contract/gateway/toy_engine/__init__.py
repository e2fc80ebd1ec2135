"""An engine as its author would add it: this folder, and one line in the registry (`test_toy_engine`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from pydantic import Field

from cluster.config.engines import EngineSettings, EngineSite, EngineSpec
from pipelines.errors import Component
from pipelines.ports import Clause, GenerationRequest


class ToySettings(EngineSettings):
    """A language model that always says the same."""

    engine: Literal["toy"] = "toy"
    saying: str = Field(min_length=1, description="What it says.")


class ToyLanguageModel:
    """Says what its settings say."""

    is_alive = True

    def __init__(self, saying: str) -> None:
        self._saying = saying

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Clause]:
        yield Clause(self._saying, is_last=True, tokens=1)

    def warm_up(self) -> None:
        """Nothing to warm."""

    def load_stats(self) -> dict[str, float]:
        return {}


def _open(settings: ToySettings, _site: EngineSite) -> ToyLanguageModel:
    return ToyLanguageModel(settings.saying)


SPEC = EngineSpec(Component.LANGUAGE_MODEL, "toy", ToySettings, _open)
