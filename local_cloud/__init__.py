"""The embedded cloud: AWS on one machine without Docker, for the demo and the end-to-end tests.

``client.py`` runs in the project's environment and starts ``python -m local_cloud``, which runs in ``.venv-cloud``
on the standard library and MiniStack alone; ``seams/`` is what it changes in MiniStack.
"""
