"""Translates faults in a client's message into the protocol's error codes and field paths."""

from __future__ import annotations

import re
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pipelines.errors import PeerError

_SALVAGE_CHARS: Final = 4096
_EVENT_ID: Final = re.compile(r'"event_id"\s*:\s*"([^"\\]{1,512})"')
_MISSING: Final = frozenset({"missing", "union_tag_not_found"})


def salvage_event_id(text: str | bytes) -> str | None:
    """Return the event id of a message that is not valid JSON, if its beginning or end still contains one."""
    for end in (text[:_SALVAGE_CHARS], text[-_SALVAGE_CHARS:]):
        found = _EVENT_ID.search(end if isinstance(end, str) else end.decode("utf-8", "replace"))
        if found:
            return found.group(1)
    return None


def peer_error_from(error: ValidationError, frame: object, event_id: str | None) -> PeerError:
    """Return the first fault in `frame` as the protocol reports it. The message never repeats the client's content."""
    detail = error.errors(include_url=False, include_context=True, include_input=False)[0]
    param = _field_path(detail, frame)
    if detail["type"] in _MISSING:
        return PeerError(
            "missing_required_parameter", f"Missing required parameter: '{param}'.", param=param, event_id=event_id
        )
    code = "invalid_type" if detail["type"].endswith("_type") else "invalid_value"
    return PeerError(code, f"Invalid '{param}': {_reason(detail)}.", param=param, event_id=event_id)


def _reason(detail: ErrorDetails) -> str:
    expected = detail.get("ctx", {}).get("expected_tags")
    if expected:
        return f"type must be one of {expected}"
    return "expected an object" if detail["type"] == "model_type" else detail["msg"]


def _field_path(detail: ErrorDetails, frame: object) -> str:
    """Return the path of the fault ("item.content[0].text").

    A pydantic location also names the member of each union that was tried. Those names are not keys of the message, so
    they are skipped by following the location through the message. Only for a missing field is the last name absent
    from it.
    """
    path, location = "", detail["loc"]
    node: Any = frame
    for step in location:
        is_index = isinstance(node, list) and isinstance(step, int) and step < len(node)
        if is_index or (isinstance(node, dict) and step in node):
            node = node[step]
        elif detail["type"] != "missing" or step != location[-1]:
            continue
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    if detail["type"].startswith("union_tag"):
        path += "." + detail.get("ctx", {}).get("discriminator", "type").strip("'")
    return path.lstrip(".")
