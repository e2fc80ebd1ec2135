"""Tests a policy on a simulated day of calls, with traces, a fleet with start-up times and prices, and an oracle.

Every call is simulated (its arrival and length, and whether it was refused or overloaded) in steps of one second and in
bulk, so that 100,000 concurrent calls take seconds. Turns, the network and faults are not simulated.
"""
