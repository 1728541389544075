"""One tfds builder per data set, and the registry that prepares and opens them by name."""
