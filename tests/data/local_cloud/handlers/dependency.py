NAME = "from the bundle"
