"""What an operator sees from outside: metrics and traces, through OpenTelemetry.

`hooks.Telemetry` has one method for each place where the service is composed of parts that can be observed, and returns
those parts as they are. `exporter.OpenTelemetry` overrides them. So a service without telemetry runs the same code as
if this package did not exist (docs/decisions/0029-telemetry.md).
"""
