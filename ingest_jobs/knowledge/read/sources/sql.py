"""Rows of a SQL query, fetched in batches with a server-side cursor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from cluster.config.environment import process_environment, secret
from ingest_jobs.knowledge.read.dataset import SqlSource
from pipelines.errors import ConfigError


def query_rows(source: SqlSource) -> Iterator[dict[str, Any]]:
    """Yield the rows of the source's query as dictionaries by column name.

    Raises:
        ConfigError: the database cannot be reached or the query is wrong. The message contains no password.
    """
    with _connected(source) as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=source.batch_rows)
        for row in streaming.execute(text(source.query)).mappings():
            yield dict(row)


def count_rows(source: SqlSource) -> int:
    """Return how many rows the source's query has.

    Raises: as `query_rows`.
    """
    with _connected(source) as connection:
        query = source.query.strip().rstrip(";")
        return int(connection.execute(text(f"SELECT count(*) FROM ({query}) AS counted")).scalar_one())


@contextmanager
def _connected(source: SqlSource) -> Iterator[Connection]:
    try:
        url = make_url(source.url)
        if password := secret(process_environment(), source.password_env, needed_by=f"source {source.name}"):
            url = url.set(password=password)
        with create_engine(url, poolclass=NullPool).connect() as connection:
            yield connection
    except ModuleNotFoundError as error:
        raise ConfigError(f"source {source.name}: the driver {error.name} is not installed") from error
    except (SQLAlchemyError, ArgumentError) as error:
        reason = str(getattr(error, "orig", "") or type(error).__name__)
        raise ConfigError(f"source {source.name}: {reason.splitlines()[0]}") from error
