"""Metrics on arrays. They do not depend on models."""
