"""Makes the source bank of a backbone: the labeled features that stage 1 aligns to.

python -m experiments.source_bank --backbone=backbone.safetensors --shapes=FILE_OR_FOLDER

Writes `source_bank.npz` beside the backbone, where `experiments.align` looks for it. A bank of many
classes with equally many shapes each says most; more than 3,000 shapes only make it larger.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Make the source bank of a backbone from labeled shapes."""

    backbone: str = ""  # a backbone.safetensors (python -m weights_convert makes one)
    shapes: str = ""  # labeled shapes, as for experiments.pretrain
    per_class: int = 0  # shapes drawn of each class that has so many; 0: all labeled shapes
    except_classes: str = ""  # classes left out, with commas and wildcards (with --per_class)
    held_out: int = 0  # --per_class of the pre-training: shapes that it kept out stay out here too
    seed: int = 0  # of the draw
    output: str = ""  # default: source_bank.npz beside the backbone
    partial: bool = False  # accept an archive of shapes that is not complete
    points: int = 1024  # points of a shape


def main(args: Args) -> None:
    """Makes the bank and writes it beside the backbone."""
    from pathlib import Path

    from experiments import runs
    from pointata_jax.alignment import build_source_bank, save_source_bank
    from pointata_jax.errors import InputError
    from pointata_jax.training import run_folder

    if not args.backbone or not args.shapes:
        raise InputError("give --backbone, a backbone file, and --shapes, labeled shapes.")
    run_folder.enable_compilation_cache()
    backbone = runs.open_backbone(args.backbone)
    output = Path(args.output or Path(backbone.name).with_name("source_bank.npz"))
    if output.exists():
        raise InputError(f"{output} exists already: move it away, or give another --output.")
    shapes = runs.open_shapes(args.shapes, partial=args.partial)
    if args.held_out:
        shapes, _ = runs.keep_out(shapes, args.held_out, args.except_classes)
    if args.per_class:
        shapes = shapes.select(
            runs.probe_subset(shapes, args.per_class, args.except_classes, args.seed)
        )
    shapes = shapes.labeled()
    if not len(shapes.labels):
        raise InputError(f"the shapes in {args.shapes} have no classes, which stage 1 needs.")
    bank = build_source_bank(
        backbone.config,
        backbone.variables,
        shapes.points[:, : args.points],
        shapes.labels,
        shapes.class_names,
        provenance={"backbone_sha256": backbone.sha256, "shapes": len(shapes.labels)},
    )
    save_source_bank(output, bank)
    print(f"{output}: {len(bank.labels)} shapes of {bank.num_classes} classes")


if __name__ == "__main__":
    command_line.run(main, Args)
