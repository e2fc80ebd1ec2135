"""Measures the word error rate, latency and cost of recognisers on recordings (`voxray asr eval`)."""
