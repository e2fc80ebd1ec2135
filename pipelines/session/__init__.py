"""The session core: a pure state machine that alone decides turns, barge-in, speculation and what is stale.

Standard library only: no asyncio, clock, logger or model. Time is an argument (`now_ms`, integer milliseconds since the
session began), a deadline is a return value, effects are returned and never performed.
"""
