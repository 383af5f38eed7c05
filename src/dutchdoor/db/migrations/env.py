"""Runs the migrations on the connection, and in the transaction, that `migrate.upgrade` gives."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,
    render_as_batch=True,  # SQLite cannot alter most things; batch mode copies the table.
)
context.run_migrations()
