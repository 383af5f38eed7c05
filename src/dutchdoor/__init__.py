"""dutchdoor: share a foundation model without giving it away.

Each folder below is a room; its README says what it does, what it does not, and where to start.
`docs/concepts/one-inference.md` follows one inference from socket to receipt.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
