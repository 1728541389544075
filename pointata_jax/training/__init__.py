"""Training machinery that knows no model: step, loop, optimizer, devices, checkpoints, run folder.

Import the files by name (`from pointata_jax.training import step`); nothing heavy is loaded here.
"""
