"""Real radar recordings of RadHAR, joined end to end to videos with a label for every frame."""
