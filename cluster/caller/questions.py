"""Turns questions into recordings by the configured voice, either of a running cluster or in a separate process."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import httpx

from cluster.caller.line import LineError
from cluster.caller.recording import Recording, RecordingError, load_recording, recording_from
from cluster.catalog.pool_parts import fetched_part
from cluster.catalog.progress import Progress
from cluster.config.schema import VoxrayConfig
from cluster.programs import Program
from pipelines.errors import Component

QUESTION = "How many days do I have to return something I bought?"


async def speak_question(http_url: str, text: str, api_key: str = "") -> Recording:
    """Synthesize a question through the REST API.

    Raises:
        LineError: the gateway does not answer or refuses.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        async with httpx.AsyncClient(timeout=60, headers=headers) as client:
            response = await client.post(f"{http_url}/v1/audio/speech", json={"input": text})
            response.raise_for_status()
    except httpx.HTTPError as error:
        raise LineError(f"the question could not be synthesized: {error}") from None
    return recording_from(response.content)


def speak_without_cluster(config: VoxrayConfig, text: str = QUESTION, progress: Progress | None = None) -> Recording:
    """Synthesize a text with the configured voice in a separate process, which then ends.

    Args:
        config: the configuration. The first pool of its route of synthesizers speaks.
        text: the words to speak.
        progress: informed about the download of the voice if it is not on this machine.

    Raises:
        RecordingError: the voice failed. The message contains its last lines of output.
        CatalogError: the weights of the voice cannot be fetched.
    """
    request = fetched_part(config, Component.SYNTHESIZER, progress).model_dump_json()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "question.wav"
        command = Program.SPEAK.command(str(file), text)
        done = subprocess.run(command, input=request, capture_output=True, text=True)
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-6:])
            raise RecordingError(f"the voice ended with code {done.returncode}:\n{last}")
        return load_recording(file)
