"""Probes services that somebody else runs. They are never started, only asked whether they answer."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.config.environment import secret
from cluster.config.schema import MilvusConfig, RedisConfig
from cluster.services.errors import ServiceError
from cluster.services.milvus_grpc import GRPC_OPTIONS

PROBE_TIMEOUT_S = 5.0


def probe_redis(config: RedisConfig, environment: Mapping[str, str]) -> None:
    """Ask a configured Redis for a PONG.

    Raises:
        ServiceError: it does not answer, or refuses us.
        ConfigError: the variable with its password is not set.
    """
    import redis

    password = secret(environment, config.password_env, needed_by="services.redis") if config.password_env else None
    client = redis.Redis.from_url(
        config.url, password=password, socket_timeout=PROBE_TIMEOUT_S, socket_connect_timeout=PROBE_TIMEOUT_S
    )
    try:
        client.ping()
    except redis.RedisError as error:
        raise ServiceError("redis", f"{config.url} (services.redis.url): {error}") from error
    finally:
        client.close()


def probe_milvus(config: MilvusConfig, environment: Mapping[str, str]) -> None:
    """Ask a configured Milvus for its collections.

    Raises:
        ServiceError: it does not answer, or refuses us.
        ConfigError: the variable with its token is not set.
    """
    from pymilvus import MilvusClient, MilvusException

    token = secret(environment, config.token_env, needed_by="services.milvus") if config.token_env else ""
    try:
        client = MilvusClient(config.uri, token=token, timeout=PROBE_TIMEOUT_S, grpc_options=GRPC_OPTIONS)
        try:
            client.list_collections()
        finally:
            client.close()
    except MilvusException as error:
        raise ServiceError("milvus", f"{config.uri} (services.milvus.uri): {error.message}") from error


def probe_sql(url: str) -> None:
    """Connect once to a configured database.

    Raises:
        ServiceError: it does not answer, refuses us, or its driver is not installed.
    """
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(url)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        shown = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
        raise ServiceError("sql", f"{shown} (services.sql.url): {error}") from error
