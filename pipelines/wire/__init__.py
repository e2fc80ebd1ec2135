"""The OpenAI Realtime GA protocol: client events, server events, and their translation for the session core."""
