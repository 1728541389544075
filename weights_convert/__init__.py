"""PyTorch checkpoints of the Point-MAE family as backbones of this library, without PyTorch.

`python -m weights_convert CHECKPOINT --output=backbone.safetensors` on the command line;
`pointata_jax.load_backbone` reads checkpoints directly. What each family's files look like is in
`point_mae`, `point_bert`, `recon`, `ulip` and `torch_pointcloud`, what they share in `trunk`.
"""
