"""Classifiers by name, and what their networks cost."""
