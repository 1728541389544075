"""HOI4D: what a hand does with an object, frame by frame, seen from the head."""
