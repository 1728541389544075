import json
import pathlib

import pytest

from experiments import adapt, configs, mocap6_folds, runs
from pointata_jax.errors import InputError
from pointata_jax.training.run_folder import RunFolder


def test_folds_are_put_together_and_trained_once(shared_data, tmp_path, monkeypatch, capsys):
    trained = []

    def fake(args):
        trained.append(args.variant)
        assert args.task == "mocap6"
        assert not args.validation
        folder = pathlib.Path(args.workdir)
        folder.mkdir(parents=True)
        accuracy = 50.0 + 10 * len(trained)
        test = {"seen_frame_accuracy": accuracy, "num_seen_frames": 5, "num_frames": 7}
        test |= {"edit": 1.0, "f1@50": 2.0}
        result = {"test": test, "classes_not_in_training": ["UpDown"]}
        (folder / "result.json").write_text(json.dumps(result))

    monkeypatch.setattr(adapt, "main", fake)
    args = mocap6_folds.Args(data_dir=str(shared_data), workdir=str(tmp_path / "runs"))
    for _ in range(2):
        mocap6_folds.main(args)
    assert trained == ["13_29", "13_30", "13_31", "14_14", "14_20"]
    result = json.loads((tmp_path / "runs" / "result.json").read_text())
    means = result["mean_frame_accuracy"]
    assert means["pointata"] == 80.0
    assert means["majority"] < means["linear_frame"] < means["linear"]
    assert result["folds"]["14_20"]["frames_lacking"] == 2
    with pytest.raises(InputError, match="--data_dir"):
        mocap6_folds.main(mocap6_folds.Args())


def test_a_finished_fold_of_another_setting_is_not_taken_over(tmp_path):
    backbone = runs.open_backbone("tiny").reference
    steps = configs.load("mocap6").adapt.steps
    settings = {"tuning": "full", "seed": 0, "backbone": backbone, "task": {"adapt": {"steps": 7}}}
    RunFolder.create(tmp_path, task="mocap6", settings=settings)
    with pytest.raises(InputError, match="trained with another tuning and steps: give the same"):
        mocap6_folds.check_finished(tmp_path, adapt.Args(task="mocap6"))
    settings |= {"tuning": "pointata", "seed": 4, "task": {"adapt": {"steps": steps}}}
    RunFolder.create(tmp_path, task="mocap6", settings=settings)
    with pytest.raises(InputError, match="trained with another seed: give the same"):
        mocap6_folds.check_finished(tmp_path, adapt.Args(task="mocap6"))
