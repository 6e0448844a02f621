"""Bandits that learn from scratch, to compare with: named and shaped as in Open Bandit Pipeline."""
