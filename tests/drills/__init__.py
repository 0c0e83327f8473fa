"""Operating drills: what goes wrong around a running service, and what the service makes of it."""
