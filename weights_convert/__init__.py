"""PyTorch checkpoints of the Point-MAE family as backbones of this library, without PyTorch.

The command line is `python -m weights_convert CHECKPOINT --output=backbone.safetensors`.
`pointata_jax.load_backbone` reads checkpoints directly. The modules `point_mae`, `pcp_mae`,
`point_bert`, `point_jepa`, `recon`, `ulip`, `uni3d` and `torch_pointcloud` describe the files of
each family, and `trunk` describes what the families share.

Names and shapes are those of the public model code, for Point-MAE also those of a file written by
the official code. The published weights were not available for tests. If such a file has other
tensors around its trunk, the conversion stops and names them.
"""
