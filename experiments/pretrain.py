"""Pre-trains a 3D backbone on static shapes, by contrast and reconstruction or by class names.

python -m experiments.pretrain --shapes=FILE_OR_FOLDER --workdir=runs/pretrain

Writes `backbone.safetensors`, and, where shapes have classes, `source_bank.npz` and the gate: how
much better than three random initializations the frozen features tell the classes apart. Labels
are used in training with --objective=classes only. docs/pretraining.md has the command that made
the shipped backbone.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Pre-train a 3D backbone on static shapes."""

    # .npz, folder of clouds or meshes, ModelNet40 or ShapeNet55 archive; several with commas
    shapes: str = ""
    partial: bool = False  # accept an archive that is not complete
    per_class: int = 0  # shapes of each class kept out of training, to measure with; 0: none
    except_classes: str = ""  # classes without such shapes, with commas and wildcards
    unlabeled_classes: str = ""  # classes whose shapes count as unlabeled, as --except_classes
    objective: str = "views"  # views (no labels) or classes (the names of classes)
    workdir: str = "runs/pretrain"  # run folder
    start: str = ""  # run folder of an earlier pre-training to go on from
    preset: str = "tiny"  # size of the backbone: tiny or small
    steps: int = 600  # optimizer steps
    batch_size: int = 32  # shapes per step
    pairs: int = 16  # pairs of procedural objects per step besides; two objects of one family each
    optimizer: str | None = None  # adamw, or muon for hidden matrices; default: muon for classes
    learning_rate: float | None = None  # peak of the schedule; default: 1e-3, with muon 2e-3
    weight_decay: float = 0.05  # of matrices
    class_factors: str = ""  # how often some classes are drawn: part_*=0.3,tree=2
    class_weight: float = 1.0  # weight of the cross-entropy of the objective classes
    contrast_weight: float | None = None  # of the contrast; default: 1 (views) or 0.2 (classes)
    reconstruction_weight: float | None = None  # of the Chamfer distance; default: 10 or 0
    kept_patches: float = 0.5  # share of the patches of a view that the objective classes sees
    yaw_jitter: float = 0.26  # largest rotation of a view about the up axis, in radians
    one_sided: float = 0.0  # share of the views that show what a depth camera would see
    sparse: float = 0.0  # share of the views with fewer points, from 64 on
    any_rotation: float = 0.0  # share of the views that are rotated at random in addition
    max_jitter: float = 0.0  # each view draws its noise between 0.005 and this; 0: all have 0.005
    members: int = 16  # objects that are made of each family
    temperature: float = 0.2  # of the contrast
    snapshot_every: int = 0  # steps between copies of the backbone in workdir/snapshots
    seed: int = 0  # of initialization, order and views
    resume: bool = False  # continue the run in workdir


def main(args: Args) -> None:
    """Trains, writes backbone and source bank, prints the result."""
    from typing import cast

    from experiments import runs
    from pointata_jax.errors import InputError
    from pointata_jax.models.point_mae import PRESETS
    from pointata_jax.shapes.subsets import without_labels
    from pointata_jax.stages import pretrain
    from pointata_jax.stages.views import ViewConfig
    from pointata_jax.training import run_folder
    from pointata_jax.training.optimizer import Rule

    if not args.shapes:
        raise InputError(
            "no shapes given: --shapes takes a packed .npz file or a folder of clouds."
        )
    if args.preset not in PRESETS:
        raise InputError(f"unknown preset {args.preset!r}: choose one of {', '.join(PRESETS)}.")
    run_folder.enable_compilation_cache()
    shapes, held_out = runs.open_shapes(args.shapes, partial=args.partial), None
    shapes = without_labels(shapes, runs.names_of(args.unlabeled_classes))
    if args.per_class:
        shapes, held_out = runs.keep_out(shapes, args.per_class, args.except_classes)
    settings = dataclasses.asdict(args)
    del settings["resume"], settings["workdir"]
    run = run_folder.RunFolder.create(
        args.workdir, task="pretrain", settings=settings, resume=args.resume
    )
    config = pretrain.PretrainConfig(
        objective=cast(pretrain.Objective, args.objective),
        views=ViewConfig(
            yaw_jitter=args.yaw_jitter,
            one_sided_probability=args.one_sided,
            sparse_probability=args.sparse,
            any_rotation_probability=args.any_rotation,
            max_jitter_std=args.max_jitter,
        ),
        kept_patches=args.kept_patches,
        class_factors=_factors(runs.names_of(args.class_factors)),
        class_weight=args.class_weight,
        contrast_weight=args.contrast_weight,
        temperature=args.temperature,
        reconstruction_weight=args.reconstruction_weight,
        num_pairs=args.pairs,
        members=args.members,
        steps=args.steps,
        optimizer=cast(Rule | None, args.optimizer),
        snapshot_every=args.snapshot_every,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        weight_decay=args.weight_decay,
    )
    result = pretrain.pretrain(
        PRESETS[args.preset],
        config,
        shapes,
        run,
        held_out=held_out,
        start=args.start or None,
        seed=args.seed,
        resume=args.resume,
    )
    print(run_folder.readable(result))


def _factors(listed: list[str]) -> tuple[tuple[str, float], ...]:
    """Pairs of name and number, from name=number."""
    from pointata_jax.errors import InputError

    pairs = []
    for entry in listed:
        name, _, value = entry.partition("=")
        try:
            pairs.append((name.strip(), float(value)))
        except ValueError:
            raise InputError(
                f"--class_factors has {entry!r}: write name=number, several with commas."
            ) from None
    return tuple(pairs)


if __name__ == "__main__":
    command_line.run(main, Args)
