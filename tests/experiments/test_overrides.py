"""Settings by `--set`."""

import pytest

from experiments import configs
from experiments.command_line import _joined_settings
from experiments.overrides import override
from pointata_jax.errors import InputError

TASK = configs.load("synthetic_actions")


def test_values_have_the_type_of_the_setting():
    given = "model.radius=0.15\nmodel.pva_dilations=1:2:4\nmodel.use_sce=false\nadapt.steps=7"
    changed = override(TASK, given + "\nadapt.embedder_lr_multiplier=0.2\nalign.objective=swd")
    assert changed.model.radius == 0.15
    assert changed.model.pva_dilations == (1, 2, 4)
    assert changed.model.use_sce is False
    assert changed.adapt.steps == 7
    assert changed.adapt.embedder_lr_multiplier == 0.2
    assert changed.align.objective == "swd"
    assert override(changed, "adapt.embedder_lr_multiplier=none").adapt == TASK.adapt.__class__(
        **{**vars(TASK.adapt), "steps": 7}
    )


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("model.radios=0.15", "nearest setting is model.radius"),
        ("model.radius", "give group.name=value"),
        ("adapt.steps=1.5", "adapt.steps=1.5: give a whole number"),
        ("model.use_sce=perhaps", "give true or false"),
        ("adapt.learning_rates=1", "configuration file"),
        ("adapt.steps=0", "steps"),
    ],
)
def test_mistakes_are_sentences(given, sentence):
    with pytest.raises(InputError, match=sentence):
        override(TASK, given)


def test_the_flag_may_be_repeated():
    argv = ["adapt", "--set", "a.b=1", "--task=x", "--set=c.d=2"]
    assert _joined_settings(argv) == ["adapt", "--task=x", "--set=a.b=1\nc.d=2"]
    assert _joined_settings(["adapt"]) == ["adapt"]
