"""A directory of this machine: a disk, NFS, USB."""
