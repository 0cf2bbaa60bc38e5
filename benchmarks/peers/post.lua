-- wrk posts the requests of $REQUESTS in turn, each with its own headers; at the end it prints its
-- figures as one line of JSON. The file: "<headers> <bytes>\n", that many "Name: value" lines, the body.
local requests, turn = {}, 0

function init()
  local file = assert(io.open(os.getenv("REQUESTS"), "rb"))
  local sizes = file:read("*l")
  while sizes do
    local lines, bytes = sizes:match("(%d+) (%d+)")
    local headers = {}
    for _ = 1, tonumber(lines) do
      local name, value = file:read("*l"):match("([^:]+): (.*)")
      headers[name] = value
    end
    requests[#requests + 1] = wrk.format("POST", nil, headers, file:read(tonumber(bytes)))
    sizes = file:read("*l")
  end
  file:close()
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
