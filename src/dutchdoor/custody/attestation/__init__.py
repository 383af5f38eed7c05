"""What vouches for the host that a key goes to: TPM quotes and reports of confidential machines."""

__all__: list[str] = []
