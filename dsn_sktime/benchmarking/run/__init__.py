"""Benchmark jobs, their execution and their results."""
