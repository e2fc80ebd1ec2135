"""Scaling decisions, GPU packing, planning, and a simulator that tests them.

The package is pure: it uses only the standard library (and numpy in `simulator`), no clock, and no files but the data
that ships here. `ray_adapter` is the only module that knows Ray's data types; docs/scaling.md is the guide.
"""
