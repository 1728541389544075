"""Metrics on NumPy arrays; nothing here knows a model."""
