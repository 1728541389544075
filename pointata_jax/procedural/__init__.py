"""Everything that is generated: figures, motions, rooms, depth cameras and object shapes."""
