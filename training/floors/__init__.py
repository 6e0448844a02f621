"""Quality floors as promises: tests that a policy keeps a floor, the thresholds they give, and what came of them."""
