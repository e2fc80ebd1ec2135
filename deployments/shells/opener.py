"""Opens the engine of a pool inside a replica."""

from __future__ import annotations

import os
from typing import Any

from cluster.config.environment import process_environment, secret
from cluster.config.parts import PoolPart


class EngineOpener:
    """Opens the engine of a pool, in the replica that calls it."""

    def __init__(self, part: PoolPart) -> None:
        self._part = part

    def __call__(self, **site: Any) -> Any:
        """Open the engine without warming it up. Blocks while weights load.

        Args:
            site: the fields of `EngineSite` that only the replica knows.
        """
        part = self._part
        if part.settings.niceness:
            os.nice(part.settings.niceness)  # the engine's threads inherit it
        token = secret(process_environment(), part.milvus_token_env, needed_by="services.milvus.token_env")
        return part.spec.open(part.settings, part.site(token, **site))
