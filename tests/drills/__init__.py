"""Operating drills: something goes wrong around a running service, and the service has to cope with it."""
