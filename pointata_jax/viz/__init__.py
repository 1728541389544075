"""Figures of clips and of the method; requires the extra `viz`."""
