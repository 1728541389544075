"""HOI4D: what each point of an indoor scene belongs to."""
