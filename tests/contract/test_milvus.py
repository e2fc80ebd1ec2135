"""Collections, alias and hybrid search against a real milvus-lite server."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.expressions import of_tenant
from deployments.engines.milvus.retriever import MilvusRetriever, RetrievalTiming
from deployments.engines.milvus.schema import IndexedPassage, pack_vectors, row_of, unpack_vectors
from deployments.engines.milvus.versions import Building, HistoryEntry, VersionStore
from pipelines.errors import EngineError
from pipelines.language.en.sentences import sentences
from pipelines.language.en.terms import content_words
from pipelines.ports import RetrievalQuery
from tests.contract.engines.port_contracts import RetrieverContract
from tests.contract.milvus_server import milvus_server

pytestmark = pytest.mark.contract

DIMENSIONS = 64


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


def passage(text: str, tenant: str = "alpha", title: str = "Note") -> IndexedPassage:
    encoder = WordEncoder()
    return IndexedPassage(
        key=hashlib.sha256(f"{tenant}{text}".encode()).hexdigest()[:32],
        tenant=tenant,
        title=title,
        text=text,
        source="note.md",
        updated_at="2026-01-01",
        vector=encoder.encode([text])[0],
        sentence_vectors=encoder.encode(sentences(text)),
    )


def build(store: VersionStore, texts: list[str], tenant: str = "alpha", fingerprint: str = "f1") -> str:
    previous = store.live_collection() or ""
    name = store.begin(Building(tenant, fingerprint, "test", 0.0), DIMENSIONS)
    store.rows.write(name, [row_of(passage(text, tenant)) for text in texts])
    assert store.seal(name, tenant) == len(set(texts))
    store.set_history(name, tenant, [HistoryEntry("full", "test", 0.0, previous=previous)])
    store.switch(name)
    return name


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with milvus_server(tmp_path_factory.mktemp("milvus")) as address:
        yield address


@pytest.fixture
def alias(request: pytest.FixtureRequest) -> str:
    return "t_" + hashlib.sha256(request.node.name.encode()).hexdigest()[:10]


@pytest.fixture
def store(uri: str, alias: str) -> Iterator[VersionStore]:
    opened = VersionStore(uri, alias)
    yield opened
    opened.close()


@pytest.fixture
async def retriever(uri: str, alias: str) -> AsyncIterator[MilvusRetriever]:
    opened = MilvusRetriever(uri, alias, WordEncoder(), settings=MilvusSettings())
    yield opened
    await opened.aclose()


async def texts_found(retriever: MilvusRetriever, text: str, tenant: str = "alpha") -> list[str]:
    found = await retriever.search(RetrievalQuery(tenant, text, limit=3, budget_ms=10_000))
    return [p.text for p in found]


async def test_passage_is_found_with_its_scores(store: VersionStore, retriever: MilvusRetriever) -> None:
    build(store, ["Tents carry a warranty. Boots do not.", "Shipping takes three days.", "Order FH-1042 has shipped."])
    found = await retriever.search(RetrievalQuery("alpha", "tent warranty", limit=2, budget_ms=10_000))
    assert found[0].text == "Tents carry a warranty. Boots do not."
    assert (found[0].source, found[0].title, found[0].updated_at) == ("note.md", "Note", "2026-01-01")
    assert 0.5 < found[0].similarity <= 1.0
    assert found[0].matched_terms == 1.0
    assert len(found[0].sentence_similarities) == 2
    assert found[0].sentence_similarities[0] > found[0].sentence_similarities[1]


async def test_code_is_found_by_its_number_alone(store: VersionStore, retriever: MilvusRetriever) -> None:
    build(store, [f"Order FH-{number} has shipped." for number in range(1000, 1060)])
    assert (await texts_found(retriever, "where is order 1042"))[0] == "Order FH-1042 has shipped."


async def test_tenants_never_see_each_other(store: VersionStore, retriever: MilvusRetriever) -> None:
    build(store, ["The alpha vault code is red."], "alpha")
    build(store, ["The beta vault code is blue."], "beta")
    assert await texts_found(retriever, "vault code", "alpha") == ["The alpha vault code is red."]
    assert await texts_found(retriever, "vault code", "beta") == ["The beta vault code is blue."]
    assert await texts_found(retriever, "vault code", "gamma") == []


@pytest.mark.parametrize("tenant", ['x" or tenant != "', "", "a b", "a'", "x" * 65, "\u00e9"])
def test_tenant_name_cannot_break_out_of_the_filter(tenant: str) -> None:
    with pytest.raises(EngineError):
        of_tenant(tenant)


async def test_switch_shows_the_new_data_at_once_and_keeps_one_version(
    store: VersionStore, retriever: MilvusRetriever
) -> None:
    first = build(store, ["The shop closes at eight."], fingerprint="one")
    assert await texts_found(retriever, "shop closes") == ["The shop closes at eight."]
    second = build(store, ["The shop closes at nine."], fingerprint="two")
    assert await texts_found(retriever, "shop closes") == ["The shop closes at nine."]
    assert store.fingerprint(second, "alpha") == "two"
    third = store.begin(Building("alpha", "three", "test", 0.0), DIMENSIONS)
    store.rows.write(third, [row_of(passage("The shop closes at ten."))])
    assert await texts_found(retriever, "shop closes") == ["The shop closes at nine."]
    assert list(store.unfinished()) == [third]
    store.seal(third, "alpha")
    store.set_history(third, "alpha", [HistoryEntry("full", "test", 0.0, previous=second)])
    store.switch(third)
    assert store.prune() == [first]
    assert store.versions() == [second, third]
    assert store.live_collection() == third


async def test_writing_twice_leaves_one_row(store: VersionStore) -> None:
    name = store.begin(Building("alpha", "f", "test", 0.0), DIMENSIONS)
    for _ in range(2):
        store.rows.write(name, [row_of(passage("One fact."))])
    assert store.seal(name, "alpha") == 1


async def test_slow_search_is_given_up_and_counted(uri: str, store: VersionStore, alias: str) -> None:
    build(store, ["A fact."])
    timings: list[RetrievalTiming] = []
    retriever = MilvusRetriever(uri, alias, WordEncoder(), settings=MilvusSettings(), on_timing=timings.append)
    with pytest.raises(EngineError) as failure:
        await retriever.search(RetrievalQuery("alpha", "fact", limit=3, budget_ms=0))
    assert failure.value.retryable
    assert timings[0].is_over_budget
    await retriever.aclose()


async def test_missing_index_is_an_engine_error(retriever: MilvusRetriever) -> None:
    with pytest.raises(EngineError):
        await retriever.search(RetrievalQuery("alpha", "fact", limit=3, budget_ms=10_000))


def test_sentence_vectors_survive_packing() -> None:
    vectors = WordEncoder().encode(["tents", "boots", "stoves"])
    unpacked = unpack_vectors(pack_vectors(vectors), DIMENSIONS)
    assert unpacked.shape == vectors.shape
    assert np.abs(unpacked - vectors).max() < 0.01


def test_oversized_sentence_vectors_are_cut_to_the_column() -> None:
    vectors = np.tile(WordEncoder().encode(["tents"]), (2000, 1))
    packed = pack_vectors(vectors)
    assert len(packed) <= 65_535
    assert len(unpack_vectors(packed, DIMENSIONS)) < 2000


class TestMilvusRetriever(RetrieverContract):
    @pytest.fixture
    async def engine(self, uri: str, alias: str, store: VersionStore) -> AsyncIterator[MilvusRetriever]:
        build(store, [self.KNOWN, "Shipping takes three days.", "Boots are repaired."], self.TENANT)
        opened = MilvusRetriever(uri, alias, WordEncoder(), settings=MilvusSettings())
        yield opened
        await opened.aclose()
