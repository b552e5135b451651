"""Measurements of speed, start-up time and memory, each in a table, for the command ``speed``."""
