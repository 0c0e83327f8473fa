-- wrk's script: uploads of the body in a file, or GETs of the paths in a file; the results as one line of JSON.

local paths = os.getenv("PATHS")
if paths then
  local lines, at = {}, 0
  for line in io.lines(paths) do lines[#lines + 1] = line end
  function request()
    at = at % #lines + 1
    return wrk.format("GET", lines[at])
  end
else
  wrk.method = os.getenv("METHOD")
  wrk.headers["Content-Type"] = os.getenv("CONTENT_TYPE")
  local file = assert(io.open(os.getenv("BODY"), "rb"))
  wrk.body = file:read("*a")
  file:close()
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(("\nRESULT %s\n"):format(string.format(
    '{"requests": %d, "seconds": %.6f, "median": %.6f, "p99": %.6f, "refused": %d, "broken": %d}',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout)))
end
