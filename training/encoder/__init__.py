"""Fitting text encoders: static ones to a teacher, with or without outcomes, and MiniLM to outcomes."""
