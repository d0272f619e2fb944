-- What wrk is to send: deliveries that were signed beforehand, each once. Arguments: the file that
-- `load.py --write` made, and a port for each of wrk's threads.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(args)
  local ports = #args - 1
  wrk.thread.addr = wrk.lookup("127.0.0.1", args[1 + number])[1]
  local file = assert(io.open(args[1], "rb"))
  local place = 0
  requests, at = {}, 0
  for length in file:lines() do
    local text = file:read(tonumber(length))
    if place % ports == number - 1 then requests[#requests + 1] = text end
    place = place + 1
  end
  file:close()
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.3f, "p50_ms": %.1f, "p99_ms": %.1f, "max_ms": %.1f, "failed": %d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1000,
    latency:percentile(99) / 1000, latency.max / 1000,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
