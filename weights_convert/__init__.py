"""PyTorch checkpoints of the Point-MAE family as backbones of this library, without PyTorch."""
