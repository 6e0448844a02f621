"""Collecting outcomes: every arm of a gateway on the user's own prompts, graded, under a USD cap."""
