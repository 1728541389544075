"""Makes a folder of a finished run that can be given away, or uploaded to a model hub.

python -m experiments.publish --run=runs/radhar --to=radhar-tiny
python -m experiments.predict --run=radhar-tiny RECORDING

The folder holds the trained parameters, the settings, the result and a model card. A backbone of
your own is copied in; a shipped one stays a name. No paths of this machine and no names of videos
are published.
"""

from __future__ import annotations

import dataclasses

from experiments import command_line


@dataclasses.dataclass(frozen=True)
class Args:
    """Publish a run."""

    run: str = ""  # folder of a finished run of experiments.adapt
    to: str = ""  # folder to write; it must be empty or new
    license: str = "apache-2.0"  # of the trained parameters, for the model card
    name: str = ""  # of the model; default: that of the folder
    data: str = ""  # what it was trained on, for the model card; default: the data set's name


def main(args: Args) -> None:
    """Writes the folder."""
    import shutil
    from pathlib import Path

    from experiments import model_card
    from pointata_jax import hub
    from pointata_jax.errors import InputError
    from pointata_jax.models.backbone_file import SHIPPED, find_backbone
    from pointata_jax.serving.predictor import load_run
    from pointata_jax.training.run_folder import RunFolder, write_json, write_text

    if not args.run or not args.to:
        raise InputError("give --run, a finished run, and --to, the folder to write.")
    target = Path(args.to)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there and not empty: give a new folder.")
    run = RunFolder.open(args.run)
    result = run.read_result()
    if result is None:
        raise InputError(f"{args.run} has not finished: continue it with --resume.")
    load_run(args.run)  # What cannot be loaded is not worth publishing.
    settings = dict(run.settings)
    backbone = dict(settings["backbone"])
    target.mkdir(parents=True, exist_ok=True)
    own = backbone["name"] not in SHIPPED and not hub.is_reference(backbone["name"])
    if own and result["tuning"] not in model_card.WITHOUT_BACKBONE:
        shutil.copyfile(find_backbone(backbone["name"]), target / hub.BACKBONE)
    if own:
        backbone["name"] = hub.BACKBONE
    settings["backbone"] = backbone
    shutil.copyfile(run.adapter_path, target / hub.ADAPTER)
    write_json(target / "config.json", {**run.config, "settings": settings})
    write_json(target / "result.json", result)
    name = args.name or target.resolve().name
    card = model_card.model_card(name, settings, result, args.license, args.data)
    write_text(target / "README.md", card)
    size = sum(path.stat().st_size for path in target.iterdir()) / 1e6
    print(f"{target}: {size:.1f} MB")


if __name__ == "__main__":
    command_line.run(main, Args)
