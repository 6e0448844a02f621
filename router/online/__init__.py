"""The default policy learns while it serves: one learner for all gateways of a store, and workers that follow it."""
