"""What a point-cloud video is and how it becomes clips: schema, windows, the input pipeline."""
