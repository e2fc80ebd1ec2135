"""Tenants with the same texts: whatever one asks, filters or repeats, nothing of another comes or changes."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.fields import as_property, lay_out_fields, of_property
from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalReport
from deployments.engines.milvus.schema import IndexedPassage, row_of
from deployments.engines.milvus.versions import Building, VersionStore
from pipelines.errors import EngineError
from pipelines.language.en.terms import content_words
from pipelines.ports import FieldCondition, PassageFilter, RetrievalQuery
from tests.contract.milvus_server import milvus_server

pytestmark = pytest.mark.contract

DIMENSIONS = 32
ALIAS = "shared"
TENANTS = ("alpha", "beta", "gamma")
TEXTS = [
    "The vault code is red. Ask the manager.",
    "Tents carry a warranty of two years.",
    "Order FH-1042 has shipped to Duluth.",
    "Boots are repaired in the Boulder store.",
    "Shipping takes three days and costs six dollars.",
]
TRICKS = [
    'x" or tenant != "', '"] or tenant in ["beta', "alpha/0.md", "beta/0.md", '\\', '\\"', '" or 1==1 or "', "%", "*",
    "'", 'tenant == "beta"', "beta/0.md\" or source == \"beta/1.md",
]  # fmt: skip

QUESTIONS = st.one_of(
    st.lists(st.sampled_from(sorted({w for t in TEXTS for w in t.split()})), min_size=1, max_size=6).map(" ".join),
    st.sampled_from([*TEXTS, *TRICKS]),
    st.text(max_size=40),
)
SOURCES = st.lists(
    st.one_of(st.builds("{}/{}.md".format, st.sampled_from(TENANTS), st.integers(0, 4)), st.sampled_from(TRICKS)),
    max_size=3,
).map(tuple)
FILTERS = st.builds(
    PassageFilter,
    sources=SOURCES,
    updated_from=st.sampled_from(["", "2025-01-01", '2025-01-01" or tenant != "']),
    updated_until=st.sampled_from(["", "2026-12-31", "2020-01-01"]),
    fields=st.lists(
        st.builds(
            FieldCondition,
            field=st.sampled_from(["kind", "size", "tenant", "text_1", 'kind" or tenant != "']),
            operator=st.sampled_from(["==", "!=", "<", "in", "or"]),
            values=st.lists(st.sampled_from(["note", "3", *TRICKS]), min_size=1, max_size=2).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)
DECLARED = as_property(lay_out_fields({"kind": "text", "size": "number"}))


class WordEncoder:
    """A real, if crude, encoder: each content word is a fixed random direction, a text is their sum."""

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> NDArray[np.float32]:
        total = np.full(DIMENSIONS, 1e-3)
        for word in content_words(text):
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
            total += np.random.default_rng(seed).normal(size=DIMENSIONS)
        return (total / np.linalg.norm(total)).astype(np.float32)


def rows_of(tenant: str, texts: list[str]) -> list[IndexedPassage]:
    encoder = WordEncoder()
    vectors = encoder.encode(texts)
    return [
        IndexedPassage(
            f"{tenant}{n}",
            tenant,
            f"Note {n}",
            text,
            f"{tenant}/{n}.md",
            "2026-01-01",
            vector,
            vector[None],
            columns={"text_1": "note", "number_1": float(n)},
        )
        for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]


def index(uri: str, tenant: str, texts: list[str]) -> None:
    store = VersionStore(uri, ALIAS)
    building = Building(tenant, f"{tenant}{len(texts)}", "test", 0.0)
    name = store.begin(building, DIMENSIONS, fields=of_property(DECLARED))
    store.rows.write(name, [row_of(passage) for passage in rows_of(tenant, texts)])
    store.seal(name, tenant)
    store.switch(name)
    store.close()


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        for tenant in TENANTS:
            index(address, tenant, TEXTS)
        yield address


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def retriever(uri: str, loop: asyncio.AbstractEventLoop) -> Iterator[MilvusRetriever]:
    async def opened() -> MilvusRetriever:
        return MilvusRetriever(uri, ALIAS, WordEncoder(), settings=MilvusSettings(cached_vectors=8))

    made = loop.run_until_complete(opened())
    yield made
    loop.run_until_complete(made.aclose())


def ask(
    loop: asyncio.AbstractEventLoop, retriever: MilvusRetriever, query: RetrievalQuery
) -> RetrievalReport | EngineError:
    try:
        return loop.run_until_complete(retriever.report(query))
    except EngineError as error:
        return error


@given(
    query=st.builds(RetrievalQuery, st.sampled_from(TENANTS), QUESTIONS, st.integers(1, 20), st.just(20_000), FILTERS)
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_question_or_filter_reaches_another_tenant(
    loop: asyncio.AbstractEventLoop, retriever: MilvusRetriever, query: RetrievalQuery
) -> None:
    tenant, only = query.tenant, query.only
    result = ask(loop, retriever, query)
    if isinstance(result, EngineError):
        # Only what is no filter is refused; nothing that Milvus rejects may have reached it.
        assert "Milvus" not in str(result)
        return
    assert {p.source.partition("/")[0] for p in result.passages} <= {tenant}
    if only.sources:
        assert {p.source for p in result.passages} <= set(only.sources)


@given(tenant=st.text(max_size=20).filter(lambda name: name not in TENANTS))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_name_of_a_tenant_opens_the_data_of_others(
    loop: asyncio.AbstractEventLoop, retriever: MilvusRetriever, tenant: str
) -> None:
    result = ask(loop, retriever, RetrievalQuery(tenant, TEXTS[0], 20, 20_000))
    assert isinstance(result, EngineError) or not result.passages


@given(asked=st.lists(st.tuples(st.sampled_from(TENANTS), st.sampled_from(TEXTS[:3])), min_size=2, max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_one_tenant_asked_is_not_known_for_another(
    loop: asyncio.AbstractEventLoop, uri: str, asked: list[tuple[str, str]]
) -> None:
    async def play() -> None:
        retriever = MilvusRetriever(uri, ALIAS, WordEncoder(), settings=MilvusSettings())
        before: set[tuple[str, str]] = set()
        for tenant, text in asked:
            report = await retriever.report(RetrievalQuery(tenant, text, 3, 20_000))
            assert report.timing.is_cached == ((tenant, text) in before)
            before.add((tenant, text))
        await retriever.aclose()

    loop.run_until_complete(play())


def test_reindex_of_one_tenant_leaves_what_another_finds(
    loop: asyncio.AbstractEventLoop, uri: str, retriever: MilvusRetriever
) -> None:
    query = RetrievalQuery("beta", "vault code", 20, 20_000)

    def found() -> list[tuple[str, str]]:
        report = ask(loop, retriever, query)
        assert isinstance(report, RetrievalReport)
        return sorted((p.source, p.text) for p in report.passages)

    before = found()
    index(uri, "alpha", ["The vault code is blue."])
    assert found() == before
    assert len(before) == len(TEXTS)
