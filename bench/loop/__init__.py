"""The closed loop over HTTP: log under rules, learn from the log, evaluate on a fresh one, serve, compare live."""
