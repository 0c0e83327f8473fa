"""HTTP: routes, public shapes, problems, pages, and the middleware around them. Everything that knows FastAPI."""
