"""Benchmarks, run as ``python -m dsn_sktime.benchmarking``."""
