"""Writes readable YAML: multi-line text as blocks, and no anchors or references."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - yaml's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_PlainDumper.add_representer(str, _text)


def yaml_text(tree: Any) -> str:
    """Return one document."""
    return str(yaml.dump(tree, Dumper=_PlainDumper, sort_keys=False, width=120))


def yaml_documents(trees: Iterable[Any]) -> str:
    """Return several documents as one file."""
    return str(yaml.dump_all(trees, Dumper=_PlainDumper, sort_keys=False, width=120, explicit_start=True))
