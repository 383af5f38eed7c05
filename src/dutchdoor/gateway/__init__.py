"""One inference from request to receipt: access, evidence, guard, runtime, guard, evidence."""

__all__: list[str] = []
