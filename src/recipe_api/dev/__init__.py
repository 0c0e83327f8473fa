"""The laptop: PostgreSQL and an S3 store from two wheels, the migrations, and `recipe-api dev` over them.

Nothing here runs in production, and nothing outside imports it but the CLI, `scripts/` and the tests. What it needs
comes with the `dev` extra and is looked up when it is used, so that importing the service never wants it.

    server.py        recipe-api dev: port, stack, migrations, uvicorn, the end
    stack.py         both services on one folder, as the settings want them
    postgres.py  seaweedfs.py  bucket.py
    migrations.py    alembic in this process; the check that models and migrations agree
    child.py  guardian.py  leftovers.py  signals.py    processes that end with ours, and those that did not
    folder_lock.py  ports.py  credentials.py  unprivileged.py
"""
