"""The benchmark: measures the latency of real calls by stage, and how many calls one gateway core holds."""
