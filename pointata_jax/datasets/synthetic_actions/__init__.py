"""The embedded data set: twelve motions of procedural figures, generated, never downloaded."""
