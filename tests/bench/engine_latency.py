"""Latency of each engine alone, one thread each, as a Markdown table.

    python -m tests.bench.engine_latency [silero smart-turn whisper piper embedder vllm]

Wall milliseconds p50 and p95, and CPU milliseconds of this process: on a shared machine the last is the one to compare.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

Work = Callable[[], Awaitable[object]]
WORDS = "Orders over fifty dollars ship free and arrive within three business days".split()
ROUNDS = 15


def model_dir(name: str) -> Path:
    from cluster.catalog.catalog import ModelCatalog
    from cluster.config.environment import process_environment
    from cluster.config.schema import VoxrayConfig

    return ModelCatalog.load(VoxrayConfig(), process_environment()).fetch(name)


async def report(what: str, work: Work, rounds: int = ROUNDS) -> None:
    """Run `work` and print a row. `work` may return seconds (a float) to report instead of its own duration."""
    await work()
    walls, cpu_start = [], time.process_time()
    for _ in range(rounds):
        start = time.perf_counter()
        result = await work()
        walls.append(result if isinstance(result, float) else time.perf_counter() - start)
    cpu_ms = (time.process_time() - cpu_start) / rounds * 1000
    walls.sort()
    p50, p95 = walls[rounds // 2] * 1000, walls[int(rounds * 0.95)] * 1000
    sys.stdout.write(f"| {what} | {p50:.1f} | {p95:.1f} | {cpu_ms:.1f} |\n")
    sys.stdout.flush()


async def bench_silero() -> None:
    from deployments.engines.vad.silero import SileroSpeechDetector
    from pipelines.ports import SpeechScore

    detector = SileroSpeechDetector(model_dir("silero-vad") / "silero_vad.onnx", tick_ms=1, threads=1)
    detector.warm_up()
    for calls in (1, 10, 50, 100):
        queue: asyncio.Queue[SpeechScore] = asyncio.Queue()
        streams = [detector.open(queue.put_nowait) for _ in range(calls)]

        async def tick(streams: list = streams, queue: asyncio.Queue[SpeechScore] = queue) -> None:  # type: ignore[type-arg]
            for stream in streams:
                stream.push(bytes(1024))
            for _ in streams:
                await queue.get()

        await report(f"Silero, a 32 ms window of each of {calls} calls", tick, 60)
    detector.close()


async def bench_smart_turn() -> None:
    from deployments.engines.turn_end.smart_turn import SmartTurnDetector, log_mel_features

    pcm = (await speech(" ".join(WORDS) + "."))[-96_000:]
    detector = SmartTurnDetector(model_dir("smart-turn-v3.2") / "smart-turn-v3.2-cpu.onnx", threads=1)

    async def features() -> None:
        log_mel_features(pcm)

    await report("Smart Turn, features of 3 s", features)

    async def judgement() -> None:
        await detector.completion_probability(pcm)

    await report("Smart Turn, one judgement", judgement)
    detector.close()


async def bench_whisper() -> None:
    from deployments.engines.whisper.recognizer import WhisperRecognizer

    recognizer = WhisperRecognizer(model_dir("whisper-tiny"), threads=1, language="en")
    recognizer.warm_up()
    for text in ("What is your return policy?", " ".join(WORDS) + "."):
        pcm = await speech(text)
        await report(f"Whisper tiny, utterance of {len(pcm) / 32_000:.1f} s", lambda pcm=pcm: recognizer.recognize(pcm))
    recognizer.close()


async def bench_piper() -> None:
    from deployments.engines.piper.synthesizer import PiperSynthesizer
    from pipelines.ports import SpeechRequest

    voice = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)
    voice.warm_up()
    for count in (2, 4, 8, 12):
        request = SpeechRequest(" ".join(WORDS[:count]) + ".")

        async def first(request: SpeechRequest = request) -> float:
            start, heard = time.perf_counter(), 0.0
            async for _ in voice.synthesize(request):
                heard = heard or time.perf_counter() - start
            return heard

        await report(f"Piper, first audio of {count} words (CPU: all of it)", first)
    voice.close()


async def bench_embedder() -> None:
    from deployments.engines.embedding.embedder import SentenceEncoder

    encoder = SentenceEncoder(model_dir("all-minilm-l6-v2"), threads=1)

    async def query() -> None:
        encoder.encode(["How long do I have to return a pair of boots?"])

    await report("MiniLM, one query", query)


async def bench_vllm() -> None:
    from deployments.engines.vllm import VllmSettings
    from deployments.engines.vllm.engine import VllmLanguageModel
    from pipelines.ports import ChatMessage, GenerationRequest

    start = time.perf_counter()
    model = VllmLanguageModel(VllmSettings(), model_dir("smollm2-135m-instruct"), num_gpus=0)
    model.warm_up()
    sys.stdout.write(
        f"| vLLM, start to first token (s) | {time.perf_counter() - start:.1f} | | {time.process_time():.1f} |\n"
    )
    count = 0

    async def first_clause() -> float:
        nonlocal count
        count += 1
        system = ChatMessage(
            "system", "You are a voice assistant. Answer in one short sentence from the fact given. " * 3
        )
        fact = ChatMessage(
            "user", f"Fact: item {count * 37} can be returned within {count + 20} days. Can I return it?"
        )
        begun, heard = time.perf_counter(), 0.0
        async for _ in model.generate(GenerationRequest(f"r{count}", (system, fact), max_tokens=32)):
            heard = heard or time.perf_counter() - begun
        return heard

    await report("vLLM SmolLM2-135M, first clause (CPU: 32 tokens)", first_clause)
    model.close()


async def speech(text: str) -> bytes:
    import numpy as np
    import soxr

    from deployments.engines.piper.synthesizer import PiperSynthesizer
    from pipelines.ports import SpeechRequest

    voice = PiperSynthesizer(next(model_dir("piper-en-us-joe-medium").glob("*.onnx")), threads=1)
    pcm = b"".join([chunk.pcm_24k async for chunk in voice.synthesize(SpeechRequest(text))])
    voice.close()
    lower = soxr.resample(np.frombuffer(pcm, "<i2").astype(np.float32), 24_000, 16_000)
    return bytes(np.clip(lower, -32768, 32767).astype("<i2").tobytes())


BENCHES = {
    "silero": bench_silero,
    "smart-turn": bench_smart_turn,
    "whisper": bench_whisper,
    "piper": bench_piper,
    "embedder": bench_embedder,
    "vllm": bench_vllm,
}


def main() -> None:
    sys.stdout.write("| what | wall p50 ms | wall p95 ms | CPU ms |\n|---|---|---|---|\n")
    for name in sys.argv[1:] or BENCHES:
        asyncio.run(BENCHES[name]())


if __name__ == "__main__":
    main()
