"""SQLAlchemy tables, engine, tenant-scoped session, migrations."""
