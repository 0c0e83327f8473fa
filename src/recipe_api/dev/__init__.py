"""Local development: PostgreSQL and an S3 store from two wheels, the migrations, and `recipe-api dev`.

Nothing here runs in production. Only the CLI, `scripts/` and the tests import it. Its dependencies come with the `dev`
extra and are looked up when they are needed, so that the service itself can be imported without them.

    server.py       `recipe-api dev`: port, stack, migrations, uvicorn, shutdown
    stack.py        both services in one folder, and the settings that point to them
    postgres.py     PostgreSQL
    seaweedfs.py    the S3 store; bucket.py sets up its bucket
    migrations.py   runs Alembic, and checks that models and migrations agree
    child.py        child processes that end with this one: guardian.py, leftovers.py, signals.py
    folder_lock.py  ports.py  credentials.py  unprivileged.py
"""
