"""Benchmarks: how fast this is against what a user would pick instead, and against what the hardware allows."""
