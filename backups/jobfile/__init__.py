"""The job file beside its models: reading it, what is wrong with it, how it is described and converted."""
