"""Embedded scenes with a label for every point, generated, never downloaded."""
