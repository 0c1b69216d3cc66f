-- Health of a Region, by the conditions that kstatus reads, in its order; the message
-- rolls up its hosts.
local status = obj.status or {}

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(type)
  return conditions[type] ~= nil and conditions[type].status == "True"
end

local function says(type)
  local condition = conditions[type]
  if condition == nil then
    return ""
  end
  if condition.message == nil or condition.message == "" then
    return condition.reason
  end
  return condition.message
end

-- phases are in the order in which a host goes through them.
local phases = {
  { "preConnection", "coming up" },
  { "active", "active" },
  { "draining", "draining" },
  { "unresponsive", "unresponsive" },
  { "terminating", "terminating" },
}

local function hosts(counts)
  local parts = {}
  for _, phase in ipairs(phases) do
    local count = (counts or {})[phase[1]] or 0
    if count > 0 then
      table.insert(parts, count .. " " .. phase[2])
    end
  end
  if #parts == 0 then
    return "no hosts"
  end
  return "hosts: " .. table.concat(parts, ", ")
end

-- summary rolls the hosts of the region up.
local function summary()
  return " [" .. hosts(status.hosts) .. "; sessions: " .. (status.claimed or 0) .. "; free slots: " .. (status.free or 0)
    .. "; waiting: " .. (status.pending or 0) .. "]"
end

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = says("Ready") .. summary() }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waits for the operator to look at it." }
end
if is("Stalled") then
  return { status = "Degraded", message = says("Stalled") .. summary() }
end
if obj.spec.suspend == true then
  return { status = "Suspended", message = says("Ready") .. summary() }
end
if is("Reconciling") then
  return { status = "Progressing", message = says("Reconciling") .. summary() }
end
if is("Ready") then
  return { status = "Healthy", message = says("Ready") .. summary() }
end
return { status = "Progressing", message = "Waits for the operator to look at it." }
