"""The configuration tree. Every default is defined once: here, or in the type that uses it, to which this refers.

Nothing here has side effects: no path is created, no address resolved and no environment read (see `environment.py`).
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

# The product's own types are documented where they are defined. Here they are only made configurable.
_PASSWORD = "Name of the variable that holds the password."
_TURN, _LINK, _SCALING = TurnDetection(), LinkPatience(), ApplicationLimits({})


class PathsConfig(Section):
    """Folders and files on this machine."""

    state: Path | None = Field(
        default=None, description="Folder for the data of a local cluster; null for one beside the project."
    )
    models: Path | None = Field(
        default=None, description="Folder of the model weights; null for one in the user's cache."
    )
    catalog: Path | None = Field(
        default=None, description="File with your own models, which extend or override those of the shipped catalog."
    )
    agents: Path | None = Field(
        default=None,
        description="Folder of the agents' files (docs/agents.md); null for `agents` in the working directory, else the"
        " sample company's.",
    )
    mirror: str = Field(
        default="",
        pattern=r"^(s3://[^/]+(/.*)?)?$",
        description="Copy of the models made by `voxray models mirror` (s3://BUCKET/PREFIX), from which all are"
        " fetched. If empty, each is fetched from its own source.",
    )


class RayConfig(Section):
    """The Ray cluster that Voxray starts or joins."""

    address: str = Field(
        default="", description="Address of an existing Ray cluster. If empty, a local head is started on loopback."
    )
    num_cpus: int = Field(
        default=16,
        ge=1,
        description="Logical CPUs of a local head, which may exceed the real ones since replicas are mostly idle.",
    )
    object_store_bytes: int = Field(
        default=256 * 1024 * 1024, ge=80 * 1024 * 1024, description="Size of the object store of a local head."
    )
    neuron_cores: int = Field(
        default=0, ge=0, description="NeuronCores that a local head pretends to have, for rehearsals."
    )
    dashboard_port: Port = Field(default=0, description="Port of a local head's dashboard; 0 for a free one.")
    dashboard_url: str = Field(
        default="", description="URL of the head's REST API, for `voxray deploy` to an existing cluster."
    )
    token_env: str = Field(default="", description="Name of the variable with the token of an existing cluster.")
    start_timeout_s: float = Field(default=120, gt=0, description="Longest wait for a local head to start.")
    deploy_timeout_s: float = Field(
        default=600, gt=0, description="Longest wait for the applications from submission until they serve."
    )


class IngressConfig(Section):
    """The WebSocket and HTTP front end."""

    host: str = Field(default="127.0.0.1", description="Address that the ingress listens on.")
    port: Port = Field(
        default=0, description="Port that the ingress listens on; 0 for a free one, which is kept between starts."
    )
    longest_call_s: int = Field(
        default=3600,
        ge=60,
        description="Longest duration of a call. Parts that shut down wait this long for their calls.",
    )
    drain_s: int = Field(default=30, ge=1, description="How long a gateway that is removed keeps its calls.")


class RedisConfig(Section):
    """The Redis server of the cluster."""

    url: str = Field(default="", description="URL without a password. If empty, a local server is started.")
    password_env: str = Field(default="", description=_PASSWORD)


class MilvusConfig(Section):
    """Milvus, the vector store."""

    uri: str = Field(default="", description="URI of the server. If empty, a local milvus-lite is started.")
    token_env: str = Field(default="", description="Name of the variable that holds the token.")
    alias: str = Field(default="knowledge", description="Name of the live collection.")


class SqlConfig(Section):
    """The relational database."""

    url: str = Field(
        default="", description="SQLAlchemy URL without a password. If empty, SQLite in the state folder is used."
    )
    password_env: str = Field(default="", description=_PASSWORD)


class ObjectsConfig(Section):
    """The object store."""

    url: str = Field(
        default="", description="URL of a bucket (s3://...). If empty, a folder in the state folder is used."
    )


class ServicesConfig(Section):
    """The stores beside the cluster."""

    redis: RedisConfig = RedisConfig()
    milvus: MilvusConfig = MilvusConfig()
    sql: SqlConfig = SqlConfig()
    objects: ObjectsConfig = ObjectsConfig()
    start_timeout_s: float = Field(default=30, gt=0, description="Longest wait for a local service to start.")


class GatewaySettings(Section):
    """Settings of a gateway's process."""

    speculate_up_to_calls: int = Field(
        default=16, ge=0, description="Calls that begin while more than this are open do not answer speculatively."
    )
    max_calls: int = Field(
        default=200, ge=1, description="Most calls per replica. Further ones are refused with a reason."
    )
    speech_detector: SpeechDetectorSettings = Field(
        default_factory=lambda: default_settings(Component.SPEECH_DETECTOR),
        description="Engine that detects speech in the audio.",
    )
    turn_detector: TurnDetectorSettings = Field(
        default_factory=lambda: default_settings(Component.TURN_DETECTOR),
        description="Engine that judges whether the caller has finished.",
    )
    api_key_env: str = Field(
        default="",
        description="Name of the variable with the bearer key that clients must present; "
        "empty for none (loopback only).",
    )
    idle_timeout_s: int = Field(
        default=900, ge=1, description="Time without any message after which a socket is closed."
    )
    default_agent: str = Field(
        default="", description="Agent for calls that name none. If empty, the one called `default`, or the only one."
    )


class GatewayConfig(GatewaySettings):
    """The gateways: their settings, and how they are placed on the cluster."""

    threads: int = Field(default=1, ge=1, description="Number of CPU threads for numerical libraries.")
    replicas: ReplicaConfig = ReplicaConfig(max_ongoing_requests=500)


class TurnConfig(Section):
    """Server defaults for turn detection. A client's session.update overrides what the protocol allows."""

    vad_threshold: Fraction = Field(
        default=_TURN.threshold, description="Probability from which a frame counts as speech."
    )
    prefix_padding_ms: int = Field(
        default=_TURN.prefix_padding_ms, ge=0, le=5000, description="Amount of audio kept from before the first speech."
    )
    min_speech_ms: int = Field(
        default=_TURN.min_speech_ms, ge=32, description="Speech shorter than this counts as noise."
    )
    min_silence_ms: int = Field(
        default=_TURN.min_silence_ms,
        ge=32,
        description="Silence after which a turn ends at the earliest, if the turn model is sure.",
    )
    max_silence_ms: int = Field(
        default=_TURN.max_silence_ms,
        ge=100,
        description="Silence after which a turn ends at the latest, whatever the turn model says.",
    )
    silence_duration_ms: int = Field(
        default=_TURN.silence_duration_ms,
        ge=100,
        description="Silence that ends a turn for clients that request server_vad, which has no turn model.",
    )
    speculation_silence_ms: int = Field(
        default=_TURN.speculation_silence_ms,
        ge=32,
        description="Silence after which speech is recognised and an answer drafted, in case the turn is over.",
    )
    completion_threshold: Fraction = Field(
        default=_TURN.completion_threshold, description="Probability from which the turn model counts as sure."
    )
    max_utterance_s: int = Field(default=60, ge=5, description="Length after which continuous speech is cut.")

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
    """The link between a gateway and a streaming recogniser (docs/speech-recognition.md, "Stage link")."""

    tick_ms: int = Field(
        default=_LINK.tick_ms,
        ge=5,
        le=100,
        description="How long the audio of all calls is collected before it is sent.",
    )
    answer_s: float = Field(
        default=_LINK.answer_s, gt=0, description="Time after which an answer is requested from another replica."
    )
    wait_s: float = Field(
        default=_LINK.wait_s,
        gt=0,
        description="Time after which a text is given up, whether several replicas were tried or there was none.",
    )


class HearingConfig(Section):
    """How callers' speech is sent to recognisers."""

    partial_interval_ms: int = Field(
        default=700,
        ge=100,
        description="Amount of new audio after which an utterance is sent again to a recogniser of whole utterances.",
    )
    link: StageLinkConfig = StageLinkConfig()


class AnsweringConfig(Section):
    """The limits of an answer."""

    passages: int = Field(default=6, ge=1, le=50, description="Number of passages that one search returns.")
    retrieval_budget_ms: int = Field(
        default=400,
        ge=10,
        description="Time for a search, after which the caller is told that the records cannot be reached.",
    )
    max_tokens: int = Field(
        default=64, ge=1, description="Most tokens that the language model may generate for an answer."
    )
    first_clause_budget_ms: int = Field(
        default=800,
        ge=50,
        description="Time for the model's first clause, after which the passage's own sentence is spoken.",
    )


class KnowledgeConfig(Section):
    """How business data is indexed (docs/ingest.md)."""

    live_updates: bool = Field(
        default=False,
        description="Whether `voxray up` starts the job that applies live updates of documents (400 MB of memory).",
    )
    bulk_url: str = Field(
        default="",
        pattern=r"^(s3://[^/]+(/.*)?)?$",
        description="Bucket and root path of Milvus's own object storage, through which large builds are imported. If"
        " empty, they are written row by row.",
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
        description="What decides the number of replicas: `ray` uses each deployment's ongoing requests, `calls` uses"
        " one budget of calls for all.",
    )
    lead_s: float = Field(
        default=_SCALING.lead_s,
        ge=0,
        description="Time from ordering a replica until it serves, including the start of its machine.",
    )
    headroom: float = Field(
        default=_SCALING.headroom, ge=0, description="Share of the expected calls for which extra room is kept free."
    )
    deviations: float = Field(
        default=_SCALING.deviations,
        ge=0,
        description="Room kept free for chance, in standard deviations of a Poisson count.",
    )
    warm_calls: int = Field(
        default=0,
        ge=0,
        description="Number of calls for which room is kept free on top of all else, for the unforeseeable.",
    )
    hold_s: float = Field(
        default=_SCALING.hold_s, ge=0, description="How long replicas are kept after the calls no longer need them."
    )
    period_s: float = Field(default=_SCALING.period_s, gt=0, description="Time between two decisions.")
    ceiling_per_hour: float = Field(
        default=0, ge=0, description="Maximum cost of all replicas together per hour; 0 for no ceiling."
    )
    schedule: tuple[ScheduledCalls, ...] = Field(default=(), description="Numbers of calls that are known in advance.")
    utc_offset_min: int = Field(
        default=0, ge=-720, le=840, description="Time zone of the schedule, in minutes east of UTC."
    )
    variant_idle_s: float = Field(
        default=600, gt=0, description="Time without use after which a tenant's variant of a stage is scaled to zero."
    )
    gpu_isolation: Literal["time-slice", "mps", "mig"] = Field(
        default="time-slice", description="How replicas that share a GPU are isolated from each other."
    )


class TelemetryConfig(Section):
    """Logging of the processes."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Minimum severity of logged messages."
    )


class VoxrayConfig(Section):
    """The whole configuration tree."""

    profile: Literal["embedded", "nvidia", "inferentia", "scripted"] = Field(
        default="embedded", description="Profile that provides the base values."
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
