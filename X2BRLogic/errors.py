"""The one exception that means "your input", as against a fault of ours."""


class InputError(ValueError):
    """Bad input or usage: one sentence that says what is wrong and what to do.

    The command prints it as ``x2br: error: ...`` and exits with 2; a host shows it as a message.
    """
