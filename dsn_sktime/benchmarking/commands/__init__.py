"""Commands of ``python -m dsn_sktime.benchmarking``."""
