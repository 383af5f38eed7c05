"""What all tables hang on, and which schema this program speaks."""

from __future__ import annotations

from sqlalchemy import MetaData

__all__ = ["SCHEMA_REVISION", "metadata"]

SCHEMA_REVISION = "0002"
"""The newest file in `migrations/versions`: four digits, so that text order is time order."""

# Named constraints, so that a later migration can name what it changes on every database.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
