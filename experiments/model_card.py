"""The model card of a published run: what it is, what it was measured to do, how it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from experiments.outcome import SCORES, scores
from pointata_jax.training.partition import P4TRANSFORMER

WITHOUT_BACKBONE = ("random_frozen", "full", "scratch", "frame", P4TRANSFORMER)
"""Tunings whose parameters are all in the adapter's file."""

_TASKS = {
    "clip": "recognizes what happens in a point-cloud video",
    "frame": "gives every frame of a point-cloud video its action",
    "point": "gives every point of a point-cloud video its class",
}


def model_card(
    name: str, settings: Mapping[str, Any], result: Mapping[str, Any], license: str, data: str
) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
      name: of the model.
      settings: of the run.
      result: its `result.json`.
      license: of the parameters.
      data: what it was trained on, "" for the name of the data set.
    """
    task = settings["task"]
    data = data or task["dataset"]
    test = result.get("test")
    classes = ", ".join(settings["class_names"])
    parameters = result["parameters"]
    front = [
        "---",
        f"license: {json.dumps(license)}",
        "library_name: pointata-jax",
        "tags: [point-cloud, point-cloud-video, jax, flax]",
        *(_index(name, data, test) if test else []),
        "---",
    ]
    measured = "It was not tested."
    if test:
        measured = f"On the test part of the data it is right in {scores(test)}."
    return "\n".join(
        [
            *front,
            "",
            f"# {name}",
            "",
            f"This model {_TASKS[task['kind']]}. It was trained on {data} with "
            f"[PointATA-JAX](https://arxiv.org/abs/2602.23069), tuning `{result['tuning']}`: "
            f"{parameters['trainable']:,} of {parameters['total']:,} parameters, around the 3D "
            f"backbone `{settings['backbone']['name']}`.",
            "",
            f"{measured} Seed {result['seed']}, {result['num_train_videos']:,} training videos.",
            "",
            "```python",
            "from pointata_jax import load_run, open_recording",
            "",
            'model = load_run("PATH OR hf:OWNER/NAME")',
            'recording = open_recording("FOLDER OF FRAMES")',
            "print(model.predict(model.frames_of(recording)))",
            "```",
            "",
            "```",
            "python -m experiments.predict --run=PATH RECORDING",
            "```",
            "",
            f"Classes: {classes}.",
            "",
            f"Columns of a point: {', '.join(settings['columns'])}; "
            f"{task['clip']['up_axis']} points up. A window is "
            f"{task['clip']['frames'] * task['clip']['frame_merge']} frames.",
            "",
            "## Citation",
            "",
            'The method: "Align then Adapt: Rethinking Parameter-Efficient Transfer Learning in 4D '
            'Perception", arXiv 2602.23069. This implementation is an independent reconstruction.',
            "",
        ]
    )


def _index(name: str, data: str, test: Mapping[str, Any]) -> list[str]:
    """The results as the front matter of a model hub has them."""
    lines = [
        "model-index:",
        f"- name: {json.dumps(name)}",
        "  results:",
        "  - task: {type: video-classification}",
        f"    dataset: {{name: {json.dumps(data)}, type: {json.dumps(data)}}}",
        "    metrics:",
    ]
    for score in SCORES:
        if test.get(score) is not None:
            lines.append(f"    - {{type: {json.dumps(score)}, value: {test[score]:.2f}}}")
    return lines
