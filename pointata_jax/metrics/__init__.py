"""Metrics on arrays; nothing here knows a model."""
