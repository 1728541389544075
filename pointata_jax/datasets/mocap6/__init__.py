"""Exercise routines of CMU motion capture with a human label per frame, dressed with capsules."""
