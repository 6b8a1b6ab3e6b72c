-- wrk script: sends the requests of a file in turn and prints the run's figures as one line of JSON.
-- The file's form is told in request_file.py.

local requests = {}
local position = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  while true do
    local line = file:read("*l")
    if not line then break end
    local path, headers, size = line:match("^(%S+) (%d+) (%d+)$")
    local named = {}
    for _ = 1, tonumber(headers) do
      local name, value = file:read("*l"):match("^([^:]+): (.*)$")
      named[name] = value
    end
    local body = file:read(tonumber(size))
    file:read(1)
    requests[#requests + 1] = wrk.format("POST", path, named, body)
  end
  file:close()
end

function request()
  position = position % #requests + 1
  return requests[position]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"seconds":%.6f,"p50_ms":%.4f,"p90_ms":%.4f,"p99_ms":%.4f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(90) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
