-- wrk posts the lines of $BODY in turn, as JSON; at the end it prints its figures as one line of JSON.
local requests, turn = {}, 0

function init()
  local head = { ["Content-Type"] = "application/json" }
  for line in io.lines(os.getenv("BODY")) do
    requests[#requests + 1] = wrk.format("POST", nil, head, line)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"seconds":%.6f,"errors":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(99)))
end
