"""Metrics and traces through OpenTelemetry.

`hooks.Telemetry` has one method for each component that can be observed, and returns the plain component.
`exporter.OpenTelemetry` overrides these methods to return components that record. So with telemetry off, the service
runs almost the same code as without this package (docs/decisions/0029-telemetry.md).
"""
