"""Pictures and timelines of runs, sweeps and capacities."""
