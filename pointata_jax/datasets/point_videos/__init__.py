"""A user's own point-cloud videos, one npz file each, without any code."""
