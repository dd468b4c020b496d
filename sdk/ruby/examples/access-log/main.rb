# Logs each finished request by its route ("/users/17" is "/users/:id"), and measures how long each route takes.

require "json"

# The protocol: one JSON object a line. Standard output belongs to the host, so everything else prints to the log.
HOST = $stdout.dup
HOST.sync = true
$stdout.reopen($stderr)

def tell_host(line)
  HOST.write(JSON.generate(line) << "\n")
end

# Parts of a path that say which one, not what kind.
IDENTIFIERS = [
  [/\A\d+\z/, ":id"],
  [/\A\h{8}-\h{4}-\h{4}-\h{4}-\h{12}\z/, ":uuid"],
  [/\A\h{16,}\z/, ":hash"],
  [/\A[\w-]{32,}\z/, ":token"],
].freeze

def route_of(path)
  parts = path.split("/", 9).first(8).map do |part|
    IDENTIFIERS.find { |pattern, _| pattern.match?(part) }&.last || part[0, 64]
  end
  parts.size > 1 ? parts.join("/") : "/"
end

# What a client chose must not look like another field, or another line.
def quoted(text)
  text.match?(/\A[\w.:\/-]+\z/) ? text : text.dump
end

def log_request(event, config, call)
  path, ms = event.fetch("path"), event.fetch("duration_ms")
  return if config.fetch("ignore").any? { |beginning| path.start_with?(beginning) }

  slow = ms >= config.fetch("slow_ms")
  fields = {
    method: event.fetch("method"),
    route: route_of(path),
    status: event.fetch("status"),
    class: "#{event.fetch("status") / 100}xx",
    ms: ms.round(1),
    visitor: event["is_bot"] ? "bot" : "person",
    cache: event["cache_status"],
    tenant: event["tenant_id"],
    slow: slow || nil,
  }.compact
  message = fields.map { |name, value| "#{name}=#{quoted(value.to_s)}" }.join(" ")
  tell_host(method: "log", params: { level: slow ? "warn" : "info", message: message }, call: call)
  tags = fields.slice(:route, :class, :visitor)
  tell_host(method: "metric", params: { name: "duration_ms", value: ms, tags: tags }, call: call)
end

config = {}
$stdin.set_encoding("UTF-8")
$stdin.each_line do |line|
  message = JSON.parse(line)
  id, params = message.values_at("id", "params")
  next if id.nil? # "cancel" and "leader" want no answer.

  begin
    case message["method"]
    when "hello"
      config = params.fetch("config")
      tell_host(id: id, ok: true, protocol: 1, hooks: ["onRequestComplete"])
      next
    when "onRequestComplete"
      log_request(params, config, id)
    end
    tell_host(id: id, ok: true)
  rescue => error
    warn error.full_message(highlight: false)
    tell_host(id: id, error: "#{error.class}: #{error.message}")
  end
end
