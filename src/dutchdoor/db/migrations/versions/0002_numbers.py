"""Single numbers (log-probabilities) beside whole vectors, in budgets, pools and reservations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, name in (
        ("budget_use", "numbers"),
        ("vector_pools", "numbers"),
        ("vector_pools", "hidden"),
        ("reservations", "numbers"),
    ):
        column = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, column)
