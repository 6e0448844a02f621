"""Streams of requests with known truth: what online learning gains, and what it does when the world changes."""
