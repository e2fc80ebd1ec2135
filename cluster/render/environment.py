"""The environment switches of Ray and Serve: the same in every render, since a node that differs misbehaves quietly.

They must be in force when `ray start` runs, on every node: a runtime environment comes too late for them.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from cluster.config.schema import VoxrayConfig
from cluster.render.times import call_times

HAPROXY_THREADS = 1
HAPROXY_MAX_CONNECTIONS = 4096
METRIC_PUSH_INTERVAL_S = 2

# What a driver needs besides the address and the token; `RAY_SERVE_*` must be the same in every user of a handle.
DRIVER_SWITCHES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}


def node_environment(config: VoxrayConfig) -> dict[str, str]:
    """Return the switches of every node of a cluster, wherever it runs. No secret is among them."""
    times = call_times(config)
    push_s = str(METRIC_PUSH_INTERVAL_S)
    return {
        **DRIVER_SWITCHES,
        # A replica change makes HAProxy reload; the old process then cuts its sockets after this time.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(times.haproxy_hard_stop_s),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(times.haproxy_client_s),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(HAPROXY_THREADS),
        "RAY_SERVE_HAPROXY_MAXCONN": str(HAPROXY_MAX_CONNECTIONS),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(times.drain_s),
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(times.drain_s),
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": push_s,
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": push_s,
        # Serve replaces a proxy that has not said "ready" in 5 s: on a busy machine that never ends.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        # A constructor that fails twice fails always; with models that take a minute to load, say so soon.
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "2",
        # A roll-out whose first replicas fail must stop there, with the old ones serving.
        "RAY_SERVE_STOP_FAILED_ROLLING_UPDATES": "1",
        # Longer than a new head takes to come: until then calls go on without it.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "900",
        # A node that is told to end (SIGTERM) lets its replicas drain first.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(times.gateway_shutdown_s),
        # Compaction moves replicas between nodes; a gateway's calls would move with it, that is: end.
        "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "0",
        # Replicas have an environment of their own, so workers started in advance would never be used.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # What callers say stays out of logs, and nothing calls the internet.
        "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def redis_address(config: VoxrayConfig) -> str:
    """Return where Ray keeps the head's state, as Ray takes it: without database and options. "" for none."""
    url = config.services.redis.url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}" if url else ""


def secret_variables(config: VoxrayConfig) -> tuple[str, ...]:
    """Return the names of the variables that hold secrets and that every node needs, sorted."""
    services = config.services
    passwords = (services.redis.password_env, services.milvus.token_env, services.sql.password_env)
    named = (config.gateway.api_key_env, *passwords)
    return tuple(sorted({name for name in named if name}))
