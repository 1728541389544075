"""What a finished run is used through: the predictor."""
