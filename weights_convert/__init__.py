"""PyTorch checkpoints of the Point-MAE family as backbones of this library, without PyTorch.

`python -m weights_convert CHECKPOINT --output=backbone.safetensors` on the command line;
`pointata_jax.load_backbone` reads checkpoints directly. What each family's files look like is in
`point_mae`, `point_bert`, `recon`, `ulip` and `torch_pointcloud`, what they share in `trunk`.

Names and shapes are those of the public model code (Point-MAE's also of a file that the official
code wrote). Of the published weights themselves none could be opened here: what a file holds beside
its trunk may differ in details, and then the conversion stops and names it.
"""
