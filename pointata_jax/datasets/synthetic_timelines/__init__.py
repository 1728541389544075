"""Embedded sequences of motions with a label for every frame, generated, never downloaded."""
