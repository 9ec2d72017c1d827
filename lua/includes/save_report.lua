--- @include "key"
--- @include "policy"

-- Writes what a heartbeat has changed of a node, all of it when the hash `is_new`, and renews its life.
local function save_report(node, report, load, is_new)
  local name = key('node', node.address)
  redis.call('HSET', name, 'region', node.region, 'state', node.state, 'max_sessions', report.max_sessions,
    'load', load, 'reserved', tostring(node.reserved), 'public_url', report.public_url,
    'last_seen', string.format('%d', node.last_seen), 'deadline', string.format('%d', node.deadline),
    'listed', node.listed, 'recent', '0', 'base', tostring(node.base),
    'drain_until', string.format('%d', node.drain_until), 'drained', node.drained,
    'paced_until', tostring(node.paced_until), 'key', report.key, 'fingerprint', report.fingerprint)
  if is_new then
    redis.call('HSET', name, 'breaker', node.breaker, 'generation', node.generation,
      'registered_at', node.registered_at, 'since', node.since, 'joining', '0', 'joining_at', node.joining_at,
      'turn', '0', 'trial_until', '0', 'channels', '0', 'sessions', '0', 'cpu', '0', 'memory', '0')
  end
  if report.fresh then
    redis.call('HSET', name, 'channels', report.channels, 'sessions', report.sessions,
      'cpu', report.cpu, 'memory', report.memory)
  end
  redis.call('PEXPIRE', name, policy.threshold_ms)
end
