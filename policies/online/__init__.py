"""Learning while serving: outcomes become offsets of the default policy, and alarms where an arm has changed."""
