"""The detector of blocking calls sees the product, and lets pass what is another thread's business."""

from __future__ import annotations

import asyncio
import time

import pytest
from blockbuster import BlockingError

from pipelines.privacy.masker import Masker, MaskingPolicy

pytestmark = pytest.mark.unit


class Sleeper(Masker):
    """Blocks where the product would call it."""

    def _is_allowed(self, text: str, span: tuple[int, int]) -> bool:
        time.sleep(0.0)  # noqa: TID251 - what is to be found
        return super()._is_allowed(text, span)


async def test_blocking_call_of_the_product_on_the_loop_is_found() -> None:
    with pytest.raises(BlockingError, match=r"time\.sleep"):
        Sleeper(MaskingPolicy()).mask("Write to joe@example.com.")


async def test_blocking_call_in_a_thread_is_none() -> None:
    masked = await asyncio.to_thread(Sleeper(MaskingPolicy()).mask, "Write to joe@example.com.")
    assert masked.text == "Write to [email]."


async def test_blocking_call_of_a_test_is_none() -> None:
    time.sleep(0.0)  # noqa: ASYNC251, TID251 - not the product's


def test_without_a_loop_everything_may_block() -> None:
    assert Sleeper(MaskingPolicy()).mask("Write to joe@example.com.").count == 1
