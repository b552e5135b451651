"""Commands of ``dsn-benchmark``."""
