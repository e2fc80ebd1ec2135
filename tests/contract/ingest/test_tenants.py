"""Two tenants with the same texts, ids and persons on one alias: what one does leaves the other's rows as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.stores.change_log import DocumentChange
from ingest_jobs.knowledge.operate.erasure import erase
from ingest_jobs.knowledge.operate.follow import Follower
from pipelines.errors import ConfigError
from tests.contract.ingest.test_job import act
from tests.contract.ingest.workshop import TABLE, CountingEncoder, Workshop

pytestmark = [pytest.mark.contract, pytest.mark.timeout(180)]

STEPS = st.lists(
    st.sampled_from(["edit", "rewrite", "force", "rollback", "erase", "put", "delete"]), min_size=2, max_size=4
)
TURNS = st.lists(st.sampled_from(["alpha", "beta"]), min_size=4, max_size=4)
_examples = iter(range(10_000))


def take(workshop: Workshop, step: str, number: int) -> None:
    """Do one step as the workshop's tenant."""
    if step == "edit":
        workshop.write_notes(1, say=f"is{number}")
        workshop.run()
    elif step == "rewrite":
        workshop.write_notes(6, say=f"has{number}")
        workshop.run()
    elif step == "force":
        workshop.run(is_forced=True)
    elif step == "rollback":
        try:
            act(workshop, "rollback")
        except ConfigError:
            return  # nothing to go back to
    elif step == "erase":
        erase([workshop.store()], workshop.blobs, [], workshop.tenant, "ann")
    else:
        follower = Follower(workshop.request(), CountingEncoder())
        text = f"{workshop.tenant} says {number}."
        follower.log.append(DocumentChange(workshop.tenant, "note0001.md", step, text=text))  # type: ignore[arg-type]
        follower.apply_waiting()
        follower.close()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, TURNS)
def test_no_step_of_one_tenant_touches_the_other(workshop: Workshop, steps: list[str], turns: list[str]) -> None:
    number = next(_examples)
    shop = Workshop(workshop.root / str(number), workshop.uri, f"{workshop.alias}_{number}", workshop.redis_url)
    Path(shop.root).mkdir()
    for tenant in ("alpha", "beta"):
        shop.tenant = tenant
        shop.describe(TABLE)
        shop.write_notes(6)
        shop.write_people([("1", "ann", "Ann wrote a letter."), ("2", "ben", "Ben wrote one.")])
        shop.run()
    assert {r["text"] for r in shop.rows(tenant="alpha").values()} == {r["text"] for r in shop.rows().values()}
    for count, (step, tenant) in enumerate(zip(steps, turns, strict=False)):
        shop.tenant = tenant
        other = "beta" if tenant == "alpha" else "alpha"
        before = shop.rows(tenant=other)
        take(shop, step, count)
        assert shop.rows(tenant=other) == before, (step, tenant)
        assert shop.store().rows.count(shop.store().live_collection() or "", tenant) > 0


@pytest.mark.parametrize("tenant", ['alpha" or tenant != "', "a b", ""])
def test_name_that_could_break_out_of_the_filter_erases_nothing(workshop: Workshop, tenant: str) -> None:
    workshop.write_notes(2)
    workshop.run()
    before = workshop.rows()
    with pytest.raises(Exception, match="tenant name"):
        erase([workshop.store()], workshop.blobs, [], tenant, "ann")
    assert workshop.rows() == before
