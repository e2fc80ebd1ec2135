"""A simulated caller with a microphone and a loudspeaker, used by the CLI, the benchmark and the end-to-end tests."""
