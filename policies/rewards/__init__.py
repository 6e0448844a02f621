"""Rewards: numbers computed from the raw facts of an outcome; recomputed whenever asked for, never stored instead."""
