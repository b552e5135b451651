"""Measurements of speed, start-up time and memory."""
