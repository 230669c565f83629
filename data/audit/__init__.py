"""The audit of data: checks that run before a launch, one file each."""
