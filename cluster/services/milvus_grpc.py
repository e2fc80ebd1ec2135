"""gRPC settings of every connection to Milvus."""

from __future__ import annotations

# pymilvus pings an idle connection every 10 s. milvus-lite's server treats that as abuse and closes the connection
# (GOAWAY, "too_many_pings"), so the next question after a silence would have to wait for a new one.
GRPC_OPTIONS = {"grpc.keepalive_time_ms": 330_000, "grpc.keepalive_permit_without_calls": False}
