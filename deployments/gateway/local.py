"""One gateway process without Ray, its engines scripted but for voice activity: what a load test measures.

    python -m deployments.gateway.local --vad-model DIR [--core N]

Prints its port on the first line of standard output; ends with SIGTERM or Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys

import uvicorn
import uvloop

from cluster.config.schema import VoxrayConfig
from deployments.engine_choice import EngineChoice
from deployments.engines.scripted.engines import ScriptedLanguageModel, ScriptedRetriever, ScriptedSynthesizer
from deployments.engines.scripted.recognizer import ScriptedRecognizer
from deployments.gateway.asgi import create_app
from deployments.gateway.opening import RemoteEngines, service_opener
from pipelines.ports import Passage

QUESTION = "How many days do I have to return an item?"
ANSWER = "You can return unused items within 30 days of delivery."
MAX_CALLS = 2_000


def local_config() -> VoxrayConfig:
    """Silero as in production; the turn model scripted, since its cost is one judgement a turn, not a frame."""
    base = VoxrayConfig()
    changes = {"turn_engine": "scripted", "max_calls": MAX_CALLS, "speculate_up_to_calls": MAX_CALLS}
    gateway = base.gateway.model_copy(update=changes)
    return base.model_copy(update={"gateway": gateway})


async def serve(vad_model: str) -> None:
    """Serve until told to stop."""
    config = local_config()
    remote = RemoteEngines(
        ScriptedRecognizer(QUESTION).recognize,
        ScriptedRetriever([Passage(ANSWER, "faq.md", "Returns", 1.0, 0.9, 1.0)]),
        ScriptedLanguageModel(fallback=lambda _messages: ANSWER),
        ScriptedSynthesizer(),
    )
    choice = EngineChoice(config, {config.gateway.vad_model: vad_model})
    app = create_app(lambda: service_opener(choice, remote, ""))
    listener = socket.create_server(("127.0.0.1", 0), backlog=MAX_CALLS)
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m deployments.gateway.local", description=__doc__)
    parser.add_argument("--vad-model", required=True, help="directory of the Silero model")
    parser.add_argument("--core", type=int, default=None, help="CPU core to stay on")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    try:
        uvloop.run(serve(arguments.vad_model))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
