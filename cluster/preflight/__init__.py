"""Explains offline, before anything is started, why a configuration would not work or only half work.

`cluster.config.checks` refuses what makes no sense, whereas this package refuses what cannot run on these machines with
these weights, ports, secrets and times. `voxray preflight` shows the findings, and `voxray deploy` refuses because of
them.
"""

from cluster.preflight.check import inspect, refuse
from cluster.preflight.finding import Finding

__all__ = ["Finding", "inspect", "refuse"]
