"""`voxray asr`: measures recognisers on recordings, makes a corpus, and trains the small streaming recogniser."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Annotated

import typer

from cluster.catalog.catalog import ModelCatalog
from cluster.cli.options import FileOption, ProfileOption, config_of
from cluster.config.agents import agent_of
from cluster.config.environment import process_environment
from cluster.config.paths import resolve_paths
from cluster.config.schema import VoxrayConfig
from cluster.preflight.extras import require_extras
from cluster.programs import Program

_PIPER, _KOKORO, _KOKORO_VOICES = "piper-en-us-joe-medium", "kokoro-82m", "kokoro-82m-corpus-voices"
_VOCABULARY = "all-minilm-l6-v2"
_NEMO = "voxray-asr-small-en"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Measure speech recognition; train the small streaming recogniser (docs/speech-recognition.md).",
)

FolderOption = Annotated[
    Path | None, typer.Option(help="Folder of the training. Default: asr-training in the state folder.")
]


@app.callback()
def asr() -> None:
    """Measure and train speech recognition."""


@app.command("eval")
def evaluate(  # noqa: PLR0917 - one argument per command-line option
    manifest: Annotated[Path, typer.Argument(help="NeMo manifest: JSON Lines with audio_filepath and text.")],
    engine: Annotated[str, typer.Option(help="whisper, nemo or both.")] = "whisper",
    model: Annotated[Path | None, typer.Option(help="A .nemo file. Default: the one that ships.")] = None,
    chunk_ms: Annotated[list[int] | None, typer.Option(help="80, 160, 560 or 1120. May be repeated.")] = None,
    language_model: Annotated[
        list[str] | None,
        typer.Option(
            help="Language model for NeMo: auto (the model's name with .lm), none, or a file. May be repeated."
        ),
    ] = None,
    whisper: Annotated[str, typer.Option(help="Catalog name of a Whisper model.")] = "whisper-tiny",
    prompt: Annotated[
        str | None, typer.Option(help="Words that Whisper is told to expect. Default: the agent's, as in calls.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Number of CPU threads of an engine.")] = 1,
    streams: Annotated[int, typer.Option(min=1, help="Number of concurrent recordings.")] = 16,
    live: Annotated[
        int, typer.Option(min=0, help="Number of recordings that are played in real time to measure latency.")
    ] = 20,
    limit: Annotated[int, typer.Option(min=0, help="Use only this many recordings; 0 for all.")] = 0,
    max_broken: Annotated[float, typer.Option(min=0, max=1, help="Share of unusable lines that is tolerated.")] = 0.02,
    out: Annotated[Path, typer.Option(help="Folder for asr-eval.json and asr-eval.svg.")] = Path("."),
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Recognise recordings as calls would, and report word error rate by condition, latency and cost."""
    if engine not in ("nemo", "whisper", "both"):
        raise typer.BadParameter(f"'{engine}' is not one of nemo, whisper, both")
    config = _config(profile, file)
    arguments = [str(manifest), "--threads", str(threads), "--streams", str(streams), "--live", str(live)]
    arguments += ["--limit", str(limit), "--max-broken", str(max_broken), "--out", str(out)]
    if engine != "whisper":
        arguments += ["--nemo", str(model or _catalog(config).fetch(_NEMO) / f"{_NEMO}.nemo")]
        arguments += [part for each in language_model or ["auto"] for part in ("--language-model", each)]
        arguments += [part for each in chunk_ms or [160] for part in ("--chunk-ms", str(each))]
    if engine != "nemo":
        words = agent_of(config).expected_words if prompt is None else prompt
        arguments += ["--whisper", str(_catalog(config).fetch(whisper)), f"--prompt={words}"]
    _run(Program.SPEECH_EVALUATION, arguments)


@app.command()
def corpus(  # noqa: PLR0917 - one argument per command-line option
    folder: Annotated[
        Path | None, typer.Argument(help="Folder of the corpus. Default: asr-corpus in the state folder.")
    ] = None,
    piper_minutes: Annotated[float, typer.Option(min=0, help="Minutes of speech by Piper voices.")] = 330,
    kokoro_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes of speech by Kokoro voices, by far the slowest.")
    ] = 80,
    espeak_minutes: Annotated[float, typer.Option(min=0, help="Minutes of speech by espeak voices.")] = 340,
    pico_minutes: Annotated[float, typer.Option(min=0, help="Minutes of speech by Pico voices.")] = 220,
    processes: Annotated[int, typer.Option(min=1, help="Number of voices that are synthesized in parallel.")] = 2,
    seed: Annotated[int, typer.Option(help="Seed that selects the sentences for training.")] = 7,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Synthesize a corpus in the domain of the sample company, resuming where it was interrupted."""
    config = _config(profile, file)
    catalog = _catalog(config)
    minutes = {"piper": piper_minutes, "kokoro": kokoro_minutes, "espeak": espeak_minutes, "pico": pico_minutes}
    arguments = [str(folder or _state(config) / "asr-corpus"), "--processes", str(processes), "--seed", str(seed)]
    arguments += ["--piper-model", str(catalog.fetch(_PIPER) / "en_US-joe-medium.onnx")]
    arguments += ["--kokoro-model", str(catalog.fetch(_KOKORO) / "model.onnx")]
    arguments += ["--kokoro-voices", str(catalog.fetch(_KOKORO_VOICES))]
    arguments += ["--vocabulary", str(catalog.fetch(_VOCABULARY) / "vocab.txt")]
    arguments += [part for engine, value in minutes.items() for part in (f"--{engine}-minutes", str(value))]
    _run(Program.SPEECH_CORPUS, arguments)


@app.command()
def train(  # noqa: PLR0917 - one argument per command-line option
    corpora: Annotated[
        list[Path] | None, typer.Argument(help="Folders of corpora. Default: asr-corpus in the state folder.")
    ] = None,
    folder: FolderOption = None,
    start_from: Annotated[Path | None, typer.Option(help="Folder of a training whose weights to start from.")] = None,
    minutes: Annotated[float, typer.Option(min=0, help="Total wall time, over all resumed parts.")] = 90,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the folder's last checkpoint.")] = False,
    processes: Annotated[int, typer.Option(min=1, help="Number of processes, with one thread each.")] = 2,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="Compute in bfloat16, which is faster on processors that support it.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="The .nemo file. Default: model.nemo in the folder.")] = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Train the small streaming recogniser on a corpus, and export it."""
    state = _state(_config(profile, file))
    arguments = ["train", *map(str, corpora or [state / "asr-corpus"])]
    arguments += ["--folder", str(folder or state / "asr-training")]
    arguments += ["--start-from", str(start_from)] if start_from else []
    arguments += ["--minutes", str(minutes), "--processes", str(processes)]
    arguments += [flag for flag, is_set in (("--resume", resume), ("--bfloat16", bfloat16)) if is_set]
    _run(Program.SPEECH_TRAINING, [*arguments, *(["--out", str(out)] if out else [])])


@app.command("language-model")
def language_model(  # noqa: PLR0917 - one argument per command-line option
    texts: Annotated[
        list[Path] | None,
        typer.Argument(help="What callers may say, one sentence per line. Default: the sample company's."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option(help="The recogniser's .nemo file. Default: the one that ships.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="File to write, for `language_model` of a pool with NeMo; .arpa for text.")
    ] = Path("language.lm"),
    order: Annotated[int, typer.Option(min=2, max=10, help="Longest sequence of word pieces.")] = 6,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Build a language model of what callers may say from texts, for a NeMo recogniser with CTC."""
    catalog = _catalog(_config(profile, file))
    arguments = [*map(str, texts or []), "--model", str(model or catalog.fetch(_NEMO) / f"{_NEMO}.nemo")]
    arguments += ["--out", str(out), "--order", str(order)]
    arguments += [] if texts else ["--vocabulary", str(catalog.fetch(_VOCABULARY) / "vocab.txt")]
    _run(Program.SPEECH_LANGUAGE_MODEL, arguments)


@app.command()
def export(
    folder: FolderOption = None,
    out: Annotated[Path | None, typer.Option(help="The .nemo file. Default: model.nemo in the folder.")] = None,
    profile: ProfileOption = None,
    file: FileOption = None,
) -> None:
    """Write the averaged weights of a running or finished training as a .nemo file."""
    state = _state(_config(profile, file))
    arguments = ["export", "--folder", str(folder or state / "asr-training")]
    _run(Program.SPEECH_TRAINING, [*arguments, *(["--out", str(out)] if out else [])])


def _config(profile: str | None, file: Path | None) -> VoxrayConfig:
    require_extras("nemo", "training", needed_by="voxray asr")
    return config_of(profile, file)


def _catalog(config: VoxrayConfig) -> ModelCatalog:
    return ModelCatalog.load(config, process_environment())


def _state(config: VoxrayConfig) -> Path:
    return resolve_paths(config).state


def _run(program: Program, arguments: list[str]) -> None:
    """Run the engines in a separate process, and end with its exit code."""
    environment = {**process_environment(), "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(program.command(*arguments), env=environment)
    try:
        code = child.wait()
    except KeyboardInterrupt:
        # The terminal has interrupted the child too, which cleans up and ends.
        code = child.wait()
    raise typer.Exit(code)
