"""Plans made from parameters: sweeps over rates, capacities, exports to other simulators."""
