"""Speed of the simulator compared with the original way. See docs/benchmarks.md."""
