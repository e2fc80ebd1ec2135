"""The session core: a pure state machine that alone decides on turns, barge-in, speculation and staleness.

It uses only the standard library: no asyncio, clock, logger or model. Time is an argument (`now_ms`, integer
milliseconds since the session began), a deadline is a return value, and effects are returned but never performed.
"""
