"""Procedural data: human figures, motions, rooms, depth cameras and shapes of objects."""
