"""Point-cloud videos and the clips cut from them: schema, windows, the input pipeline."""
