"""CMU motion capture with a human label for every frame: exercise routines, dressed."""
