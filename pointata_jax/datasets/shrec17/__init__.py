"""SHREC'17: hand gestures before a depth camera."""
