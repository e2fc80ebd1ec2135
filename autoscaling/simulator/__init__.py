"""Tries a policy on a day of calls before it meets one: traces, a fleet with start-up times and prices, an oracle.

Every single call is simulated (its arrival, its length, whether it was refused or ever overloaded), in steps of one
second and in bulk, so that 100,000 calls at once take seconds. Not simulated: single turns, the network, faults.
"""
