"""The scene adapter: what the core gives and takes, as nodes of the scene. No GUI is needed."""
