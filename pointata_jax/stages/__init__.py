"""The stages of a run (pretrain, align, adapt), their settings and the data of a task."""
