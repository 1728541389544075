"""From flags to a run: backbone, source bank, data and the settings that a run folder remembers."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

from experiments import configs
from pointata_jax.alignment import SourceBank, load_source_bank
from pointata_jax.data import streaming
from pointata_jax.errors import InputError
from pointata_jax.file_hash import file_sha256
from pointata_jax.models.backbone_file import (
    SHIPPED,
    find_backbone,
    find_source_bank,
    load_backbone,
)
from pointata_jax.models.point_mae import BackboneConfig
from pointata_jax.training import sharding
from pointata_jax.training.align import align
from pointata_jax.training.config import TaskConfig
from pointata_jax.training.run_folder import RunFolder, enable_compilation_cache
from pointata_jax.training.task_data import DataPlace, load_training


@dataclasses.dataclass(frozen=True)
class NamedBackbone:
    """A backbone with the name and the hash by which runs remember it."""

    name: str
    sha256: str
    config: BackboneConfig
    variables: dict[str, Any]

    @property
    def reference(self) -> dict[str, str]:
        return {"name": self.name, "sha256": self.sha256}


def open_backbone(name: str) -> NamedBackbone:
    """Loads a shipped backbone or a file."""
    path = find_backbone(name)
    config, variables = load_backbone(path)
    stored = name if name in SHIPPED else str(path.resolve())
    return NamedBackbone(stored, file_sha256(path), config, variables)


def open_source_bank(name: str, backbone: NamedBackbone) -> SourceBank:
    """The source bank by name or path; "" stands for the shipped one of a shipped backbone."""
    if not name and backbone.name not in SHIPPED:
        beside = Path(backbone.name).with_name("source_bank.npz")
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


def start_devices(distributed: bool) -> None:
    """What must come before anything touches a device."""
    if distributed:
        sharding.initialize_distributed()
    enable_compilation_cache()


def default_workdir(task: str, tuning: str = "pointata") -> str:
    """`runs/<task>` for PointATA (both stages share it), `runs/<task>-<tuning>` for the others."""
    return f"runs/{task}" if tuning == "pointata" else f"runs/{task}-{tuning}"


def task_config(args: Any, *, stage: Literal["align", "adapt"]) -> TaskConfig:
    """The configuration of `--task`, with what the flags say instead.

    `--variant`, `--protocol` and `--partial` concern the data set, `--frames` and `--points` the
    clip; flags named like a setting of the stage replace it.
    """
    config = configs.load(args.task, args.protocol)
    settings = getattr(config, stage)
    names = {field.name for field in dataclasses.fields(settings)}
    given = {k: v for k, v in dataclasses.asdict(args).items() if k in names and v is not None}
    options = dict(config.options)
    if args.protocol:
        options["protocol"] = streaming.check_protocol(args.protocol)
    if args.partial:
        options["partial"] = True
    clip = {name: value for name in ("frames", "points") if (value := getattr(args, name))}
    return dataclasses.replace(
        config,
        variant=args.variant or config.variant,
        options=options,
        clip=dataclasses.replace(config.clip, **clip),
        **{stage: dataclasses.replace(settings, **given)},
    )


def run_alignment(
    config: TaskConfig,
    place: DataPlace,
    backbone: NamedBackbone,
    bank: SourceBank,
    workdir: str,
    *,
    seed: int,
    resume: bool,
) -> dict[str, Any]:
    """Stage 1 in `workdir/align`; returns its result."""
    data = load_training(config, place)
    model = config.model_config(backbone.config, data.train.num_classes, embedder_init="random")
    run = RunFolder.create(
        workdir,
        task=config.task,
        stage="align",
        settings={
            "task": config.to_dict(),
            "embedder": dataclasses.asdict(model.p4d),
            "backbone": backbone.reference,
            "seed": seed,
        },
        resume=resume,
    )
    return align(model.p4d, config.align, data, bank, run, seed=seed, resume=resume)


def aligned_embedder(
    config: TaskConfig,
    place: DataPlace,
    backbone: NamedBackbone,
    source_bank: str,
    workdir: str,
    seed: int,
) -> Path:
    """The file of the embedder that stage 1 left in `workdir`; runs stage 1 where it has not."""
    folder = Path(workdir) / "align"
    if (folder / "result.json").is_file():
        stage_1 = RunFolder.open(workdir, stage="align")
        if stage_1.settings["backbone"]["sha256"] != backbone.sha256:
            raise InputError(
                f"stage 1 in {folder} was run with another backbone: give the same --backbone, or "
                "another --workdir."
            )
        return stage_1.adapter_path
    print(f"no finished stage 1 in {folder}: running it first.", file=sys.stderr, flush=True)
    run_alignment(
        config,
        place,
        backbone,
        open_source_bank(source_bank, backbone),
        workdir,
        seed=seed,
        resume=folder.exists(),
    )
    return folder / "adapter.safetensors"
