"""Benchmarks: whole installations under load on loopback, rates and latencies as ratios within one run."""
