"""Declared fields from the sources to the filters of a search; documents that have expired are not found."""

from __future__ import annotations

import pytest

from deployments.engines.milvus import MilvusSettings
from deployments.engines.milvus.retriever import MilvusRetriever
from deployments.engines.scripted.encoder import ScriptedEncoder
from deployments.stores.change_log import DocumentChange
from ingest_jobs.knowledge.operate.follow import Follower
from pipelines.errors import EngineError
from pipelines.ports import FieldCondition, PassageFilter, RetrievalQuery
from tests.contract.ingest.workshop import CountingEncoder, Workshop

pytestmark = pytest.mark.contract

DESCRIPTION = (
    "fields: {category: text, price: number, since: date}\n"
    "tables: {shop.csv: {title: '{name}', fields: {price: usd}, sentences: [{say: 'The {name} is in stock.'}]}}\n"
    "path_fields: '^guides/(?P<category>[^/]+)/'\n"
)
TABLE = "name,category,usd,since\nTent,tents,249,2026-01-31\nBoot,boots,99.5,\nRope,ropes,,2026-03-01\n"


async def found(workshop: Workshop, *conditions: tuple[str, str, str], tenant: str = "default") -> set[str]:
    retriever = MilvusRetriever(workshop.uri, workshop.alias, ScriptedEncoder(), settings=MilvusSettings())
    fields = tuple(FieldCondition(name, operator, tuple(value.split(","))) for name, operator, value in conditions)
    try:
        query = RetrievalQuery(tenant, "what is in stock", 12, 20_000, PassageFilter(fields=fields))
        return {passage.title for passage in await retriever.search(query)}
    finally:
        await retriever.aclose()


async def test_search_is_filtered_by_the_fields_that_the_dataset_declares(workshop: Workshop) -> None:
    workshop.describe(DESCRIPTION)
    workshop.write("shop.csv", TABLE)
    workshop.write("guides/tents/care.md", "# Care\n\nWhat is in stock keeps dry.\n")
    workshop.run()
    assert await found(workshop) == {"Tent", "Boot", "Rope", "Care"}
    assert await found(workshop, ("category", "==", "tents")) == {"Tent", "Care"}
    assert await found(workshop, ("category", "in", "boots,ropes")) == {"Boot", "Rope"}
    assert await found(workshop, ("price", "<", "100")) == {"Boot"}
    assert await found(workshop, ("price", "!=", "249")) == {"Boot"}
    assert await found(workshop, ("since", ">=", "2026-02-01")) == {"Rope"}
    assert await found(workshop, ("category", "==", "tents"), ("price", ">", "200")) == {"Tent"}
    with pytest.raises(EngineError, match="declared are: category \\(text\\), price \\(number\\), since \\(date\\)"):
        await found(workshop, ("brand", "==", "x"))


async def test_live_update_has_fields_too(workshop: Workshop) -> None:
    workshop.describe(DESCRIPTION)
    workshop.write("shop.csv", TABLE)
    workshop.run()
    follower = Follower(workshop.request(), CountingEncoder())
    for doc, fields in (("new", '{"category": "tents", "price": 12}'), ("wrong", '{"price": "cheap"}')):
        follower.log.append(DocumentChange("default", doc, "put", title=doc, text="It is in stock.", fields=fields))
    last = follower.log.append(DocumentChange("default", "x", "put", text="It is in stock.", fields='{"size": 3}'))
    follower.apply_waiting()
    assert follower.log.state(last) == "refused: field size is not declared by the dataset"
    follower.close()
    assert await found(workshop, ("price", "<", "20")) == {"new"}


async def test_row_with_a_value_of_another_type_is_set_aside(workshop: Workshop) -> None:
    workshop.describe(DESCRIPTION + "limits: {max_failed_share: 0.5}\n")
    workshop.write("shop.csv", TABLE + "Lamp,lamps,cheap,\n")
    report = workshop.run()
    assert report.refusals == ["shop.csv#Lamp#0: field price is not a number"]


async def test_each_tenant_is_filtered_by_its_own_fields(workshop: Workshop) -> None:
    for tenant, description in (("alpha", DESCRIPTION), ("beta", "fields: {usd: number}\n")):
        workshop.tenant = tenant
        workshop.describe(description)
        workshop.write("shop.csv", TABLE)
        workshop.run(tenant=tenant)
    assert await found(workshop, ("price", "<", "100"), tenant="alpha") == {"Boot"}
    assert await found(workshop, ("usd", ">", "100"), tenant="beta") == {"Tent"}
    with pytest.raises(EngineError, match="does not declare"):
        await found(workshop, ("price", "<", "100"), tenant="beta")


async def test_document_is_not_found_from_the_day_on_which_it_expires(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.describe("tables: {p.csv: {title: '{name}', expires_at: until, sentences: [{say: '{name} in stock.'}]}}\n")
    workshop.write("p.csv", "name,until\nSoon,2090-01-02\nLater,2090-01-03\nNever,\n")
    workshop.run()
    assert await found(workshop) == {"Soon", "Later", "Never"}
    second_of_january_2090_s = 3_786_998_400.0 + 3600
    monkeypatch.setattr("deployments.engines.milvus.searches.time.time", lambda: second_of_january_2090_s)
    assert await found(workshop) == {"Later", "Never"}
