"""Synthetic voices behind one small interface: text in, 16 kHz samples out."""
