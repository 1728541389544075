"""Synthia 4D: driving through a synthetic city, with a class for every point."""
