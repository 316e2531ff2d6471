"""The scheduled check: every copy is read back whole within so many days, and damage is told."""
