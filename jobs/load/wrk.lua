-- Sends the bodies of a file in turn; prints what came of it as one line of JSON.
-- wrk -s wrk.lua URL -- BODIES CONTENT_TYPE

local requests, turn = {}, 0

function init(args)
  local headers = { ["Content-Type"] = args[2], ["Accept"] = "application/json" }
  local file = assert(io.open(args[1], "rb"))
  while true do
    local prefix = file:read(4)
    if not prefix then break end
    local a, b, c, d = prefix:byte(1, 4)
    local body = file:read(((a * 256 + b) * 256 + c) * 256 + d)
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
  file:close()
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests, summary.duration / 1e6,
    e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
