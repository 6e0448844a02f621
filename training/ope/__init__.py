"""Off-policy evaluation: what another policy would have earned on the gateway's own log, with honest intervals."""
