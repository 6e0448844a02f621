"""Checks: graders that say from an answer's text how right it is."""
