"""The configuration tree. Every default is written once: here, or in the type that uses it, to which this refers.

Nothing here touches the world: no path is created, no address resolved, no environment read (see `environment.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from autoscaling.policy.application import ApplicationLimits
from cluster.config.engines import SpeechDetectorSettings, TurnDetectorSettings, default_settings
from cluster.config.pools import FailoverConfig, PoolsConfig, ReplicaConfig, RoutesConfig
from cluster.config.section import Fraction, Port, Section
from cluster.config.topology import TopologyConfig
from pipelines.errors import Component
from pipelines.hearing.linked_stream import LinkPatience
from pipelines.session.settings import SessionSettings, TurnDetection, TurnDetectionKind

# What the types of the product say of themselves is said there; here it is only made settable.
_PASSWORD = "Name of the variable that holds the password."
_TURN, _LINK, _SCALING = TurnDetection(), LinkPatience(), ApplicationLimits({})


class PathsConfig(Section):
    """Where things lie."""

    state: Path | None = Field(
        default=None, description="Folder of what a local cluster keeps; null: beside the project."
    )
    models: Path | None = Field(default=None, description="Folder of the weights; null: in the user's cache.")
    catalog: Path | None = Field(
        default=None, description="File with models of your own, laid over the catalog that ships."
    )
    agents: Path | None = Field(
        default=None,
        description="Folder of the agents' files (docs/agents.md); null: `agents` in the working directory, else the"
        " sample company's.",
    )
    mirror: str = Field(
        default="",
        pattern=r"^(s3://[^/]+(/.*)?)?$",
        description="Copy of the models that `voxray models mirror` has made (s3://BUCKET/PREFIX), from which all are"
        " fetched; empty: each from its own source.",
    )


class RayConfig(Section):
    """The Ray cluster that this profile starts or joins."""

    address: str = Field(
        default="", description="Address of a Ray cluster that exists; empty: a local head is started on loopback."
    )
    num_cpus: int = Field(
        default=16,
        ge=1,
        description="Logical CPUs of a local head: more than there are, since replicas are mostly idle.",
    )
    object_store_bytes: int = Field(
        default=256 * 1024 * 1024, ge=80 * 1024 * 1024, description="Size of the object store of a local head."
    )
    neuron_cores: int = Field(
        default=0, ge=0, description="NeuronCores that a local head claims to have, for a rehearsal."
    )
    dashboard_port: Port = Field(default=0, description="Port of a local head's dashboard; 0: a free one.")
    dashboard_url: str = Field(
        default="", description="URL of the head's REST API, for `voxray deploy` to a cluster that exists."
    )
    token_env: str = Field(default="", description="Name of the variable with the token of that cluster.")
    start_timeout_s: float = Field(default=120, gt=0, description="Longest wait for a local head to start.")
    deploy_timeout_s: float = Field(
        default=600, gt=0, description="Longest wait for the applications, from their submission until they serve."
    )


class IngressConfig(Section):
    """The WebSocket and HTTP front. Port 0 picks a free one, kept between runs when still free."""

    host: str = Field(default="127.0.0.1", description="Address that the ingress listens on.")
    port: Port = Field(default=0, description="Port that the ingress listens on; 0: a free one, kept between starts.")
    longest_call_s: int = Field(
        default=3600, ge=60, description="Longest call: what goes waits this long for the calls that it holds."
    )
    drain_s: int = Field(default=30, ge=1, description="Time that a gateway which goes keeps its calls.")


class RedisConfig(Section):
    """Redis."""

    url: str = Field(default="", description="URL without a password; empty: a local server is started.")
    password_env: str = Field(default="", description=_PASSWORD)


class MilvusConfig(Section):
    """Milvus, the vector store."""

    uri: str = Field(default="", description="URI of the server; empty: a local milvus-lite is started.")
    token_env: str = Field(default="", description="Name of the variable that holds the token.")
    alias: str = Field(default="knowledge", description="Name of the live collection.")


class SqlConfig(Section):
    """The relational database."""

    url: str = Field(default="", description="SQLAlchemy URL without a password; empty: SQLite in the state folder.")
    password_env: str = Field(default="", description=_PASSWORD)


class ObjectsConfig(Section):
    """The object store."""

    url: str = Field(default="", description="URL of a bucket (s3://...); empty: a folder in the state folder.")


class ServicesConfig(Section):
    """The stores beside the cluster."""

    redis: RedisConfig = RedisConfig()
    milvus: MilvusConfig = MilvusConfig()
    sql: SqlConfig = SqlConfig()
    objects: ObjectsConfig = ObjectsConfig()
    start_timeout_s: float = Field(default=30, gt=0, description="Longest wait for a local service to start.")


class GatewaySettings(Section):
    """What a gateway's process is told of itself."""

    speculate_up_to_calls: int = Field(
        default=16, ge=0, description="A call that begins while more calls are open answers only when the turn is over."
    )
    max_calls: int = Field(
        default=200, ge=1, description="Most calls of one replica; further ones are refused with a reason."
    )
    speech_detector: SpeechDetectorSettings = Field(
        default_factory=lambda: default_settings(Component.SPEECH_DETECTOR), description="Finds speech in the audio."
    )
    turn_detector: TurnDetectorSettings = Field(
        default_factory=lambda: default_settings(Component.TURN_DETECTOR),
        description="Judges whether the caller has finished.",
    )
    api_key_env: str = Field(
        default="",
        description="Name of the variable with the bearer key that clients must show; empty: none (loopback only).",
    )
    idle_timeout_s: int = Field(default=900, ge=1, description="A socket without any message for this long is closed.")
    default_agent: str = Field(
        default="", description="Agent of the calls that name none; empty: the one called `default`, or the only one."
    )


class GatewayConfig(GatewaySettings):
    """The gateways: what they are told, and how they are laid on the cluster."""

    threads: int = Field(default=1, ge=1, description="Number of CPU threads for numerical libraries.")
    replicas: ReplicaConfig = ReplicaConfig(max_ongoing_requests=500)


class TurnConfig(Section):
    """Server defaults of turn taking; a client's session.update overrides what the protocol lets it."""

    vad_threshold: Fraction = Field(
        default=_TURN.threshold, description="Probability from which a frame counts as speech."
    )
    prefix_padding_ms: int = Field(
        default=_TURN.prefix_padding_ms, ge=0, le=5000, description="Audio before the first speech that is kept."
    )
    min_speech_ms: int = Field(
        default=_TURN.min_speech_ms, ge=32, description="Speech shorter than this is taken for noise."
    )
    min_silence_ms: int = Field(
        default=_TURN.min_silence_ms,
        ge=32,
        description="Earliest end of a turn: silence after which it ends when the turn model is sure.",
    )
    max_silence_ms: int = Field(
        default=_TURN.max_silence_ms,
        ge=100,
        description="Latest end of a turn: silence after which it ends, whatever the turn model says.",
    )
    silence_duration_ms: int = Field(
        default=_TURN.silence_duration_ms,
        ge=100,
        description="Silence that ends a turn of clients that ask for server_vad, which has no turn model.",
    )
    speculation_silence_ms: int = Field(
        default=_TURN.speculation_silence_ms,
        ge=32,
        description="Silence after which the speech is recognised and an answer is drafted, in case the turn is over.",
    )
    completion_threshold: Fraction = Field(
        default=_TURN.completion_threshold, description="Probability from which the turn model counts as sure."
    )
    max_utterance_s: int = Field(default=60, ge=5, description="Speech without an end is cut after this long.")

    def session_settings(self) -> SessionSettings:
        """Return these defaults as a session understands them."""
        detection = TurnDetection(
            kind=TurnDetectionKind.SEMANTIC_VAD,
            threshold=self.vad_threshold,
            prefix_padding_ms=self.prefix_padding_ms,
            silence_duration_ms=self.silence_duration_ms,
            min_speech_ms=self.min_speech_ms,
            min_silence_ms=self.min_silence_ms,
            max_silence_ms=self.max_silence_ms,
            speculation_silence_ms=self.speculation_silence_ms,
            completion_threshold=self.completion_threshold,
        )
        return SessionSettings(turn_detection=detection, max_utterance_ms=self.max_utterance_s * 1000)


class StageLinkConfig(Section):
    """The link between a gateway and a recogniser that streams (docs/speech-recognition.md, "Stage link")."""

    tick_ms: int = Field(
        default=_LINK.tick_ms,
        ge=5,
        le=100,
        description="Time for which the audio of all calls is collected before it is sent.",
    )
    answer_s: float = Field(
        default=_LINK.answer_s, gt=0, description="An answer that is later than this is asked of another replica."
    )
    wait_s: float = Field(
        default=_LINK.wait_s,
        gt=0,
        description="Time after which a text is given up, whether no replica is there or several.",
    )


class HearingConfig(Section):
    """How a gateway has its callers' speech recognised."""

    partial_interval_ms: int = Field(
        default=700,
        ge=100,
        description="New audio after which an utterance is sent again to a recogniser that takes whole utterances.",
    )
    link: StageLinkConfig = StageLinkConfig()


class AnsweringConfig(Section):
    """The limits that an answer keeps."""

    passages: int = Field(default=6, ge=1, le=50, description="Passages that one search brings.")
    retrieval_budget_ms: int = Field(
        default=400, ge=10, description="Time for a search; then the caller hears that the records cannot be reached."
    )
    max_tokens: int = Field(default=64, ge=1, description="Most tokens of an answer by the language model.")
    first_clause_budget_ms: int = Field(
        default=800, ge=50, description="Time for the model's first clause; then the passage's own sentence is spoken."
    )


class KnowledgeConfig(Section):
    """How business data come in (docs/ingest.md)."""

    live_updates: bool = Field(
        default=False,
        description="Whether `voxray up` starts the job that applies changes of single documents (400 MB of memory).",
    )
    bulk_url: str = Field(
        default="",
        pattern=r"^(s3://[^/]+(/.*)?)?$",
        description="Bucket and root path of Milvus's own object storage, by which large builds are imported; empty:"
        " they are written row by row.",
    )


class ScheduledCalls(Section):
    """Room for `calls` on `days` (mon-fri, sat,sun or all) from `start` to `end` (08:00), in the schedule's zone."""

    days: str = "all"
    start: str
    end: str
    calls: int = Field(ge=1)


class ScalingConfig(Section):
    """How replicas follow the calls. docs/scaling.md explains each value."""

    policy: Literal["ray", "calls"] = Field(
        default="ray",
        description="What decides on replicas: `ray` looks at each deployment's ongoing requests, `calls` has one"
        " budget of calls for all.",
    )
    lead_s: float = Field(
        default=_SCALING.lead_s,
        ge=0,
        description="Time from an order to a replica that serves, the start of its machine included.",
    )
    headroom: float = Field(
        default=_SCALING.headroom, ge=0, description="Share of the expected calls that is kept free besides."
    )
    deviations: float = Field(
        default=_SCALING.deviations,
        ge=0,
        description="Number of standard deviations of a Poisson count that is kept free for chance.",
    )
    warm_calls: int = Field(
        default=0, ge=0, description="Room for this many calls is kept free above all else, for what nothing foretells."
    )
    hold_s: float = Field(
        default=_SCALING.hold_s, ge=0, description="Replicas stay for this long after the calls no longer need them."
    )
    period_s: float = Field(default=_SCALING.period_s, gt=0, description="Time between two decisions.")
    ceiling_per_hour: float = Field(
        default=0, ge=0, description="Most that all replicas together may cost an hour; 0: there is no ceiling."
    )
    schedule: tuple[ScheduledCalls, ...] = Field(default=(), description="Calls that are known to come.")
    utc_offset_min: int = Field(
        default=0, ge=-720, le=840, description="Time zone of the schedule, in minutes east of UTC."
    )
    variant_idle_s: float = Field(
        default=600, gt=0, description="A tenant's variant of a stage goes to zero when it was unused for this long."
    )
    gpu_isolation: Literal["time-slice", "mps", "mig"] = Field(
        default="time-slice", description="How replicas that share a GPU are kept apart."
    )


class TelemetryConfig(Section):
    """What processes say of themselves."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severity of the messages that are logged."
    )


class VoxrayConfig(Section):
    """The whole tree."""

    profile: Literal["embedded", "nvidia", "inferentia", "scripted"] = Field(
        default="embedded", description="Profile that the values rest on."
    )
    paths: PathsConfig = PathsConfig()
    ray: RayConfig = RayConfig()
    ingress: IngressConfig = IngressConfig()
    services: ServicesConfig = ServicesConfig()
    gateway: GatewayConfig = GatewayConfig()
    turn: TurnConfig = TurnConfig()
    hearing: HearingConfig = HearingConfig()
    answering: AnsweringConfig = AnsweringConfig()
    pools: PoolsConfig = PoolsConfig()
    routes: RoutesConfig = RoutesConfig()
    failover: FailoverConfig = FailoverConfig()
    knowledge: KnowledgeConfig = KnowledgeConfig()
    scaling: ScalingConfig = ScalingConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    topology: TopologyConfig = TopologyConfig()
