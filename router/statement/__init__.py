"""What was spent, for people: the log's entries summed, and held beside the budgets' counters."""
