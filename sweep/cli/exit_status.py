"""Exit statuses of every command, as ``xlt --help`` lists them."""

OK = 0
"""The command did all that it was asked to do."""
SOME_FAILED = 1
"""Some trials failed; the same command runs them again."""
BAD_INPUT = 2
"""Bad input: nothing was started, or a results location takes no more files."""
FINDINGS = 3
"""A check found errors that would stop or spoil a run."""
INTERRUPTED = 130
"""Ctrl-C ended the command; the same command resumes it."""
