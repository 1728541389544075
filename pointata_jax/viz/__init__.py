"""Figures of clips and of the method; needs the extra `viz`."""
