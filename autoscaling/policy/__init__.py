"""Decides numbers of replicas with pure functions `(snapshot, memory, limits) -> (decision, memory)`.

Time is part of the snapshot. Memory is a frozen value that the caller passes back next time; a fresh one is always
allowed and loses only the history. Nothing here knows Ray, and both `autoscaling.ray_adapter` and
`autoscaling.simulator` drive it.
"""
