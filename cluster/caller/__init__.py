"""A caller: a microphone and a loudspeaker on a Realtime socket. The CLI, the bench and the end-to-end tests use it."""
