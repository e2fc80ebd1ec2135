"""The environment switches of Ray and Serve. Every render has the same ones, since a node that differs fails silently.

They must be set when `ray start` runs on every node, because a runtime environment would come too late.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from cluster.config.schema import VoxrayConfig
from cluster.render.times import call_times

HAPROXY_THREADS = 1
HAPROXY_MAX_CONNECTIONS = 4096
METRIC_PUSH_INTERVAL_S = 2

# What a driver needs besides address and token. `RAY_SERVE_*` must be the same in every process that uses a handle.
DRIVER_SWITCHES = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_USE_GRPC_BY_DEFAULT": "1",
}


def node_environment(config: VoxrayConfig) -> dict[str, str]:
    """Return the switches of every node of a cluster, wherever it runs. They contain no secrets."""
    times = call_times(config)
    push_s = str(METRIC_PUSH_INTERVAL_S)
    return {
        **DRIVER_SWITCHES,
        # HAProxy reloads when replicas change, and the old process cuts its sockets after this time.
        "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S": str(times.haproxy_hard_stop_s),
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(times.haproxy_client_s),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(HAPROXY_THREADS),
        "RAY_SERVE_HAPROXY_MAXCONN": str(HAPROXY_MAX_CONNECTIONS),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(times.drain_s),
        "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": str(times.drain_s),
        "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": push_s,
        "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": push_s,
        # By default Serve replaces a proxy that is not ready within 5 s, which on a busy machine would never end.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "30",
        # A constructor that fails twice always fails. Models take a minute to load, so give up early.
        "RAY_SERVE_MAX_PER_REPLICA_RETRY_COUNT": "2",
        # A roll-out must stop when its first replicas fail, while the old ones still serve.
        "RAY_SERVE_STOP_FAILED_ROLLING_UPDATES": "1",
        # Longer than it takes to replace the head, since calls continue without it until then.
        "RAY_gcs_rpc_server_reconnect_timeout_s": "900",
        # A node that receives SIGTERM lets its replicas drain first.
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(times.gateway_shutdown_s),
        # Compaction would move replicas between nodes, which would end the calls of a gateway.
        "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "0",
        # Replicas have their own environment, so prestarted workers would never be used.
        "RAY_enable_worker_prestart": "0",
        "RAY_prestart_worker_first_driver": "0",
        # Callers' speech stays out of logs, and nothing connects to the internet.
        "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def redis_address(config: VoxrayConfig) -> str:
    """Return the address of the head's state store as Ray expects it, without database and options; "" for none."""
    url = config.services.redis.url
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or 6379}" if url else ""


def secret_variables(config: VoxrayConfig) -> tuple[str, ...]:
    """Return the names of the variables that hold secrets and that every node needs, sorted."""
    services = config.services
    passwords = (services.redis.password_env, services.milvus.token_env, services.sql.password_env)
    named = (config.gateway.api_key_env, *passwords)
    return tuple(sorted({name for name in named if name}))
