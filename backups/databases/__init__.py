"""Talking to database servers: options files, what a user may read, programs that fit, loading a dump."""
