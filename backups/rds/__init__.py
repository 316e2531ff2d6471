"""What talks to Amazon RDS: choosing a snapshot, restoring it for a while, and removing what was restored."""
