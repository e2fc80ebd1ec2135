"""Rows of a SQL query, fetched in batches with a cursor of the server's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from cluster.config.environment import process_environment, secret
from ingest_jobs.dataset import SqlSource
from pipelines.errors import ConfigError


def query_rows(source: SqlSource) -> Iterator[dict[str, Any]]:
    """Yield the rows of the source's query as dictionaries by column name.

    Raises:
        ConfigError: the database cannot be reached, or the query is wrong; the message holds no password.
    """
    try:
        url = make_url(source.url)
        if password := secret(process_environment(), source.password_env, needed_by=f"source {source.name}"):
            url = url.set(password=password)
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect().execution_options(stream_results=True, yield_per=source.batch_rows) as connection:
            for row in connection.execute(text(source.query)).mappings():
                yield dict(row)
    except ModuleNotFoundError as error:
        raise ConfigError(f"source {source.name}: the driver {error.name} is not installed") from error
    except (SQLAlchemyError, ArgumentError) as error:
        reason = str(getattr(error, "orig", "") or type(error).__name__)
        raise ConfigError(f"source {source.name}: {reason.splitlines()[0]}") from error
