-- wrk: posts the file named by BODY and ends with one line of JSON
wrk.method = "POST"
wrk.headers["Content-Type"] = os.getenv("BODY_TYPE") or "application/json"
local file = assert(io.open(assert(os.getenv("BODY"), "BODY names the file to post"), "rb"))
wrk.body = file:read("*a")
file:close()

function done(summary, latency, _)
  local e = summary.errors
  print(string.format(
    '{"requests": %d, "seconds": %.4f, "errors": %d, "p50_us": %d, "p99_us": %d}',
    summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.timeout + e.status,
    latency:percentile(50), latency:percentile(99)))
end
