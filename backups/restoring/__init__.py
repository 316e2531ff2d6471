"""The way back: find a copy, check it while it is read, and put it somewhere whole or not at all."""
