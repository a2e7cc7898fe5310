"""Joulemill: from joules to tokens.

Measure joules per token of any LLM server, find the active constraint, predict and plan.
The public names live in their rooms (``joulemill.physics``, ``joulemill.ledger``, …); importing this package
loads nothing heavy, so that ``joulemill --help`` stays instant.
"""

__version__ = "0.1.0"
