"""The library in a deployed stack: what its functions and workers call, and what looks at it from outside."""
