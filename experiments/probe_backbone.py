"""Measures a 3D backbone: how well its frozen features tell classes of shapes apart.

python -m experiments.probe_backbone --shapes=sweethome3d_2048.npz
python -m experiments.probe_backbone --shapes=shapes_cc.npz --per_class=12

Prints the accuracies of a nearest-neighbor and of a ridge classifier, with bootstrap intervals and
those of three random initializations. With --per_class the same number of shapes is drawn of each
class; `experiments.pretrain` keeps them out of the training with the same flags.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Measure the frozen features of a backbone on labeled shapes."""

    shapes: str = ""  # labeled shapes, as for experiments.pretrain
    backbone: str = "tiny"  # shipped backbone by name, a backbone.safetensors or a checkpoint
    per_class: int = 0  # shapes drawn of each class; 0: all labeled shapes
    except_classes: str = ""  # classes left out, with commas and wildcards (with --per_class)
    points: int = 1024  # points of a shape
    partial: bool = False  # accept an archive that is not complete
    output: str = ""  # JSON file for the result; default: it is only printed
    seed: int = 0  # of the draw


def main(args: Args) -> None:
    """Measures and prints."""
    from pathlib import Path

    from experiments import runs
    from pointata_jax.errors import InputError
    from pointata_jax.stages.probe import probe
    from pointata_jax.training import run_folder

    if not args.shapes:
        raise InputError("no shapes given: --shapes takes a packed .npz file or a folder.")
    if args.points < 1:
        raise InputError(f"--points={args.points}: give a positive number.")
    run_folder.enable_compilation_cache()
    backbone = runs.open_backbone(args.backbone)
    shapes = runs.open_shapes(args.shapes, partial=args.partial)
    if args.per_class:
        shapes = shapes.select(
            runs.probe_subset(shapes, args.per_class, args.except_classes, args.seed)
        )
    else:
        shapes = shapes.labeled()
    if len(set(shapes.labels.tolist())) < 2:
        raise InputError(f"the shapes in {args.shapes} have fewer than two classes to tell apart.")
    content = {
        "backbone": backbone.reference,
        "shapes": args.shapes,
        "points": args.points,
        **probe(backbone.config, backbone.variables, shapes, args.points),
    }
    if args.output:
        run_folder.write_json(Path(args.output), content)
    print(run_folder.readable(content))


if __name__ == "__main__":
    command_line.run(main, Args)
