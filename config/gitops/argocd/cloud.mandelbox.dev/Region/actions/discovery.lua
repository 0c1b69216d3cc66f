local suspended = obj.spec.suspend == true
local leaving = obj.metadata.deletionTimestamp ~= nil

return {
  suspend = { disabled = suspended or leaving },
  resume = { disabled = not suspended or leaving },
}
