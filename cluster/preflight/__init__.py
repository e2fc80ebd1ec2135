"""Says, before anything is started and without a network, why a configuration would not work or would only half work.

`cluster.config.checks` refuses what cannot be meant; this refuses what cannot run: on these machines, with these
weights, ports, secrets and times. `voxray preflight` shows it, `voxray deploy` refuses by it.
"""

from cluster.preflight.check import inspect, refuse
from cluster.preflight.finding import Finding

__all__ = ["Finding", "inspect", "refuse"]
