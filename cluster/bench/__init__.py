"""The benchmark: latency of real calls stage by stage, and how many calls one gateway core holds."""
