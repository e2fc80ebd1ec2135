"""Checks whether secrets are named and, on the machine that needs them, set. No secret is shown."""

from __future__ import annotations

from collections.abc import Iterator

from cluster.preflight.finding import Finding, Inspection, Rule
from cluster.render.environment import secret_variables

SHORTEST_KEY = 16


def _named_secrets_are_set(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_here:
        return
    for name in secret_variables(inspection.config):
        if not inspection.environment.get(name):
            yield Finding(
                "secret-missing",
                f"the variable {name} is not set, and the configuration names it as the holder of a secret",
                "replicas end at their start",
                f"set {name} (on Kubernetes: the key {name} of the secret "
                f"{inspection.config.topology.secrets.environment})",
            )


def _key_of_clients_is_not_guessable(inspection: Inspection) -> Iterator[Finding]:
    name = inspection.config.gateway.api_key_env
    key = inspection.environment.get(name, "") if name else ""
    if key and len(key) < SHORTEST_KEY:
        yield Finding(
            "weak-key",
            f"the clients' key in {name} has {len(key)} characters",
            "strangers who try enough keys can place calls",
            f"at least {SHORTEST_KEY} characters, made by a generator",
        )


def _secrets_are_different(inspection: Inspection) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for name in secret_variables(inspection.config):
        value = inspection.environment.get(name, "")
        if value and value in seen:
            yield Finding(
                "shared-secret",
                f"{name} and {seen[value]} hold the same secret",
                "whoever learns one has both, and rotating one breaks the other",
                "a separate secret for each",
            )
        seen.setdefault(value, name)


def _services_on_the_network_ask_for_a_secret(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.is_on_nodes:
        return
    services = inspection.config.services
    for key, name in (
        ("services.redis.password_env", services.redis.password_env),
        ("services.milvus.token_env", services.milvus.token_env),
        ("services.sql.password_env", services.sql.password_env),
    ):
        if not name:
            yield Finding(
                "open-service",
                f"{key} is empty, so the service is used without a secret",
                "every machine of the network reads what callers said and what the company knows",
                f"the name of the variable that holds it in {key}",
            )


RULES: tuple[Rule, ...] = (
    _named_secrets_are_set,
    _key_of_clients_is_not_guessable,
    _secrets_are_different,
    _services_on_the_network_ask_for_a_secret,
)
