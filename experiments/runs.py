"""From flags to a run: backbone, source bank, data and the settings that a run folder remembers."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments import configs
from experiments.command_line import SETTINGS_SEPARATOR, TaskFlags
from experiments.overrides import override
from pointata_jax import hub
from pointata_jax.alignment import SourceBank, load_source_bank
from pointata_jax.datasets import streaming
from pointata_jax.datasets.point_videos.suggestions import FILE as SUGGESTED
from pointata_jax.datasets.point_videos.suggestions import read_suggestions
from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from pointata_jax.models.backbone_file import (
    SHIPPED,
    find_backbone,
    find_source_bank,
    load_backbone,
)
from pointata_jax.models.point_mae import BackboneConfig
from pointata_jax.shapes.collection import Shapes, join, load_shapes
from pointata_jax.shapes.subsets import balanced_subset, related
from pointata_jax.stages.align import align
from pointata_jax.stages.config import TaskConfig
from pointata_jax.stages.task_data import TaskData
from pointata_jax.training import sharding
from pointata_jax.training.run_folder import (
    RunFolder,
    as_json,
    changed_settings,
    enable_compilation_cache,
)

OWN_DATA = "point_videos"
"""The data set that reads a user's own files."""


@dataclasses.dataclass(frozen=True)
class NamedBackbone:
    """A backbone, with the name and the hash by which a run identifies it."""

    name: str
    sha256: str
    config: BackboneConfig
    variables: dict[str, Any]

    @property
    def reference(self) -> dict[str, str]:
        """Name and hash, as a run stores them."""
        return {"name": self.name, "sha256": self.sha256}


def open_backbone(name: str) -> NamedBackbone:
    """Loads a shipped backbone or a file."""
    path = find_backbone(name)
    config, variables = load_backbone(path)
    stored = name if name in SHIPPED else str(path.resolve())
    if hub.is_reference(name):
        stored = hub.fetch_backbone(name)[1]
    return NamedBackbone(stored, file_sha256(path), config, variables)


def open_source_bank(name: str, backbone: NamedBackbone) -> SourceBank:
    """The source bank by name or path; "" is the one that belongs to the backbone."""
    if not name and backbone.name not in SHIPPED:
        beside = find_backbone(backbone.name).with_name(hub.SOURCE_BANK)
        if not beside.is_file():
            raise InputError(
                f"no source bank beside {backbone.name}: give --source_bank (experiments.pretrain "
                "writes one beside the backbone)."
            )
        name = str(beside)
    bank = load_source_bank(find_source_bank(name or backbone.name), backbone.config.width)
    made_by = bank.provenance.get("backbone_sha256")
    if made_by not in (None, backbone.sha256):
        raise InputError(
            "the source bank was made by another backbone (its recorded hash differs): use the "
            "bank that belongs to this backbone."
        )
    return bank


def bank_digest(bank: SourceBank) -> str:
    """Hash of features and labels, by which a run identifies the bank of its stage 1."""
    digest = hashlib.sha256(np.ascontiguousarray(bank.features, np.float32).data)
    digest.update(np.ascontiguousarray(bank.labels, np.int32).data)
    return digest.hexdigest()


def open_shapes(places: str, *, partial: bool = False) -> Shapes:
    """The shapes of one place or of several, separated by commas."""
    return join([load_shapes(path, partial=partial) for path in names_of(places)])


def probe_subset(shapes: Shapes, per_class: int, except_classes: str, seed: int) -> np.ndarray:
    """Indices of the shapes that a backbone is measured with (`shapes.subsets`)."""
    if per_class < 2:
        raise InputError(f"{per_class} shapes per class cannot be told apart: give two or more.")
    return balanced_subset(shapes, per_class, except_classes=names_of(except_classes), seed=seed)


def keep_out(shapes: Shapes, per_class: int, except_classes: str) -> tuple[Shapes, Shapes]:
    """The shapes to train on, and those that a backbone is measured with.

    The latter are the draw of experiments.probe_backbone with its default seed. Variants of a shape
    that is kept out (`shapes.subsets.related`) are in neither part: they would give its class away.
    """
    chosen = probe_subset(shapes, per_class, except_classes, seed=0)
    return shapes.select(np.flatnonzero(~related(shapes, chosen))), shapes.select(chosen)


def names_of(listed: str) -> list[str]:
    """The names in a list separated by commas."""
    return [name.strip() for name in listed.split(",") if name.strip()]


def start_devices(distributed: bool) -> None:
    """Joins the other hosts and sets the compilation cache; must run before JAX uses a device."""
    if distributed:
        sharding.initialize_distributed()
    enable_compilation_cache()


def default_workdir(config: TaskConfig, data_dir: str | None, tuning: str = "pointata") -> str:
    """`runs/<task>` for PointATA (both stages share it), `runs/<task>-<tuning>` for the others.

    Tasks for a user's own data have the name of the data folder after that of the task.
    """
    parts = [config.task]
    if config.dataset == OWN_DATA and data_dir:
        parts.append(Path(data_dir).expanduser().resolve().name)
    if tuning != "pointata":
        parts.append(tuning)
    return f"runs/{'-'.join(filter(None, parts))}"


def task_config(
    args: TaskFlags, *, stage: Literal["align", "adapt"], tuning: str = "pointata"
) -> TaskConfig:
    """The configuration of `--task`, changed by the flags that were given.

    `--variant`, `--protocol` and `--partial` concern the data set, `--frames`, `--points`,
    `--merge` and `--channels` the clips, `--set` any setting. A flag named like a setting of the
    stage replaces it, and so does a tuning (`TaskConfig.with_tuning`). A flag that was not given is
    None; 0 and "" are values.
    """
    config = configs.load(args.task, args.protocol).with_tuning(tuning)
    if config.dataset == OWN_DATA and args.data_dir:
        measured = read_suggestions(Path(args.data_dir))
        lines = [f"{name}={value}" for name, value in measured.items()]
        if lines:
            config = override(config, SETTINGS_SEPARATOR.join(lines))
            say(f"settings of {Path(args.data_dir) / SUGGESTED}: {', '.join(lines)}.")
    settings = getattr(config, stage)
    names = {field.name for field in dataclasses.fields(settings)}
    given = {k: v for k, v in dataclasses.asdict(args).items() if k in names and v is not None}
    weights = given.pop("class_weights", "")
    if weights not in ("", "balanced"):
        raise InputError(
            f"--class_weights={weights}: the value is balanced; --set adapt.class_weights=1:2:… "
            "gives weights of your own."
        )
    if weights:
        given["balanced_classes"] = True
    options = dict(config.options)
    if args.protocol is not None:
        options["protocol"] = streaming.check_protocol(args.protocol)
    if args.partial:
        options["partial"] = True
    flags = {"frames": args.frames, "points": args.points, "frame_merge": args.merge}
    clip: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    if args.hold_out is not None and not args.hold_out.strip():
        raise InputError(
            "--hold_out names nobody: give subjects, recordings, or names of subjects; "
            "--novalidation of experiments.adapt holds nothing out."
        )
    if args.channels is not None:
        clip["channels"] = tuple(names_of(args.channels))
    names = ("embedder_init", "videos_per_class", "label_fraction")
    chosen = {name: value for name in names if (value := getattr(args, name)) is not None}
    if chosen.keys() & {"videos_per_class", "label_fraction"}:
        chosen["label_seed"] = args.seed
    config = dataclasses.replace(
        config,
        **chosen,
        variant=config.variant if args.variant is None else args.variant,
        hold_out=config.hold_out if args.hold_out is None else args.hold_out,
        options=options,
        clip=dataclasses.replace(config.clip, **clip),
        **{stage: dataclasses.replace(settings, **given)},
    )
    return override(config, args.set) if args.set else config


def say(*sentences: str) -> None:
    """Writes to standard error; standard output is for results only."""
    for sentence in sentences:
        print(sentence, file=sys.stderr, flush=True)


def run_alignment(
    config: TaskConfig,
    data: TaskData,
    backbone: NamedBackbone,
    bank: SourceBank,
    workdir: str,
    *,
    seed: int,
    resume: bool,
) -> dict[str, Any]:
    """Stage 1 in `workdir/align`; returns its result."""
    model = config.model_config(backbone.config, data.train.num_classes)
    run = RunFolder.create(
        workdir,
        task=config.task,
        stage="align",
        settings={
            "task": config.to_dict(),
            "embedder": dataclasses.asdict(model.p4d),
            "backbone": backbone.reference,
            "source_bank": bank_digest(bank),
            "seed": seed,
        },
        resume=resume,
        videos=data.digests,
    )
    return align(
        model.p4d,
        config.align,
        data,
        bank,
        (backbone.config, backbone.variables),
        run,
        embedder_init=config.embedder_init,
        seed=seed,
        resume=resume,
    )


def aligned_embedder(
    config: TaskConfig,
    data: TaskData,
    backbone: NamedBackbone,
    source_bank: str,
    workdir: str,
    seed: int,
) -> Path:
    """The file with the embedder of stage 1 in `workdir`; runs stage 1 if it is not finished.

    Raises:
      InputError: stage 1 there had another backbone, source bank, seed, form of the clips or of
        the embedder, or other videos.
    """
    folder = Path(workdir) / "align"
    if (folder / "result.json").is_file():
        stage_1 = RunFolder.open(workdir, stage="align")
        before = stage_1.settings
        model = config.model_config(backbone.config, data.train.num_classes)
        changed = changed_settings(
            {**before["task"]["clip"], "embedder": before["embedder"], "seed": before["seed"]},
            as_json({**dataclasses.asdict(config.clip), "embedder": model.p4d, "seed": seed}),
        )
        differing = [f"{name} {was} instead of {now}" for name, (was, now) in changed.items()]
        if before["backbone"]["sha256"] != backbone.sha256:
            differing.insert(0, "another backbone")
        if (
            source_bank
            and "source_bank" in before
            and before["source_bank"] != bank_digest(open_source_bank(source_bank, backbone))
        ):
            differing.insert(0, "another source bank")
        if differing:
            raise InputError(
                f"stage 1 in {folder} was run with {', '.join(differing)}: give the same flags, or "
                "another --workdir."
            )
        stage_1.check_videos(data.digests)
        return stage_1.adapter_path
    say(f"no finished stage 1 in {folder}: running it first.")
    run_alignment(
        config,
        data,
        backbone,
        open_source_bank(source_bank, backbone),
        workdir,
        seed=seed,
        resume=folder.exists(),
    )
    return folder / "adapter.safetensors"
