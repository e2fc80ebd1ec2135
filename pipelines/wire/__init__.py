"""The OpenAI Realtime GA protocol: events in, events out, and what stands between them and the session core."""
