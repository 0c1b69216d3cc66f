-- Health of an Instance, by the conditions that kstatus reads, in its order; the message
-- is the host's own.
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

if obj.metadata.deletionTimestamp ~= nil then
  return { status = "Progressing", message = says("Ready") }
end
if status.observedGeneration ~= obj.metadata.generation then
  return { status = "Progressing", message = "Waits for the operator to look at it." }
end
if is("Stalled") then
  return { status = "Degraded", message = says("Stalled") }
end
if is("Reconciling") then
  return { status = "Progressing", message = says("Reconciling") }
end
if is("Ready") then
  return { status = "Healthy", message = status.phase .. ": " .. (status.claimed or 0) .. " of " .. (status.capacity or 0) .. " slots taken" }
end
return { status = "Progressing", message = "Waits for the operator to look at it." }
