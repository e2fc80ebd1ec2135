"""The configuration tree. Every default is written here, once; profiles and files only override.

Nothing here touches the world: no path is created, no address resolved, no environment read (see `environment.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from cluster.config.section import Fraction, Port, Section
from cluster.config.topology import TopologyConfig


class PathsConfig(Section):
    """Where things lie. None: `cluster.config.paths` chooses (state beside the project, weights in the user's cache).

    `catalog` is a file with own model entries, laid over the ones that ship. `mirror` (s3://BUCKET/PREFIX) is a copy of
    the models that `voxray models mirror` has made: every model is fetched from there, and not from its own source.
    """

    state: Path | None = None
    models: Path | None = None
    catalog: Path | None = None
    mirror: str = Field(default="", pattern=r"^(s3://[^/]+(/.*)?)?$")


class RayConfig(Section):
    """The Ray cluster that this profile starts or joins. `address` "" starts a local head on loopback."""

    address: str = ""
    num_cpus: int = Field(
        default=16,
        ge=1,
        description="logical CPUs of a local head; more than real ones, since replicas are mostly idle",
    )
    object_store_bytes: int = Field(default=256 * 1024 * 1024, ge=80 * 1024 * 1024)
    neuron_cores: int = Field(default=0, ge=0, description="logical NeuronCores of a local head, for a rehearsal")
    dashboard_port: Port = 0
    dashboard_url: str = Field(
        default="", description="the head's REST API, for `voxray deploy` to a cluster that exists"
    )
    token_env: str = Field(default="", description="variable with the token of that cluster")
    start_timeout_s: float = Field(default=120, gt=0)
    deploy_timeout_s: float = Field(
        default=600, gt=0, description="from the submission of the application until it serves"
    )


class IngressConfig(Section):
    """The WebSocket and HTTP front. Port 0 picks a free one, kept between runs when still free."""

    host: str = "127.0.0.1"
    port: Port = 0
    longest_call_s: int = Field(
        default=3600, ge=60, description="HAProxy keeps old workers this long after a replica change"
    )
    drain_s: int = Field(default=30, ge=1)


class RedisConfig(Section):
    """`url` "" starts a local server. A URL may hold no password: `password_env` names the variable that does."""

    url: str = ""
    password_env: str = ""


class MilvusConfig(Section):
    """`uri` "" starts a local milvus-lite server. `token_env` names the variable that holds the token."""

    uri: str = ""
    token_env: str = ""
    alias: str = "knowledge"


class SqlConfig(Section):
    """SQLAlchemy URL without password; "" is SQLite in the state folder. `password_env` names the variable with it."""

    url: str = ""
    password_env: str = ""


class ObjectsConfig(Section):
    """Object store: "" is a folder in the state folder, else an s3:// URL."""

    url: str = ""


class ServicesConfig(Section):
    redis: RedisConfig = RedisConfig()
    milvus: MilvusConfig = MilvusConfig()
    sql: SqlConfig = SqlConfig()
    objects: ObjectsConfig = ObjectsConfig()
    start_timeout_s: float = Field(default=30, gt=0)


class ReplicaConfig(Section):
    """How one deployment is laid on the cluster."""

    min_replicas: int = Field(default=1, ge=0)
    max_replicas: int = Field(default=1, ge=1)
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)
    neuron_cores: int = Field(default=0, ge=0, description="whole cores: Neuron cannot share one")
    max_ongoing_requests: int = Field(default=100, ge=1)
    threads: int = Field(default=1, ge=1, description="CPU threads of the engine")
    surge_percent: int = Field(
        default=100,
        ge=0,
        le=100,
        description="replicas that a roll-out may start before old ones stop; 0 where there is no room for them",
    )
    niceness: int = Field(default=0, ge=0, le=19, description="how readily the replica gives up the CPU to others")
    calls: float = Field(default=0, ge=0, description="calls that one holds within the target; `voxray plan` says it")
    price_per_hour: float = Field(default=0, ge=0, description="of one replica, for scaling.ceiling_per_hour")
    gpu_memory_bytes: int = Field(default=0, ge=0, description="of its GPU, that one may take; 0: no limit is set")


class GatewayConfig(Section):
    replicas: ReplicaConfig = ReplicaConfig(max_ongoing_requests=500)
    speculate_up_to_calls: int = Field(default=16, ge=0, description="open calls beyond which new ones do not draft")
    max_calls: int = Field(default=200, ge=1, description="calls of one replica; more are refused with a reason")
    vad_engine: Literal["silero", "scripted"] = "silero"
    vad_model: str = "silero-vad"
    turn_engine: Literal["smart-turn", "scripted"] = "smart-turn"
    turn_model: str = "smart-turn-v3.2"
    vad_tick_ms: int = Field(default=16, ge=1, le=100)
    api_key_env: str = Field(
        default="", description="variable with the bearer key that clients must show; empty: no key (loopback only)"
    )
    idle_timeout_s: int = Field(default=900, ge=1, description="a socket with no message for this long is closed")


class TurnConfig(Section):
    """Server defaults of turn taking; a client's session.update overrides what the protocol lets it."""

    vad_threshold: Fraction = 0.5
    prefix_padding_ms: int = Field(default=300, ge=0, le=5000)
    min_speech_ms: int = Field(default=64, ge=32)
    min_silence_ms: int = Field(default=192, ge=32, description="earliest turn end, when the turn model is sure")
    max_silence_ms: int = Field(default=1200, ge=100, description="latest turn end, whatever the turn model says")
    silence_duration_ms: int = Field(default=500, ge=100, description="server_vad without the turn model")
    speculation_silence_ms: int = Field(default=64, ge=32, description="silence that starts recognition and a draft")
    completion_threshold: Fraction = 0.5
    max_utterance_s: int = Field(default=60, ge=5)


class StageLinkConfig(Section):
    """The link between a gateway and a recogniser that streams (docs/speech-recognition.md, "Stage link")."""

    tick_ms: int = Field(default=20, ge=5, le=100, description="audio of all calls is collected this long, then sent")
    answer_s: float = Field(default=3.0, gt=0, description="an answer later than this is asked of another replica")
    wait_s: float = Field(default=10.0, gt=0, description="before a text is given up, with no replica there or several")


class TenantPhrases(Section):
    """What the callers of a tenant are likely to say; `tenant` "" stands for all that have no phrases of their own."""

    tenant: str = ""
    phrases: tuple[str, ...]


class TranscriberConfig(Section):
    """`whisper-ct2` recognises whole utterances again and again; `nemo` streams, many calls in one batch."""

    engine: Literal["whisper-ct2", "nemo", "scripted", "scripted-streaming"] = "whisper-ct2"
    model: str = "whisper-tiny"
    language: str = "en"
    partial_interval_ms: int = Field(default=700, ge=100, description="of new audio before whisper-ct2 looks again")
    chunk_ms: int = Field(default=160, ge=80, le=2000, description="nemo: audio heard at once; what the model allows")
    decoder: Literal["auto", "ctc", "rnnt"] = Field(default="auto", description="nemo: of a hybrid model; auto: rnnt")
    max_streams: int = Field(
        default=0,
        ge=0,
        le=4096,
        description="nemo: utterances at a time; more are refused; 0: what warm-up measures",
    )
    end_silence_ms: int = Field(
        default=0,
        ge=0,
        le=5000,
        description="nemo: silence after words that ends an utterance, a vote for the end of the turn; 0: <EOU> only",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="nemo; auto: the GPU when there is one")
    phrases: tuple[TenantPhrases, ...] = Field(default=(), description="nemo: names and words to expect")
    language_model: str = Field(
        default="auto",
        description="nemo, ctc: absolute path of what callers may say (`voxray asr language-model`); auto: the file of"
        " the model's name with .lm, if there is one; none",
    )
    language_weight: float = Field(default=1.0, ge=0, le=5, description="nemo: of the language against what is heard")
    link: StageLinkConfig = StageLinkConfig()
    replicas: ReplicaConfig = ReplicaConfig()

    @property
    def is_streaming(self) -> bool:
        """Whether gateways are linked to the recogniser, instead of sending it whole utterances."""
        return self.engine in ("nemo", "scripted-streaming")


class NeuronReplicaConfig(ReplicaConfig):
    """A replica on NeuronCores: a small compiled batch."""

    num_cpus: float = Field(default=4.0, ge=0)
    neuron_cores: int = Field(default=2, ge=0, description="whole cores; 2 or 8")
    max_ongoing_requests: int = Field(default=8, ge=1)


class NeuronEngineConfig(Section):
    """The language model on Inferentia: its compiled shapes, and whether it runs as a second pool beside `vllm`.

    The shapes of one compiled engine are `language_model.max_model_len`, and here the batch, cores and prompt buckets.
    """

    is_second_pool: bool = Field(default=False, description="beside the pool of language_model.engine, behind one port")
    artifacts_url: str = Field(
        default="", description='where compiled engines lie: s3://... or a folder; "": neuron/ of services.objects.url'
    )
    sdk: str = Field(default="2.30", description="Neuron SDK of the image; part of an artefact's key")
    device: Literal["neuron", "cpu", "scripted"] = Field(
        default="neuron",
        description="cpu: a rehearsal of the shell over the CPU build of vLLM; scripted: no model",
    )
    max_num_seqs: int = Field(default=4, ge=1, description="compiled batch")
    buckets: tuple[int, ...] = Field(default=(512, 1024, 2048, 4096), description="compiled prompt lengths, rising")
    replicas: NeuronReplicaConfig = NeuronReplicaConfig()


class RoutingConfig(Section):
    """How a request chooses between two pools of the language model (`autoscaling.pool_choice`)."""

    main_price: float = Field(default=2.0, gt=0, description="of a token on the main pool, in any unit")
    neuron_price: float = Field(default=1.0, gt=0, description="of a token on the Neuron pool, in the same unit")
    first_retry_s: float = Field(default=1.0, gt=0, description="a pool that failed rests this long; doubles each time")
    longest_retry_s: float = Field(default=30.0, gt=0)


class LanguageModelConfig(Section):
    engine: Literal["vllm", "neuron", "scripted"] = "vllm"
    model: str = "smollm2-135m-instruct"
    max_tokens: int = Field(default=64, ge=1)
    max_model_len: int = Field(default=2048, ge=256)
    first_clause_budget_ms: int = Field(default=800, ge=50, description="then the passage's own sentence is spoken")
    kv_cache_bytes: int = Field(default=256 * 1024 * 1024, ge=16 * 1024 * 1024)
    max_num_seqs: int = Field(default=8, ge=1)
    lookahead_tokens: int = Field(default=5, ge=0, le=16, description="guessed by prompt lookup (cpu); 0: none")
    gpu_memory_utilization: Fraction = 0.85
    # Where stages share cores, speech that has begun must not wait for words that nobody hears yet.
    replicas: ReplicaConfig = ReplicaConfig(niceness=5)
    neuron: NeuronEngineConfig = NeuronEngineConfig()
    routing: RoutingConfig = RoutingConfig()


class RetrieverConfig(Section):
    engine: Literal["milvus", "scripted"] = "milvus"
    embedding_engine: Literal["transformers", "scripted"] = "transformers"
    embedding_model: str = "all-minilm-l6-v2"
    budget_ms: int = Field(default=400, ge=10)
    limit: int = Field(default=6, ge=1, le=50)
    candidates: int = Field(default=12, ge=1, le=200, description="rows that each search gives to the fusion")
    rerank_model: str = Field(default="", description="catalog name of a cross-encoder; empty: the fused order stays")
    rerank_candidates: int = Field(default=8, ge=2, le=50, description="passages that the cross-encoder reads")
    cached_vectors: int = Field(default=2048, ge=0, description="questions whose vectors are kept, of all tenants")
    replicas: ReplicaConfig = ReplicaConfig()


class KnowledgeConfig(Section):
    """How business data come in (docs/ingest.md)."""

    live_updates: bool = Field(
        default=False, description="`voxray up` starts the job that applies PUT and DELETE of documents (400 MB)"
    )
    bulk_url: str = Field(
        default="",
        pattern=r"^(s3://[^/]+(/.*)?)?$",
        description="bucket and root path of Milvus's own object storage: large builds go there; empty: row by row",
    )


class SynthesizerConfig(Section):
    engine: Literal["piper", "scripted"] = "piper"
    model: str = "piper-en-us-joe-medium"
    replicas: ReplicaConfig = ReplicaConfig()


class AgentConfig(Section):
    """Who answers, and for which tenant. `min_similarity` and `min_matched_terms` decide "I don't have that"."""

    company: str = "Fernhollow Outfitters"
    expected_words: str = Field(
        default="Hello, Fernhollow Outfitters. The warranty on the Larkspur and the Meadow tent, the Ridgeway "
        "backpack, the Stormcrest jacket, the Nightjar sleeping bag, the Emberlite stove, "
        "shipping of order FH1042 to the Duluth store.",
        max_length=400,
        description="names as callers say them, which the recogniser takes as said before; empty: none",
    )
    tenant: str = "default"
    min_similarity: float = Field(default=0.35, ge=-1.0, le=1.0)
    min_matched_terms: Fraction = 0.0
    min_evidence: float = Field(
        default=0.625, ge=-1.0, le=2.0, description="similarity plus 0.3 times the matched share of words; ADR 0004"
    )
    refusal: str = "I'm sorry, I don't have that information."


class ScheduledCalls(Section):
    """Room for `calls` on `days` (mon-fri, sat,sun or all) from `start` to `end` (08:00), in the schedule's zone."""

    days: str = "all"
    start: str
    end: str
    calls: int = Field(ge=1)


class ScalingConfig(Section):
    """How replicas follow the calls. docs/scaling.md explains each value."""

    policy: Literal["ray", "calls"] = Field(
        default="ray", description="ray: each deployment by its ongoing requests; calls: one budget of calls for all"
    )
    lead_s: float = Field(default=180, ge=0, description="from an order to a replica that serves, machine included")
    headroom: float = Field(default=0.06, ge=0)
    deviations: float = Field(default=3.0, ge=0, description="of a Poisson count, kept free for chance")
    warm_calls: int = Field(default=0, ge=0, description="room kept above all else")
    hold_s: float = Field(default=240, ge=0, description="before replicas go")
    period_s: float = Field(default=5, gt=0)
    ceiling_per_hour: float = Field(default=0, ge=0, description="most that replicas may cost; 0: no ceiling")
    schedule: tuple[ScheduledCalls, ...] = ()
    utc_offset_min: int = Field(default=0, ge=-720, le=840, description="zone of the schedule")
    variant_idle_s: float = Field(default=600, gt=0, description="before an unused variant of a tenant goes to zero")
    gpu_isolation: Literal["time-slice", "mps", "mig"] = "time-slice"


class TelemetryConfig(Section):
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class VoxrayConfig(Section):
    """The whole tree."""

    profile: Literal["embedded", "nvidia", "inferentia", "scripted"] = "embedded"
    paths: PathsConfig = PathsConfig()
    ray: RayConfig = RayConfig()
    ingress: IngressConfig = IngressConfig()
    services: ServicesConfig = ServicesConfig()
    gateway: GatewayConfig = GatewayConfig()
    turn: TurnConfig = TurnConfig()
    transcriber: TranscriberConfig = TranscriberConfig()
    language_model: LanguageModelConfig = LanguageModelConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    synthesizer: SynthesizerConfig = SynthesizerConfig()
    agent: AgentConfig = AgentConfig()
    scaling: ScalingConfig = ScalingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    topology: TopologyConfig = TopologyConfig()
