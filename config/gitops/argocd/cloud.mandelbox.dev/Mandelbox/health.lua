-- Health of a Mandelbox, by the conditions that kstatus reads, in its order; the message
-- is the session's own. One that ended well is Healthy, with none of them.
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
  return { status = "Progressing", message = says("Finished") }
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
return { status = "Healthy", message = says("Finished") }
