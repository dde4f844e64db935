"""Alembic migrations, an installed package so that `app.migrate` finds them anywhere."""
