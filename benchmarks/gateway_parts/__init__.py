"""The parts of `benchmarks.gateway`: an upstream that costs nothing, callers, and the processes."""
