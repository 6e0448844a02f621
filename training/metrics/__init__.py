"""What the benchmark measures: one module per metric, each with its formula and its source."""
