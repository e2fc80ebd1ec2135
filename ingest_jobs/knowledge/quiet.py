"""Silences libraries that print too much into a command's output."""

from __future__ import annotations

import logging


def quiet_libraries() -> None:
    """Let pymilvus and Ray Data log only when something is wrong."""
    logging.getLogger("pymilvus").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
