-- wrk's script: the body from a file, once; what came of all requests as one line of JSON.

wrk.method = os.getenv("METHOD")
wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE")
local file = assert(io.open(os.getenv("BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(("\nRESULT %s\n"):format(string.format(
    '{"requests": %d, "seconds": %.6f, "median": %.6f, "p99": %.6f, "refused": %d, "broken": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout)))
end
