"""People, keys, grants, budgets, vector pools and reservations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _people()
    _budgets()
    epoch = op.create_table(
        "access_epoch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_access_epoch"),
        sa.CheckConstraint("id = 1", name="ck_access_epoch_one_row"),
    )
    op.bulk_insert(epoch, [{"id": 1, "epoch": 1}])


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("organisation", sa.String(200), nullable=False),
        sa.Column("audience", sa.String(40), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_people"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("keyed_hash", sa.String(64), nullable=False),
        sa.Column("issued_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_after_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_api_keys_person"),
        sa.UniqueConstraint("keyed_hash", name="uq_api_keys_keyed_hash"),
    )
    op.create_index("ix_api_keys_person", "api_keys", ["person"])
    op.create_table(
        "grants",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("person", sa.String(64), nullable=False),
        sa.Column("bundle", sa.String(71), nullable=False),
        sa.Column("purpose", sa.String(2000), nullable=False),
        sa.Column("depths", sa.String(400), nullable=False),
        sa.Column("requests_max", sa.BigInteger(), nullable=False),
        sa.Column("tokens_max", sa.BigInteger(), nullable=False),
        sa.Column("vectors_max", sa.BigInteger(), nullable=False),
        sa.Column("not_before_ms", sa.BigInteger(), nullable=False),
        sa.Column("not_after_ms", sa.BigInteger(), nullable=False),
        sa.Column("content_mode", sa.String(20), nullable=False),
        sa.Column("monitor_mode", sa.String(20), nullable=False),
        sa.Column("agentic", sa.Boolean(), nullable=False),
        sa.Column("concurrency_max", sa.Integer(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("made_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
        sa.ForeignKeyConstraint(["person"], ["people.id"], name="fk_grants_person"),
    )
    op.create_index("ix_grants_person", "grants", ["person"])


def _budgets() -> None:
    op.create_table(
        "budget_use",
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("vectors", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("grant_id", name="pk_budget_use"),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name="fk_budget_use_grant_id"),
        sa.CheckConstraint(
            "requests >= 0 AND tokens >= 0 AND vectors >= 0", name="ck_budget_use_not_negative"
        ),
    )
    op.create_table(
        "vector_pools",
        sa.Column("bundle", sa.String(71), nullable=False),
        sa.Column("released", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("bundle", name="pk_vector_pools"),
        sa.CheckConstraint("released >= 0", name="ck_vector_pools_not_negative"),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("grant_id", sa.String(64), nullable=False),
        sa.Column("bundle", sa.String(71), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("vectors", sa.BigInteger(), nullable=False),
        sa.Column("reserved_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reservations"),
        sa.ForeignKeyConstraint(["grant_id"], ["grants.id"], name="fk_reservations_grant_id"),
    )
    op.create_index("ix_reservations_grant_id", "reservations", ["grant_id"])
