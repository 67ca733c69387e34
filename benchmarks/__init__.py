"""Speeds of the simulator beside those of the original way; see docs/benchmarks.md."""
