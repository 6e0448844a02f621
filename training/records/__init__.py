"""Outcome records: one schema for every source, read in batches so that a file need not fit in memory."""
