"""The internal audit by people (SMACTR): stages, documents, evaluations, sign-off."""

__all__: list[str] = []
