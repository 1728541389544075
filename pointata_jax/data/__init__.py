"""Point-cloud videos: the schema, clip windows, the input pipeline, one builder per data set."""
