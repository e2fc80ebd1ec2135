"""How many replicas: decisions as pure functions `(snapshot, memory, limits) -> (decision, memory)`.

Time is in the snapshot. Memory is a frozen value that the caller hands back next time; a fresh one is always allowed
and costs only the history. Nothing here knows Ray: `autoscaling.ray_adapter` and `autoscaling.simulator` both drive it.
"""
