"""Benchmarks against peers: each is one command that measures, and writes its table, its plot and where it ran."""
