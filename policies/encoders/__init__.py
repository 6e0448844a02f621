"""Text encoders: tokenising, bounds and inference behind one protocol; start at `load.py`."""
