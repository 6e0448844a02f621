"""Benchmarks that print Gearshift's figures as ratios against named peers; run with `python -m bench`."""
