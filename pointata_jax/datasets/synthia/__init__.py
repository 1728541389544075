"""Synthia 4D: driving through a made city, with a class for every point."""
