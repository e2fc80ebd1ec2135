"""Questions as recordings, spoken by the configured voice: of a running cluster, or in a process of its own."""

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
        LineError: the gateway does not answer, or refuses.
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
    """Have the configured voice say a text in a process of its own, which ends with it.

    Args:
        config: the tree; the first pool of its route of synthesizers speaks.
        text: what is said.
        progress: told about the download of the voice, where it is not on this machine.

    Raises:
        RecordingError: the voice failed; the message holds its last lines.
        CatalogError: its weights cannot be fetched.
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
