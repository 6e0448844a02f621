"""The admin HTTP API: a process and a listener of its own, started only where the configuration has `admin`."""
