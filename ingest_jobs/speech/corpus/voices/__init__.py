"""Synthetic voices behind one small interface, from text to 16 kHz samples."""
