"""The error that this package raises for input that a user can mend."""

from __future__ import annotations


class InputError(ValueError):
    """Input, files or settings that do not fit; says what is wrong, where, and what to do."""
