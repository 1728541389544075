"""Command lines: pretrain, align, adapt, evaluate."""
