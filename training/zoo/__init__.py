"""Fits the policy zoo: one module per model of quality, with the parts around it shared."""
