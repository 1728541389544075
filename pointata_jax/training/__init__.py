"""Training: what trains, the step, devices, checkpoints, the loop and the run folder.

Import the files by name (`from pointata_jax.training import step`); nothing heavy is loaded here.
"""
