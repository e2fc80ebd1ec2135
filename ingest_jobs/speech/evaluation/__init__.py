"""Measures recognisers on recordings: words wrong, time to the words, and what they cost. `voxray asr eval`."""
