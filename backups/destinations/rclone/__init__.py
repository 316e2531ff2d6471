"""Whatever rclone reaches."""
