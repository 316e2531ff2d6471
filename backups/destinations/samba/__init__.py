"""A share of a file server, by SMB 3."""
