"""Scaling decisions, GPU packing, planning, and the simulator that tries them.

Pure: the standard library only (numpy in `simulator`), no clock, no files but the data that ships here. `ray_adapter`
is the one module that knows Ray's shapes; docs/scaling.md is the guide.
"""
