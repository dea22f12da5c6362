"""What tests, the demo and the benchmarks put in the place of the world outside."""
