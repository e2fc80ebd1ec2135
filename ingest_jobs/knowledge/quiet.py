"""Libraries that talk too much in a command's output."""

from __future__ import annotations

import logging


def quiet_libraries() -> None:
    """Let pymilvus and Ray Data speak only when something is wrong."""
    logging.getLogger("pymilvus").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
